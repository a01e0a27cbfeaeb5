"""Measure any ITK transform by label maps and landmarks, without torch (`pddnet evaluate`)."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..evaluation import metrics, report
from ..evaluation.common_grid import grid_around_both
from ..evaluation.motion import layers_motion, motion_csv, motion_table
from ..evaluation.sentences import outside_transform
from ..io import volumes
from ..io.atomic_outputs import REPORTS, TABLES
from ..io.landmarks import match_points
from ..io.transforms import load_transform
from .console import Console
from .exit_codes import OK
from .label_maps import read_label_maps
from .output_files import output_files

_INPUTS = ("fixed_labels", "moving_labels", "transform", "fixed_points", "moving_points")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = "Measure any ITK transform (fixed to moving), also one that another program made."
    parser.add_argument("--fixed-labels", metavar="A", help="label map of the fixed scan")
    parser.add_argument("--moving-labels", metavar="B", help="label map of the moving scan")
    parser.add_argument(
        "--transform", required=True, metavar="T", help="any ITK transform, displacement image or DICOM registration"
    )
    parser.add_argument(
        "--fixed-points", metavar="P", help="landmarks: CSV with name,x,y,z (LPS mm), .mrk.json or .fcsv"
    )
    parser.add_argument("--moving-points", metavar="Q", help="the landmarks of the same names in the moving scan")
    parser.add_argument("--json", metavar="R", help="the same numbers as a JSON file")
    parser.add_argument(
        "--output-motion",
        metavar="M.csv",
        help="shift, rotation and volume change of every label; --fixed-labels suffice for it",
    )


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    _check_arguments(args)
    paths = {name: getattr(args, name) for name in _INPUTS if getattr(args, name) is not None}
    for path in paths.values():
        volumes.check_readable(path)
    console = Console()
    targets = {"json": (args.json, REPORTS), "motion": (args.output_motion, TABLES)}
    with output_files(targets, paths.values()) as outputs:
        transform, warnings = load_transform(args.transform)
        labels, motion, of_labels = _measure_labels(args, transform)
        tre, of_points = _measure_points(args, transform)
        warnings = report.unique(warnings + of_labels + of_points)
        summary = {
            "command": "evaluate",
            "labels": labels,
            "motion": motion,
            "tre_mm": tre,
            "warnings": warnings,
            "inputs": paths,
            "versions": report.versions(),
        }
        outputs.write_text("motion", motion_csv(motion))
        outputs.write_text("json", report.to_json(summary))
        outputs.commit()
        if labels:
            console.line(report.format_labels(labels))
        if tre:
            console.line(report.format_tre(tre))
        for warning in warnings:
            console.line(f"warning   {warning}")
    return OK


def _check_arguments(args: argparse.Namespace) -> None:
    alone = bool(args.fixed_labels and args.output_motion)  # the motion needs no moving labels
    if bool(args.fixed_labels) != bool(args.moving_labels) and not alone:
        raise InputError("--fixed-labels and --moving-labels belong together; give both or neither")
    if bool(args.fixed_points) != bool(args.moving_points):
        raise InputError("--fixed-points and --moving-points belong together; give both or neither")
    if args.output_motion and not args.fixed_labels:
        raise InputError("--output-motion needs --fixed-labels, the structures whose motion is measured")
    if not (args.fixed_labels or args.fixed_points):
        raise InputError("there is nothing to measure by; give --fixed-labels and --moving-labels, or points")


def _measure_labels(
    args: argparse.Namespace, transform: sitk.Transform
) -> tuple[dict[str, Any] | None, list[dict[str, Any]], list[str]]:
    """Return the label section, the table of motion, and warnings."""
    fixed, moving, warnings = read_label_maps((args.fixed_labels, args.moving_labels))
    if fixed is None:
        return None, [], warnings
    motion = motion_table(layers_motion(fixed.layers, transform))
    if moving is None:
        return None, motion, warnings
    maps, whole = fixed.layers, fixed.flat
    grid = grid_around_both(whole, moving.flat, transform)
    if grid is not whole.grid:
        maps = tuple(layer.resample(grid, labels=True) for layer in maps)
        warnings.append(
            f"{args.fixed_labels}: its labels reach all sides of the map, as if it was cropped to them; a grid around "
            "both was measured on"
        )
    return report.measured_layers(maps, moving.layers, transform), motion, warnings


def _measure_points(args: argparse.Namespace, transform: sitk.Transform) -> tuple[dict[str, Any] | None, list[str]]:
    if not args.fixed_points:
        return None, []
    names, fixed, moving, warnings = match_points(args.fixed_points, args.moving_points)
    warnings += outside_transform(names, fixed, transform)
    before = metrics.tre(fixed, moving, lambda points: points)
    after = metrics.tre(fixed, moving, lambda points: np.array([transform.TransformPoint(p) for p in points.tolist()]))
    return report.tre_section(names, before, after), warnings
