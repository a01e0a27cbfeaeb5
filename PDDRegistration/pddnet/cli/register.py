"""`pddnet register`: check everything, read, register, write, report."""

from __future__ import annotations

import argparse
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.image import Image
from ..core.preset_overrides import adjusted
from ..core.presets import DEVICES, PRESETS, Preset, find_preset
from ..core.result import Registration
from ..errors import InputError
from ..evaluation import report
from ..io import volumes
from ..io.landmark_init import affine_transform, start_from_points
from ..io.landmarks import match_points
from ..io.outputs import IMAGES, REPORTS, TRANSFORMS, OutputFiles
from ..io.transforms import read_transform
from ..io.validation import check_overlap
from ..io.weights_file import PDD, SEMANTIC, read_weights
from ..matching.progress import Clock
from .console import Console
from .exit_codes import OK, VERDICT_FAILED

_INPUTS = (
    *("fixed", "moving", "fixed_labels", "moving_labels", "fixed_mask", "moving_mask"),
    *("initial_transform", "fixed_points", "moving_points"),
)


@dataclass
class _Inputs:
    """What was read."""

    fixed: Image
    moving: Image
    fixed_labels: Image | None = None
    moving_labels: Image | None = None
    fixed_mask: Image | None = None
    moving_mask: Image | None = None
    initial_transform: sitk.Transform | None = None
    warnings: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = "Find the transform that lays the moving scan over the fixed one."
    inputs = parser.add_argument_group("inputs (whatever SimpleITK reads, or folders of DICOM slices)")
    inputs.add_argument("--fixed", required=True, metavar="F", help="the scan that stays")
    inputs.add_argument("--moving", required=True, metavar="M", help="the scan that is laid over it")
    inputs.add_argument("--fixed-labels", metavar="A", help="label map of the fixed scan, for the organ table")
    inputs.add_argument("--moving-labels", metavar="B", help="label map of the moving scan, for the organ table")
    inputs.add_argument("--guide-with-labels", action="store_true", help="let both label maps guide the registration")
    inputs.add_argument("--fixed-mask", metavar="P", help="register only what lies in here")
    inputs.add_argument("--moving-mask", metavar="Q", help="the same for the moving scan")
    start = inputs.add_mutually_exclusive_group()
    start.add_argument("--initial-transform", metavar="I", help="ITK transform, fixed to moving, to start from")
    start.add_argument("--no-alignment", action="store_true", help="start from where the scans lie")
    inputs.add_argument(
        "--fixed-points", metavar="P", help="two or more landmarks to start from, as evaluate reads them"
    )
    inputs.add_argument("--moving-points", metavar="Q", help="the landmarks of the same names in the moving scan")
    how = parser.add_argument_group("how")
    how.add_argument("--preset", default="default", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    how.add_argument(
        "--weights", metavar="W.npz", help="of your own training, of either network, or the bundled pdd.npz"
    )
    how.add_argument("--capture-range", type=float, metavar="MM", help="largest displacement that is searched")
    how.add_argument("--control-spacing", type=float, metavar="MM", help="between control points, of the last stage")
    how.add_argument("--smoothness", type=float, metavar="X", help="how stiff, as a multiple of the preset's")
    how.add_argument("--iterations", type=int, metavar="N", help="steps of the optimisation; 0 leaves it out")
    ways = how.add_mutually_exclusive_group()
    ways.add_argument("--both-ways", action="store_true", default=None, help="register both directions, and average")
    ways.add_argument("--one-way", action="store_false", dest="both_ways", help="register one direction only")
    outputs = parser.add_argument_group("outputs (volumes: .nii.gz .nii .nrrd .mha)")
    outputs.add_argument(
        "--output-transform", required=True, metavar="T", help="fixed to moving, LPS mm: .h5 .tfm .txt .mat or a volume"
    )
    outputs.add_argument("--output-volume", metavar="W", help="the moving scan on the fixed grid")
    outputs.add_argument("--output-labels", metavar="L", help="the moving label map on the fixed grid")
    outputs.add_argument("--output-inverse", metavar="V", help="the inverse transform, moving to fixed")
    outputs.add_argument("--output-jacobian", metavar="J", help="local volume change, on the transform's grid")
    outputs.add_argument(
        "--output-spread", metavar="U", help="standard deviation of the displacement, mm, on the transform's grid"
    )
    outputs.add_argument("--report", metavar="R.json", help="everything that is known about the result")


def run(args: argparse.Namespace) -> int:
    """The subcommand; returns the exit code. Raises InputError, Cancelled, KeyboardInterrupt or Terminated."""
    console, clock = Console(), Clock()
    _check_arguments(args)
    paths = {name: getattr(args, name) for name in _INPUTS if getattr(args, name) is not None}
    for path in paths.values():
        volumes.check_readable(path)
    with OutputFiles(_outputs(args), paths.values()) as outputs:
        _check_device(args.device)
        clock.lap("start")
        console(0.0, "reading")
        inputs = _read(args)
        clock.lap("read")
        result = _register(args, inputs, console)
        console.clear()
        clock.add(result.seconds)
        console(1.0, "writing")
        with ThreadPoolExecutor(1) as beside:
            warped = beside.submit(result.warp, inputs.moving) if "volume" in outputs else None
            determinant = result.field.jacobian_determinant()
            residual = _write(outputs, result, inputs, determinant, warped)
        clock.lap("write")
        labels = _measure(args, result, inputs)
        clock.lap("measure")
        summary = report.registration_report(
            result,
            inputs.fixed,
            inputs.moving.grid,
            determinant,
            seconds=clock.seconds,
            warnings=inputs.warnings,
            labels=labels,
            inputs=paths,
            outputs=outputs.paths,
            inverse_residual=residual,
        )
        outputs.write_text("report", report.to_json(summary))
        outputs.commit()
        _print(console, summary)
    return VERDICT_FAILED if result.verdict.status == "failed" else OK


def _preset(args: argparse.Namespace) -> Preset:
    return adjusted(
        find_preset(args.preset),
        capture_range=args.capture_range,
        control_spacing=args.control_spacing,
        smoothness=args.smoothness,
        iterations=args.iterations,
        both_ways=args.both_ways,
    )


def _check_arguments(args: argparse.Namespace) -> None:
    _preset(args)
    if bool(args.fixed_points) != bool(args.moving_points):
        raise InputError("--fixed-points and --moving-points belong together; give both or neither")
    if args.fixed_points and (args.initial_transform or args.no_alignment):
        raise InputError("a run starts from points, from a transform or from where the scans lie; give one of them")
    if args.device not in DEVICES:
        _check_device(args.device)
    if args.weights:
        read_weights(Path(args.weights), SEMANTIC, PDD)  # a wrong file is told before the scans are read
    if args.fixed_labels and not args.moving_labels:
        raise InputError("--fixed-labels needs --moving-labels, to compare with; give both or neither")
    if args.output_labels and not args.moving_labels:
        raise InputError("--output-labels needs --moving-labels, the label map to warp")
    if args.guide_with_labels and not (args.fixed_labels and args.moving_labels):
        raise InputError("--guide-with-labels needs --fixed-labels and --moving-labels")
    if args.moving_labels and not (args.fixed_labels or args.output_labels):
        raise InputError(
            "--moving-labels alone does nothing; give --fixed-labels to measure or --output-labels to warp"
        )


def _check_device(name: str) -> None:
    from ..tensor.device import check_device  # imports torch, which takes seconds

    check_device(name)


def _outputs(args: argparse.Namespace) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    return {
        "transform": (args.output_transform, TRANSFORMS),
        "volume": (args.output_volume, IMAGES),
        "labels": (args.output_labels, IMAGES),
        "inverse": (args.output_inverse, TRANSFORMS),
        "jacobian": (args.output_jacobian, IMAGES),
        "spread": (args.output_spread, IMAGES),
        "report": (args.report, REPORTS),  # last to be renamed: where it stands, the run was complete
    }


def _read(args: argparse.Namespace) -> _Inputs:
    fixed, warnings = volumes.read_volume(args.fixed)
    moving, more = volumes.read_volume(args.moving)
    inputs = _Inputs(fixed, moving, warnings=warnings + more)
    for kind, read in (("labels", volumes.read_labels), ("mask", volumes.read_mask)):
        for side, image in (("fixed", fixed), ("moving", moving)):
            path = getattr(args, f"{side}_{kind}")
            if path is not None:
                value, more = read(path, image.grid)
                setattr(inputs, f"{side}_{kind}", value)
                inputs.warnings += more
    if args.initial_transform:
        inputs.initial_transform = read_transform(args.initial_transform)
    if args.fixed_points:
        _, *pairs, more = match_points(args.fixed_points, args.moving_points)
        inputs.initial_transform = affine_transform(start_from_points(*pairs))
        inputs.warnings += more
    if inputs.initial_transform is not None or args.no_alignment:
        check_overlap(fixed.grid, moving.grid, inputs.initial_transform)
    return inputs


def _register(args: argparse.Namespace, inputs: _Inputs, console: Console) -> Registration:
    from .. import pipeline

    guided = args.guide_with_labels
    return pipeline.register(
        inputs.fixed,
        inputs.moving,
        _preset(args),
        fixed_mask=inputs.fixed_mask,
        moving_mask=inputs.moving_mask,
        fixed_labels=inputs.fixed_labels if guided else None,
        moving_labels=inputs.moving_labels if guided else None,
        initial_transform=inputs.initial_transform,
        align=not args.no_alignment,
        device=args.device,
        weights=Path(args.weights) if args.weights else None,
        progress=console,
    )


def _write(
    outputs: OutputFiles, result: Registration, inputs: _Inputs, determinant: np.ndarray, warped: Future[Image] | None
) -> float | None:
    """Write what is wanted to temporary files; returns the residual of the inverse in mm, if that was wanted."""
    outputs.write_field("transform", result.field)
    if warped is not None:
        outputs.write_image("volume", warped.result())
    if "labels" in outputs and inputs.moving_labels is not None:
        outputs.write_image("labels", result.warp(inputs.moving_labels, labels=True))
    outputs.write_image("jacobian", Image(determinant, result.field.grid))
    outputs.write_image("spread", result.uncertainty)
    if "inverse" not in outputs:
        return None
    inverse, residual = result.inverse(inputs.moving.grid)
    outputs.write_field("inverse", inverse)
    return residual


def _measure(args: argparse.Namespace, result: Registration, inputs: _Inputs) -> dict[str, Any] | None:
    if inputs.fixed_labels is None or inputs.moving_labels is None:
        return None
    return report.measured_labels(
        inputs.fixed_labels,
        inputs.moving_labels,
        result.field.to_sitk(),
        start=inputs.initial_transform,
        guided=args.guide_with_labels,
    )


def _print(console: Console, summary: dict[str, Any]) -> None:
    console.line()
    if summary["labels"]:
        console.line(report.format_labels(summary["labels"]) + "\n")
    console.line(report.format_verdict(summary))
    for warning in summary["warnings"]:
        console.line(f"warning   {warning}")
    for path in summary["outputs"].values():
        console.line(f"written   {path}")
