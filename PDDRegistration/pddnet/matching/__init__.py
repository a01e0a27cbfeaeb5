"""Find the displacement field: affine search, cost volume, inference, instance optimisation, refinement, verdict."""
