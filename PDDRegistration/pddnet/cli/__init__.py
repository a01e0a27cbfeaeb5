"""Implement the `pddnet` command: one file per subcommand, which declares its arguments (`add_arguments`) and runs
(`run`)."""
