"""Register two 2-D images (`pddnet register` with single slices, PNG or TIFF)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..evaluation import report
from ..io import planes
from ..io.plane_labels import read_plane_labels
from ..io.transforms import load_transform
from ..io.weights_file import PLANE, PLANE_ADVICE, read_weights
from ..matching.progress import Clock
from ..run.outputs import OUTPUTS, REPORT
from ..run.plane import PlaneInputs, format_report, register_planes
from ..run.registration import check_device
from .console import Console
from .exit_codes import OK, VERDICT_FAILED
from .output_files import output_files

INPUTS = ("fixed", "moving", "fixed_labels", "moving_labels", "initial_transform")
OUTPUT_KEYS = ("transform", "volume", "labels", "inverse", "jacobian")
HOW = ("spacing", "moving_spacing", "no_alignment", "device", "weights")


def register_plane(args: argparse.Namespace, given: Mapping[str, Any]) -> int:
    """Register two 2-D images and return the exit code.

    Args:
        given: the options that differ from their defaults, by attribute.

    Raises:
        InputError: an input cannot be used, or an option is for volumes only.
    """
    outputs = {output.key: output for output in (*OUTPUTS, REPORT) if output.key in (*OUTPUT_KEYS, REPORT.key)}
    known = {*INPUTS, *HOW, *(output.argument for output in outputs.values())}
    refuse_others(given, known)
    if args.fixed_labels and not args.moving_labels:
        raise InputError("--fixed-labels needs --moving-labels, to compare with; give both or neither")
    if args.output_labels and not args.moving_labels:
        raise InputError("--output-labels needs --moving-labels, the label map to warp")
    console, clock = Console(), Clock()
    paths = {name: getattr(args, name) for name in INPUTS if getattr(args, name) is not None}
    targets = {key: (getattr(args, output.argument), output.endings) for key, output in outputs.items()}
    with output_files(targets, [planes.file_of(Path(path)) for path in paths.values()]) as files:
        console(0.0, "reading")
        inputs = _read(args)
        check_device(args.device)
        clock.lap("read")
        done = register_planes(inputs, console)
        clock.add(done.found.seconds)
        console.clear()
        done.write(files)
        clock.lap("write")
        summary = done.report(clock.seconds, paths, files.paths)
        files.write_text(REPORT.key, report.to_json(summary))
        files.commit()
    console.line(format_report(summary))
    for warning in summary["warnings"]:
        console.line(f"warning   {warning}")
    for path in summary["outputs"].values():
        console.line(f"written   {path}")
    return VERDICT_FAILED if done.found.verdict.status == "failed" else OK


def given_options(
    add_arguments: Callable[[argparse.ArgumentParser], None], args: argparse.Namespace, *required: str
) -> dict[str, Any]:
    """Return the options of a subcommand that differ from their defaults. required: its options that have none."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    usual = vars(parser.parse_args([word for option in required for word in (option, "0")]))
    return {name: value for name, value in vars(args).items() if name in usual and value != usual[name]}


def refuse_others(given: Mapping[str, Any], known: set[str]) -> None:
    """Raise InputError for the options given that say nothing of 2-D images."""
    others = ["--" + name.replace("_", "-") for name in given if name not in known]
    if others:
        raise InputError(f"{', '.join(others)}: only for volumes, and these are 2-D images; leave it out")


def check_spacing(spacing_mm: list[float] | None, option: str) -> None:
    """Raise InputError unless a spacing is one or two positive numbers."""
    if spacing_mm is not None and (len(spacing_mm) > 2 or not all(0 < mm < float("inf") for mm in spacing_mm)):
        raise InputError(f"{option}: give one or two positive numbers in mm, along x and y")


def plane_weights(given: str | None) -> Path | None:
    """Return the weights file of the network of axial slices, after a look at it; None where none is given.

    Raises:
        InputError: it is not for this network.
    """
    if given is None:
        return None
    read_weights(Path(given), PLANE, advice=PLANE_ADVICE)
    return Path(given)


def _read(args: argparse.Namespace) -> PlaneInputs:
    check_spacing(args.spacing, "--spacing")
    check_spacing(args.moving_spacing, "--moving-spacing")
    if args.spacing and not any(planes.is_picture(path) for path in (args.fixed, args.moving)):
        raise InputError("--spacing is for PNG, TIFF and JPEG; these files have their own, so leave it out")
    weights = plane_weights(args.weights)
    of_moving = args.moving_spacing or args.spacing
    fixed, warnings = planes.read_plane(args.fixed, args.spacing)
    moving, more = planes.read_plane(args.moving, of_moving)
    inputs = PlaneInputs(fixed, moving, align=not args.no_alignment, weights=weights, warnings=warnings + more)
    if args.fixed_labels:
        inputs.fixed_labels, more = read_plane_labels(args.fixed_labels, fixed, args.spacing)
        inputs.warnings += more
    if args.moving_labels:
        inputs.moving_labels, more = read_plane_labels(args.moving_labels, moving, of_moving)
        inputs.warnings += more
    if args.initial_transform:
        inputs.initial_transform, more = load_transform(args.initial_transform, 2)
        inputs.warnings += more
    return inputs
