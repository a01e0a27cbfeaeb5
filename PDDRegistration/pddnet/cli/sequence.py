"""Register all frames of a sequence to one of them (`pddnet sequence`)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.intensity import INTENSITIES, check_intensity
from ..core.linear import TRANSFORM_TYPES, check_transform_type
from ..core.presets import PRESETS, find_preset
from ..errors import InputError
from ..io.planes import are_plane_frames
from ..io.sequence import find_frames
from ..io.volumes import check_readable
from ..io.weights_file import PDD, SEMANTIC, read_weights
from ..run.registration import check_device
from ..run.sequence import FAILED, SequenceRun, SequenceSettings
from ..run.sequence_folder import SequenceFolder
from . import sequence_plane
from .console import Console
from .exit_codes import OK, VERDICT_FAILED
from .register_plane import given_options
from .stops import leaving


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = (
        "Register every frame of a sequence to one of them, each from its neighbour's result. Frames that are whole in "
        "the folder are kept: the same command goes on where it was stopped."
    )
    parser.add_argument(
        "--frames", required=True, nargs="+", metavar="F", help="files or DICOM folders in order, or one 4-D NIfTI file"
    )
    parser.add_argument("--reference", required=True, type=int, metavar="N", help="the frame that stays, from 0")
    parser.add_argument("--out", required=True, metavar="D", help="the folder for the results")
    pixels = "of 2-D frames in PNG or TIFF, mm: one number, or two along x and y"
    parser.add_argument("--spacing", type=float, nargs="+", metavar="MM", help=pixels)
    parser.add_argument("--labels", metavar="A", help="label map of the reference, for the motion table")
    parser.add_argument("--warped", action="store_true", help="write every frame on the grid of the reference, too")
    parser.add_argument("--preset", default="breathing", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    kinds = f"{', '.join(TRANSFORM_TYPES)} (default: %(default)s)"
    parser.add_argument("--transform-type", default=TRANSFORM_TYPES[0], metavar="TYPE", help=kinds)
    scale = f"what the values are: {', '.join(INTENSITIES)} (default: %(default)s)"
    parser.add_argument("--intensity", default=INTENSITIES[0], metavar="UNIT", help=scale)
    parser.add_argument(
        "--align", action="store_true", help="search for the alignment where no neighbour gives it; else as they lie"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--weights", metavar="W.npz", help="of your own training, as for register")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    if are_plane_frames(args.frames):
        return sequence_plane.run(args, given_options(add_arguments, args, "--frames", "--reference", "--out"))
    if args.spacing:
        raise InputError(
            "--spacing is for 2-D frames that have none, such as PNG; volumes have their own: leave it out"
        )
    sequence, console = _sequence(args), Console()
    sequence.folder.make()
    sequence.resume()
    if sequence.records:
        console.line(f"{len(sequence.records)} of {len(sequence.frames)} frames are whole in {args.out} and kept")

    def told(record: dict[str, Any]) -> None:
        console.line(_line(record))

    with leaving(lambda: _left(sequence)):
        check_device(args.device)
        summary = sequence.run(console, told)
    console.clear()
    for warning in summary["warnings"]:
        console.line(f"warning   {warning}")
    console.line(f"{len(sequence.frames)} frames in {args.out}")
    statuses = [line["verdict"]["status"] for line in summary["frames"]]
    return VERDICT_FAILED if FAILED in statuses else OK


def _sequence(args: argparse.Namespace) -> SequenceRun:
    """Check the arguments and make the run."""
    preset = find_preset(args.preset)
    check_transform_type(args.transform_type)
    check_intensity(args.intensity)
    weights = Path(args.weights) if args.weights else None
    if weights:
        read_weights(weights, SEMANTIC, PDD)  # report a wrong file before the scans are read
    frames = find_frames(args.frames)
    if not 0 <= args.reference < len(frames):
        raise InputError(f"--reference {args.reference}: there is no such frame; give 0 to {len(frames) - 1}")
    labels = check_readable(args.labels) if args.labels else None
    settings = SequenceSettings(preset, args.transform_type, args.intensity, args.align, args.device, weights)
    folder = SequenceFolder(Path(args.out), len(frames), args.warped)
    return SequenceRun(frames, args.reference, folder, settings, labels)


def _line(record: dict[str, Any]) -> str:
    """Say in one line what came out of a frame."""
    verdict = record["verdict"]
    reasons = f": {'; '.join(verdict['reasons'])}" if verdict["reasons"] else ""
    return f"frame {record['frame']:3d}  {record['seconds']['total']:6.1f} s  {verdict['status']}{reasons}"


def _left(sequence: SequenceRun) -> str:
    whole, count = len(sequence.records), len(sequence.frames)
    return f"{whole} of {count} frames are whole in {sequence.folder.path}, and the same command goes on from there"
