"""`pddnet train`: learn from label maps and labelled scans; goes on where it was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

from .checks import check_device
from .cli import OK, Terminated
from .console import Console
from .training_config import read_config


def run(args: argparse.Namespace) -> int:
    """The subcommand; returns the exit code. Raises InputError, KeyboardInterrupt or Terminated."""
    config = read_config(Path(args.config))
    check_device(args.device)
    from .training import train

    console = Console()
    console.line(f"training in {config.out}; interrupt it when you like, the same command goes on")
    try:
        outcome = train(
            config,
            init=Path(args.init) if args.init else None,
            minutes=args.minutes,
            device=args.device,
            report=console,
            warn=lambda text: console.line(f"warning: {text}"),
        )
    except (KeyboardInterrupt, Terminated) as error:
        error.left = "the same command goes on from the last checkpoint"
        raise
    console.line(f"{outcome.iterations} of {config.iterations} iterations; best validation Dice {outcome.dice:.3f}")
    if outcome.weights.exists():
        console.line(f"weights: {outcome.weights}")
    return OK
