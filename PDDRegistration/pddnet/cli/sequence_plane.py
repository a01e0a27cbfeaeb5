"""Register the frames of a 2-D sequence over time (`pddnet sequence` with single slices, PNG or TIFF)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io import planes
from ..io.plane_labels import read_plane_labels
from ..run.plane_sequence import FAILED, PlaneSequence
from ..run.registration import check_device
from ..run.sequence_folder import SequenceFolder
from .console import Console
from .exit_codes import OK, VERDICT_FAILED
from .register_plane import check_spacing, plane_weights, refuse_others
from .stops import leaving

KNOWN = {"frames", "reference", "out", "labels", "warped", "spacing", "align", "device", "weights"}


def run(args: argparse.Namespace, given: Mapping[str, Any]) -> int:
    """Register all frames and return the exit code. given: the options that differ from their defaults.

    Raises:
        InputError: an input cannot be used, or an option is for volumes only.
    """
    refuse_others(given, KNOWN)
    check_spacing(args.spacing, "--spacing")
    frames, warnings = planes.read_plane_frames(args.frames, args.spacing)
    names = [str(path) for path in args.frames] if len(args.frames) > 1 else [str(args.frames[0])] * len(frames)
    if not 0 <= args.reference < len(frames):
        raise InputError(f"--reference {args.reference}: there is no such frame; give 0 to {len(frames) - 1}")
    reference = frames[args.reference]
    labels, more = read_plane_labels(args.labels, reference, args.spacing) if args.labels else (None, [])
    warnings += more
    weights = plane_weights(args.weights)
    folder = SequenceFolder(Path(args.out), len(frames), args.warped)
    sequence = PlaneSequence(frames, names, args.reference, folder, labels, args.align, weights, warnings)
    folder.make()
    console = Console()
    with leaving(lambda: f"the frames that are whole are in {args.out}"):
        check_device(args.device)
        for record in sequence.run(console):
            verdict = record["verdict"]
            reasons = f": {'; '.join(verdict['reasons'])}" if verdict["reasons"] else ""
            seconds = record["seconds"].get("total", sum(record["seconds"].values()))
            console.line(f"frame {record['frame']:3d}  {seconds:6.1f} s  {verdict['status']}{reasons}")
    console.clear()
    for warning in warnings:
        console.line(f"warning   {warning}")
    console.line(f"{len(frames)} frames in {args.out}")
    failed = any(record["verdict"]["status"] == FAILED for record in sequence.records.values())
    return VERDICT_FAILED if failed else OK
