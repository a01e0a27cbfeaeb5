"""Check the inputs, register, and report: the steps that the command and the worker share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.image import Image
from ..core.intensity import AS_HU, AUTO, check_intensity, to_hu
from ..core.linear import DEFORMABLE
from ..core.memo import Memo
from ..core.presets import Preset
from ..core.result import Progress, Registration
from ..evaluation import report
from ..evaluation.motion import layers_motion, motion_table
from ..io.validation import check_overlap
from ..matching.progress import Clock
from ..page.pictures import Subject
from . import provenance


@dataclass
class RunInputs:
    """Inputs of a registration. Masks and label maps lie on the grids of their scans."""

    fixed: Image
    moving: Image
    fixed_mask: Image | None = None
    moving_mask: Image | None = None
    fixed_labels: Image | None = None
    moving_labels: Image | None = None
    label_layers: tuple[tuple[Image, ...], tuple[Image, ...]] | None = None  # both maps, as they are measured
    guided: bool = False  # whether the label maps guide the registration
    initial_transform: sitk.Transform | None = None  # fixed to moving points, LPS mm
    transform_type: str = DEFORMABLE  # see `core.linear.TRANSFORM_TYPES`
    align: bool = True  # whether to search for the alignment where no initial transform is given
    diffeomorphic: bool = False  # whether the deformation is to be the exponential of a velocity field
    warnings: list[str] = field(default_factory=list)
    fixed_hu: Image | None = None  # the scans in HU as they are registered, see `bring_to_hu`; outputs keep the values
    moving_hu: Image | None = None
    intensity: str = AUTO  # what the user said of the values

    def bring_to_hu(
        self, preset: Preset, intensity: str = AUTO, names: tuple[str, str] = ("fixed volume", "moving volume"),
        kept: Memo | None = None,
    ) -> None:  # fmt: skip
        """Decide whether both scans are CTs in HU, if the preset is for CT, and note warnings.

        intensity: see `core.intensity.to_hu`. names: how the user knows the scans.
        kept: what earlier runs found of the same fixed scan.

        Raises:
            InputError: a scan is not in HU, and it is not certain how to repair it.
        """
        self.intensity = check_intensity(intensity)
        if preset.hu:
            fixed, kept = self.fixed, kept or Memo()
            self.fixed_hu, warnings = kept(
                "fixed in HU", (fixed,), (names[0], intensity), lambda: to_hu(fixed, names[0], intensity)
            )
            self.moving_hu, more = to_hu(self.moving, names[1], intensity)
            self.warnings = self.warnings + warnings + more

    def check_start(self) -> None:
        """Raise InputError where the scans do not overlap and no search for the alignment follows."""
        if self.initial_transform is not None or not self.align:
            check_overlap(self.fixed.grid, self.moving.grid, self.initial_transform)


@dataclass(frozen=True)
class FinishedRun:
    """Registration and its inputs; what several outputs need is computed once."""

    registration: Registration
    inputs: RunInputs
    preset: Preset
    weights: Path | None = None  # of the user's own training
    network: str | None = None  # that predicted the deformation, see `networks.registry`

    @cached_property
    def determinant(self) -> Image:
        """Compute the Jacobian determinant of the transform, on the field's grid."""
        displacements = self.registration.field
        return Image(displacements.jacobian_determinant(), displacements.grid)

    @property
    def inverse(self) -> DisplacementField:
        """Compute the transform from moving to fixed points, on a grid over the moving scan."""
        return self._inverse[0]

    @cached_property
    def _inverse(self) -> tuple[DisplacementField, float]:
        return self.registration.inverse(self.inputs.moving.grid)

    @property
    def subject(self) -> Subject:
        """Return what the pictures of a page show."""
        inputs, found = self.inputs, self.registration
        maps = found.expected_error, found.uncertainty
        scans = inputs.fixed_hu or inputs.fixed, inputs.moving_hu or inputs.moving
        return Subject(*scans, found.to_sitk(), found.field, *maps, inputs.initial_transform, self.preset.hu)

    @cached_property
    def motion(self) -> list[dict[str, Any]]:
        """Measure how the labels of the fixed scan, and the structures that the network named, move and grow."""
        labels, layers = self.inputs.fixed_labels, self.inputs.label_layers
        maps = layers[0] if layers else () if labels is None else (labels,)
        return motion_table(layers_motion(maps, self.registration.to_sitk()), self.registration.structures)

    def measured_layers(self, fixed: Sequence[Image], moving: Sequence[Image]) -> dict[str, Any]:
        """Measure two label maps of one or several layers under the transform, see `report.measured_layers`."""
        return report.measured_layers(
            fixed,
            moving,
            self.registration.to_sitk(),
            start=self.inputs.initial_transform,
            guided=self.inputs.guided,
        )

    def report(
        self,
        clock: Clock,
        *,
        inverse: bool,
        labels: dict[str, Any] | None = None,
        inputs: dict[str, str] | None = None,
        outputs: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Make the report of the run.

        inverse: whether the inverse was requested, so that its residual is reported. labels: see `measured_layers`.
        inputs, outputs: paths by name.
        """
        return report.registration_report(
            self.registration,
            self.inputs.fixed_hu or self.inputs.fixed,
            self.inputs.moving.grid,
            self.determinant.array,
            seconds=clock.seconds,
            warnings=self.inputs.warnings,
            labels=labels,
            motion=self.motion,
            settings=provenance.settings(self.inputs, self.preset, self.network),
            weights=provenance.weights_used(self.preset, self.weights, self.network),
            inputs=inputs,
            outputs=outputs,
            inverse_residual=self._inverse[1] if inverse else None,
        )


def check_device(name: str) -> None:
    """Load torch, which takes seconds, and check that it has the device.

    Raises:
        InputError: there is no such device. TorchMissing: torch cannot be loaded.
    """
    from ..tensor import device

    device.check_device(name)


def register(
    inputs: RunInputs,
    preset: Preset,
    *,
    clock: Clock,
    progress: Progress,
    device: str = "auto",
    weights: Path | None = None,
    network: str | None = None,
    kept: Memo | None = None,
) -> FinishedRun:
    """Run `pipeline.register` and add its stages to the clock.

    Raises:
        InputError, Cancelled, MemoryError: as for `pipeline.register`.
    """
    from .. import pipeline

    registration = pipeline.register(
        inputs.fixed_hu or inputs.fixed,
        inputs.moving_hu or inputs.moving,
        preset,
        transform_type=inputs.transform_type,
        fixed_mask=inputs.fixed_mask,
        moving_mask=inputs.moving_mask,
        fixed_labels=inputs.fixed_labels if inputs.guided else None,
        moving_labels=inputs.moving_labels if inputs.guided else None,
        initial_transform=inputs.initial_transform,
        align=inputs.align,
        diffeomorphic=inputs.diffeomorphic,
        intensity=AUTO if inputs.fixed_hu is None else AS_HU,
        device=device,
        weights=weights,
        network=network,
        progress=progress,
        kept=kept,
    )
    clock.add(registration.seconds)
    return FinishedRun(registration, inputs, preset, weights, network)
