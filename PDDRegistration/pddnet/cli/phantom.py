"""Write virtual patients, to train on and to measure with (`pddnet phantom`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from ..io.paths import is_utf8
from ..phantom.write import PatientFiles, phantoms, write_patients
from .console import Console
from .exit_codes import OK
from .stops import leaving

MOST_PATIENTS = 1_000_000
LARGEST_SEED = 2**62  # with what is added to it, still 64 bits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = "Write virtual patients: PATIENT/ct.nii.gz, labels.nii.gz, labels.json, landmarks.csv."
    parser.add_argument("--out", required=True, metavar="D", help="the folder for them")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="number of the first (default: %(default)s)")
    parser.add_argument("--anatomy", metavar="FOLDER", help="label maps of people (NAME.nii.gz, NAME.json) to vary")
    parser.add_argument("--spacing", type=float, default=3.0, metavar="MM", help="voxels (default: %(default)s mm)")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    if not 1 <= args.count <= MOST_PATIENTS or not 0 <= args.seed <= LARGEST_SEED or not 1.0 <= args.spacing <= 10.0:
        raise InputError(
            f"--count must be between 1 and {MOST_PATIENTS}, --seed between 0 and {LARGEST_SEED}, and --spacing "
            "between 1 and 10 mm"
        )
    if not is_utf8(args.out):
        raise InputError(f"{args.out}: the folder's name is not in UTF-8, and ITK cannot write there; choose another")
    console = Console()
    with leaving(lambda: "the patients written so far are whole"):
        folders = write_patients(Path(args.out), _drawing(args), args.count, args.seed, console)
    console.line(f"{len(folders)} patients in {args.out}")
    return OK


def _drawing(args: argparse.Namespace) -> Callable[[int], PatientFiles]:
    if not args.anatomy:
        return phantoms(args.spacing)
    from ..synthesis.from_maps import patients_from_maps  # imports torch

    return patients_from_maps(Path(args.anatomy), args.spacing)
