"""The `pddnet` command: one file a subcommand, which owns `add_arguments` and `run`."""
