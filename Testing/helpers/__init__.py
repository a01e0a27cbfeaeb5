"""What several test files use: scenes, samples, geometry with a formula, programs to start."""
