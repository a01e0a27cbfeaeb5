"""Make the reference deformation between two segmented patients from their label maps alone (`pddnet reference`)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.linear import AFFINE, LinearTransform
from ..errors import InputError
from ..evaluation import report
from ..evaluation.metrics import jacobian_statistics
from ..io import volumes
from ..io.atomic_outputs import REPORTS, TRANSFORMS
from ..io.label_layers import LabelLayers
from ..run.registration import check_device
from .console import Console
from .exit_codes import OK
from .label_maps import read_label_maps
from .output_files import output_files

if TYPE_CHECKING:
    from ..core.field import DisplacementField
    from ..shapes.alignment import Surfaces
    from ..shapes.reference import Reference

SPACINGS_MM = (1.0, 20.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = (
        "Make the reference deformation between two segmented patients: the surfaces of the labels that both share are "
        "matched, no scan is looked at. It folds nowhere."
    )
    parser.add_argument("--fixed-labels", required=True, metavar="A", help="label map of the fixed patient")
    parser.add_argument("--moving-labels", required=True, metavar="B", help="label map of the moving patient")
    parser.add_argument("--out", required=True, metavar="T.h5", help="the transform, fixed to moving points")
    parser.add_argument("--inverse", metavar="I.h5", help="the inverse transform, moving to fixed points")
    parser.add_argument(
        "--velocity", metavar="V.nrrd", help="the stationary velocity v of x -> affine(exp(v)(x)), mm along LPS"
    )
    parser.add_argument("--affine", metavar="A.tfm", help="the affine map of x -> affine(exp(v)(x))")
    parser.add_argument("--report", metavar="R.json", help="what is printed, as a JSON file")
    parser.add_argument(
        "--spacing", type=float, default=4.0, metavar="MM", help="of the transform's grid (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    low, high = SPACINGS_MM
    if not low <= args.spacing <= high:
        raise InputError(f"--spacing {args.spacing:g}: give {low:g} to {high:g} mm")
    inputs = {"fixed_labels": args.fixed_labels, "moving_labels": args.moving_labels}
    for path in inputs.values():
        volumes.check_readable(path)
    console = Console()
    targets = {
        "transform": (args.out, TRANSFORMS),
        "inverse": (args.inverse, TRANSFORMS),
        "velocity": (args.velocity, TRANSFORMS),
        "affine": (args.affine, (".tfm", ".txt", ".h5", ".hdf5", ".mat")),
        "report": (args.report, REPORTS),
    }
    with output_files(targets, inputs.values()) as outputs:
        fixed, moving, warnings = read_label_maps((args.fixed_labels, args.moving_labels))
        assert fixed is not None and moving is not None  # both paths were given
        labels = _shared(fixed, moving, inputs)
        fixed_surfaces, moving_surfaces = _surfaces(fixed, moving, labels, warnings)
        check_device("cpu")
        from ..shapes.reference import reference  # imports torch, which `check_device` has found

        grid = fixed.layers[0].canonical().grid
        found = reference(fixed_surfaces, moving_surfaces, grid, console, args.spacing)
        console(0.9, "measuring")
        summary = _measured(found, fixed, moving) | {"inputs": inputs, "outputs": outputs.paths}
        summary["warnings"] = report.unique(warnings)
        outputs.write_field("transform", found.field)
        if "inverse" in outputs:
            outputs.write_field("inverse", found.inverse(moving.layers[0].grid)[0])
        outputs.write_field("velocity", found.velocity)
        affine = found.parts.affine
        outputs.write_linear("affine", LinearTransform(affine, AFFINE, np.zeros(3)))
        outputs.write_text("report", report.to_json(summary))
        outputs.commit()
    _print(console, summary)
    return OK


def _shared(fixed: LabelLayers, moving: LabelLayers, paths: dict[str, str]) -> set[int]:
    """Return the labels that both maps hold.

    Raises:
        InputError: a map is empty, or they share none.
    """
    found = []
    for side, path in zip((fixed, moving), paths.values(), strict=True):
        held = {int(label) for layer in side.layers for label in np.unique(layer.array) if label > 0}
        if not held:
            raise InputError(f"{path}: the label map is empty; give one that holds structures")
        found.append(held)
    if not (shared := found[0] & found[1]):
        raise InputError(
            f"{paths['fixed_labels']} and {paths['moving_labels']}: no label is in both; give the same structure the "
            "same number, or name, in both"
        )
    return shared


def _surfaces(
    fixed: LabelLayers, moving: LabelLayers, labels: set[int], warnings: list[str]
) -> tuple[Surfaces, Surfaces]:
    """Extract the surfaces of both maps; labels too small to have one, in either, are left out with a warning."""
    from ..shapes.surfaces import label_surfaces

    sides = []
    for side in (fixed, moving):
        sides.append({n: s for layer in side.layers for n, s in label_surfaces(layer, labels).items()})
    kept = sorted(sides[0].keys() & sides[1].keys())
    if not kept:
        raise InputError("no label that both maps share is large enough to have a surface; use finer label maps")
    if small := sorted(labels - set(kept)):
        warnings.append(f"labels without a surface in one of the maps were not matched: {', '.join(map(str, small))}")
    return {n: sides[0][n] for n in kept}, {n: sides[1][n] for n in kept}


def _measured(found: Reference, fixed: LabelLayers, moving: LabelLayers) -> dict[str, Any]:
    """Measure the deformation by the labels; its Jacobian in the box of the fixed map, and how exact its inverse is."""
    field = found.field
    error = found.inverse_consistency()
    return {
        "command": "reference",
        "labels": report.measured_layers(fixed.layers, moving.layers, field.to_sitk()),
        "jacobian": {"region": "fixed label map", **_jacobian(field, fixed)},
        "inverse_consistency_mm": {"mean": float(error.mean()), "max": float(error.max())},
        "points": len(error),
        "versions": report.versions(),
    }


def _jacobian(field: DisplacementField, fixed: LabelLayers) -> dict[str, float]:
    within = fixed.layers[0].grid.contains(field.grid.points())
    return jacobian_statistics(field.jacobian_determinant(), within)


def _print(console: Console, summary: dict[str, Any]) -> None:
    jacobian, error = summary["jacobian"], summary["inverse_consistency_mm"]
    console.line(report.format_labels(summary["labels"]))
    console.line(f"folding   {jacobian['folding_percent']:.3f} % of the fixed label map's box")
    console.line(f"jacobian  std {jacobian['std']:.3f}, std of its logarithm {jacobian['sdlogj']:.3f}")
    console.line(f"inverse   {error['mean']:.3f} mm on average, {error['max']:.3f} mm at most, at the matched points")
    for warning in summary["warnings"]:
        console.line(f"warning   {warning}")
    for path in summary["outputs"].values():
        console.line(f"written   {path}")
