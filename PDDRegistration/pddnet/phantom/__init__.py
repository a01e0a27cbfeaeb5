"""Procedural patients: a torso painted from a seed, with labels and landmarks."""
