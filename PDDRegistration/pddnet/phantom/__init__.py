"""Paint procedural patients: a torso made from a seed, with labels and landmarks."""
