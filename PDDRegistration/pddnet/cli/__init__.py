"""Implement the `pddnet` command: one file per subcommand, with its arguments (`add_arguments`) and its run (`run`)."""
