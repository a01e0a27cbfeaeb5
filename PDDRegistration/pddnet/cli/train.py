"""Train a network on label maps and labelled scans, and resume a training that was stopped (`pddnet train`)."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..io.paths import check_file, reason_of
from ..run.registration import check_device
from ..training.config import read_config
from .console import Console
from .exit_codes import OK
from .stops import leaving

_NO_VALIDATION = "there is no scan to validate on, so the last weights are kept and not the best; give 'validation'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = "Train the network that names structures, or the paper's own. Goes on where it was stopped."
    parser.add_argument(
        "config",
        metavar="CONFIG.json",
        help="what to learn from, and for how long; see the documentation, How to train",
    )
    parser.add_argument("--init", metavar="W.npz", help="weights to start from")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so many; the same command goes on")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    config = read_config(Path(args.config))
    for label_map in (*config.anatomies, *config.donors):
        check_file(label_map)  # a file that is missing is a slip; one that is bad is left out, with a warning
    console = Console()
    with _torch_cache(), leaving(lambda: "the same command goes on from the last checkpoint"):
        check_device(args.device)
        from ..training.loop import train  # imports torch, which `check_device` has found

        console.line(f"training in {config.out}; interrupt it when you like, the same command goes on")
        if config.validation is None:
            console.line(f"warning: {_NO_VALIDATION}")
        try:
            outcome = train(
                config,
                init=Path(args.init) if args.init else None,
                minutes=args.minutes,
                device=args.device,
                report=console,
                warn=lambda text: console.line(f"warning: {text}"),
            )
        except OSError as error:
            raise InputError(
                f"{config.out}: the training cannot write its files ({reason_of(error)}); make room or choose another "
                "'out', and the same command goes on"
            ) from error
    dice = "-" if math.isnan(outcome.dice) else f"{outcome.dice:.3f}"
    console.line(f"{outcome.iterations} of {config.iterations} iterations; best validation Dice {dice}")
    if outcome.weights.exists():
        console.line(f"weights: {outcome.weights}")
    return OK


@contextmanager
def _torch_cache() -> Iterator[None]:
    """Give torch's compiler a folder of its own, which goes with the run, unless the user has named one."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    if name in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="pddnet-train-", ignore_cleanup_errors=True) as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            del os.environ[name]
