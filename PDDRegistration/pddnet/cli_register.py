"""`pddnet register`: check everything, read, register, write, report."""

from __future__ import annotations

import argparse
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from . import files, report
from .adjust import adjusted
from .checks import DEVICES, check_device, check_overlap
from .cli import OK, VERDICT_FAILED
from .clock import Clock
from .console import Console
from .errors import InputError
from .image import Image
from .landmarks import affine_transform, start_from_points
from .outputs import IMAGES, REPORTS, TRANSFORMS, OutputFiles
from .points import match_points
from .presets import Preset, find_preset
from .registration import Registration
from .weights import PDD, SEMANTIC, read_weights

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


def run(args: argparse.Namespace) -> int:
    """The subcommand; returns the exit code. Raises InputError, Cancelled, KeyboardInterrupt or Terminated."""
    console, clock = Console(), Clock()
    _check_arguments(args)
    paths = {name: getattr(args, name) for name in _INPUTS if getattr(args, name) is not None}
    for path in paths.values():
        files.check_readable(path)
    with OutputFiles(_outputs(args), paths.values()) as outputs:
        check_device(args.device)
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
        check_device(args.device)
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
    fixed, warnings = files.read_volume(args.fixed)
    moving, more = files.read_volume(args.moving)
    inputs = _Inputs(fixed, moving, warnings=warnings + more)
    for kind, read in (("labels", files.read_labels), ("mask", files.read_mask)):
        for side, image in (("fixed", fixed), ("moving", moving)):
            path = getattr(args, f"{side}_{kind}")
            if path is not None:
                value, more = read(path, image.grid)
                setattr(inputs, f"{side}_{kind}", value)
                inputs.warnings += more
    if args.initial_transform:
        inputs.initial_transform = files.read_transform(args.initial_transform)
    if args.fixed_points:
        _, *pairs, more = match_points(args.fixed_points, args.moving_points)
        inputs.initial_transform = affine_transform(start_from_points(*pairs))
        inputs.warnings += more
    if inputs.initial_transform is not None or args.no_alignment:
        check_overlap(fixed.grid, moving.grid, inputs.initial_transform)
    return inputs


def _register(args: argparse.Namespace, inputs: _Inputs, console: Console) -> Registration:
    from . import pipeline  # imports torch

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
    outputs.write_image("spread", result.spread)
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
