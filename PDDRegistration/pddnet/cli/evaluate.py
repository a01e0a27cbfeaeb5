"""Measure any ITK transform by label maps and landmarks, without torch (`pddnet evaluate`)."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..evaluation import metrics, report
from ..evaluation.sentences import no_common_label, outside_transform
from ..io import volumes
from ..io.atomic_outputs import REPORTS
from ..io.landmarks import match_points
from ..io.transforms import read_transform
from .console import Console
from .exit_codes import OK
from .output_files import output_files

_INPUTS = ("fixed_labels", "moving_labels", "transform", "fixed_points", "moving_points")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = "Measure any ITK transform (fixed to moving), also one that another program made."
    parser.add_argument("--fixed-labels", metavar="A", help="label map of the fixed scan")
    parser.add_argument("--moving-labels", metavar="B", help="label map of the moving scan")
    parser.add_argument("--transform", required=True, metavar="T", help="any ITK transform or displacement image")
    parser.add_argument(
        "--fixed-points", metavar="P", help="landmarks: CSV with name,x,y,z (LPS mm), .mrk.json or .fcsv"
    )
    parser.add_argument("--moving-points", metavar="Q", help="the landmarks of the same names in the moving scan")
    parser.add_argument("--json", metavar="R", help="the same numbers as a JSON file")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    for kind in ("labels", "points"):
        if bool(getattr(args, f"fixed_{kind}")) != bool(getattr(args, f"moving_{kind}")):
            raise InputError(f"--fixed-{kind} and --moving-{kind} belong together; give both or neither")
    if not (args.fixed_labels or args.fixed_points):
        raise InputError("there is nothing to measure by; give --fixed-labels and --moving-labels, or points")
    paths = {name: getattr(args, name) for name in _INPUTS if getattr(args, name) is not None}
    for path in paths.values():
        volumes.check_readable(path)
    console = Console()
    with output_files({"json": (args.json, REPORTS)}, paths.values()) as outputs:
        transform = read_transform(args.transform)
        labels, warnings = _measure_labels(args, transform)
        tre, more = _measure_points(args, transform)
        warnings = report.unique(warnings + more)
        summary = {
            "command": "evaluate",
            "labels": labels,
            "tre_mm": tre,
            "warnings": warnings,
            "inputs": paths,
            "versions": report.versions(),
        }
        outputs.write_text("json", report.to_json(summary))
        outputs.commit()
        if labels:
            console.line(report.format_labels(labels))
        if tre:
            console.line(report.format_tre(tre))
        for warning in warnings:
            console.line(f"warning   {warning}")
    return OK


def _measure_labels(args: argparse.Namespace, transform: sitk.Transform) -> tuple[dict[str, Any] | None, list[str]]:
    if not args.fixed_labels:
        return None, []
    fixed, warnings = volumes.read_labels(args.fixed_labels)
    moving, more = volumes.read_labels(args.moving_labels)
    warnings += no_common_label(fixed, moving)
    return report.measured_labels(fixed, moving, transform), warnings + more


def _measure_points(args: argparse.Namespace, transform: sitk.Transform) -> tuple[dict[str, Any] | None, list[str]]:
    if not args.fixed_points:
        return None, []
    names, fixed, moving, warnings = match_points(args.fixed_points, args.moving_points)
    warnings += outside_transform(names, fixed, transform)
    before = metrics.tre(fixed, moving, lambda points: points)
    after = metrics.tre(fixed, moving, lambda points: np.array([transform.TransformPoint(p) for p in points.tolist()]))
    return report.tre_section(names, before, after), warnings
