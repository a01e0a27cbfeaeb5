"""Run the registration process: its client, jobs on scene nodes, and the installation of PyTorch."""
