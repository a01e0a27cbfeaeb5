"""Register two 2-D images as the command does: inputs, outputs and report (`PlaneRun`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ..core.plane import Plane, inverted, to_displacements
from ..core.result import Progress
from ..evaluation import report
from ..evaluation.metrics import dice, jacobian_statistics, mean
from ..io.atomic_outputs import OutputFiles
from .plane_network import network_weights
from .provenance import file_sha256

if TYPE_CHECKING:
    from ..matching.plane import PlaneRegistration


@dataclass
class PlaneInputs:
    """Inputs of a registration in 2-D. Label maps lie on the pixels of their images."""

    fixed: Plane
    moving: Plane
    fixed_labels: Plane | None = None
    moving_labels: Plane | None = None
    initial_transform: sitk.Transform | None = None  # 2-D, fixed to moving points, mm
    align: bool = True  # whether to search for the start where no transform is given
    weights: Path | None = None  # of the user's own network of axial slices; see `plane_network.network_weights`
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PlaneRun:
    """Registration of two 2-D images and its inputs."""

    inputs: PlaneInputs
    found: PlaneRegistration
    weights: Path | None  # of the network whose features were compared besides

    def write(self, files: OutputFiles) -> None:
        """Write all outputs that are wanted, but the report.

        Raises:
            InputError: a file cannot be written completely.
        """
        for key, content in IMAGES.items():
            if key in files:
                files.write_plane(key, content(self).as_stored())
        files.write_plane_field("transform", to_displacements(self.found.field))
        if "inverse" in files:
            files.write_plane_field("inverse", to_displacements(inverted(self.found.field, self.inputs.moving.grid)))
        if "jacobian" in files:
            determinant = self.found.determinant
            files.write_plane("jacobian", Plane(determinant).flat())

    def report(self, seconds: dict[str, float], inputs: dict[str, str], outputs: dict[str, str]) -> dict[str, Any]:
        """Make the report of the run. inputs, outputs: paths by name."""
        found, inside = self.found, self.inputs.fixed.grid.contains(self.found.determinant.grid.points())
        verdict = found.verdict
        return {
            "command": "register",
            "dimension": 2,
            "verdict": {
                "status": verdict.status,
                "reasons": list(verdict.reasons),
                "risk": verdict.risk,
                "measures": dict(verdict.measures),
            },
            "start": found.start,
            "deformed": found.deformed,
            "weights": file_sha256(self.weights),
            "seconds": {**found.seconds, **seconds},
            "jacobian": {"region": "fixed image", **jacobian_statistics(found.determinant.array, inside)},
            "labels": self.labels(),
            "warnings": report.unique(self.inputs.warnings),
            "inputs": inputs,
            "outputs": outputs,
            "versions": report.versions(),
        }

    def labels(self) -> dict[str, Any] | None:
        """Measure the Dice of every label where the images lie, and under the transform; None without both maps."""
        fixed, moving = self.inputs.fixed_labels, self.inputs.moving_labels
        if fixed is None or moving is None:
            return None
        start = self.inputs.initial_transform or sitk.Transform(2, sitk.sitkIdentity)
        maps = moving.resample(fixed, start, labels=True), self.found.warp(moving, fixed, labels=True)
        before, after = (each.image.array for each in maps)
        truth = fixed.image.array
        rows = []
        for label in sorted(set(np.unique(truth).tolist()) & set(np.unique(moving.image.array).tolist()) - {0}):
            pair = [dice(truth == label, each == label) for each in (before, after)]
            rows.append({"label": label, "dice_before": pair[0], "dice_after": pair[1]})
        sides = ("dice_before", "dice_after")
        return {"table": rows, "mean": {side: mean(row[side] or 0.0 for row in rows) for side in sides}}


def _labels(run: PlaneRun) -> Plane:
    labels = run.inputs.moving_labels
    assert labels is not None  # the command asks for them
    return run.found.warp(labels, run.inputs.fixed, labels=True)


IMAGES: dict[str, Callable[[PlaneRun], Plane]] = {
    "volume": lambda run: run.found.warp(run.inputs.moving, run.inputs.fixed),
    "labels": _labels,
}
"""Outputs on the fixed image's pixels; keys as in `outputs.OUTPUTS`."""


def register_planes(inputs: PlaneInputs, progress: Progress | None = None) -> PlaneRun:
    """Register; torch is loaded only now.

    Raises:
        InputError: the weights do not fit the network.
        Cancelled: the progress callback stopped the run.
    """
    from ..features import plane_net
    from ..matching import plane

    weights = network_weights(inputs.fixed, inputs.moving, inputs.weights)
    found = plane.register_planes(
        inputs.fixed,
        inputs.moving,
        initial_transform=inputs.initial_transform,
        align=inputs.align,
        net=plane_net.load(weights) if weights else None,
        progress=progress,
    )
    return PlaneRun(inputs, found, weights)


def format_report(summary: dict[str, Any]) -> str:
    """Format Dice, verdict, time and folding in a few lines."""
    verdict, measures = summary["verdict"], summary["verdict"]["measures"]
    lines = []
    if summary["labels"]:
        rows = [*summary["labels"]["table"], {"label": "mean", **summary["labels"]["mean"]}]
        lines += ["label   Dice before  after"]
        lines += [f"{row['label']!s:8s}{row['dice_before']:11.3f}{row['dice_after']:7.3f}" for row in rows]
    lines += [f"verdict   {verdict['status']}", *(f"          - {reason}" for reason in verdict["reasons"])]
    lines += [
        f"alike     {measures['similarity_before']:.2f} as they lie, {measures['similarity_start']:.2f} aligned, "
        f"{measures['similarity']:.2f} in the end (correlation of the features)",
        f"start     {summary['start']}{'' if summary['deformed'] else '; a deformation made the images no more alike'}",
        f"time      {summary['seconds']['total']:.1f} s",
        f"folding   {summary['jacobian']['folding_percent']:.3f} % of the image",
    ]
    return "\n".join(lines)
