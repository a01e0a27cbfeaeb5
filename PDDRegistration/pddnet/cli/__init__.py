"""The `pddnet` command: one file a subcommand, which declares its arguments (`add_arguments`) and runs (`run`)."""
