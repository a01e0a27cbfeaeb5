"""`pddnet cohort`: write patients that nobody is, for training and for measuring."""

from __future__ import annotations

import argparse
from pathlib import Path

from .cli import OK, Terminated
from .cohort_files import write_cohort
from .console import Console
from .errors import InputError


def run(args: argparse.Namespace) -> int:
    """The subcommand; returns the exit code. Raises InputError, KeyboardInterrupt or Terminated."""
    if args.count < 1 or args.seed < 0 or not 1.0 <= args.spacing <= 10.0:
        raise InputError("--count must be 1 or more, --seed 0 or more, and --spacing between 1 and 10 mm")
    console = Console()
    anatomies = Path(args.anatomy) if args.anatomy else None
    try:
        folders = write_cohort(
            Path(args.out), args.count, args.seed, anatomies=anatomies, spacing=args.spacing, report=console
        )
    except (KeyboardInterrupt, Terminated) as error:
        error.left = "the patients written so far are whole"
        raise
    console.line(f"{len(folders)} patients in {args.out}")
    return OK
