"""Train the networks: configuration, sources of samples, data sets, losses, the loop and its checkpoints."""
