"""What is compared at every point of two scans: one module per kind of feature."""
