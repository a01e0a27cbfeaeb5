"""Register two single slices of space as 2-D images, with a transform of space that moves within their plane."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..core.plane import Plane, inverted, to_transform
from ..core.presets import PRESETS
from ..core.result import Progress, Registration
from ..core.slice_frame import SliceFrame, is_slice
from ..errors import InputError
from ..io.planes import check_plane
from ..matching.progress import Clock
from .plane_network import network_weights
from .provenance import file_sha256
from .registration import FinishedRun, RunInputs

if TYPE_CHECKING:
    from ..matching.plane import PlaneRegistration

PLANE = "2-D"
"""Stands in a report in the place of a preset's name."""
_SETTINGS = dataclasses.replace(PRESETS["mind"], name=PLANE, purpose="", stages=(), one_patient=None, hu=False)
_AROUND = 0.1  # of the image, around which a start is sampled: pixels at its border need neighbours


@dataclass(frozen=True)
class SliceFrames:
    """The plane's coordinates in the fixed slice and, carried rigidly, in the moving one."""

    fixed: SliceFrame
    moving: SliceFrame
    half_depth_mm: float  # to both sides of the planes, in which the transform holds

    @classmethod
    def of(cls, fixed: Grid, moving: Grid) -> SliceFrames:
        """Find them. Raise InputError where the slices are tilted too far against each other."""
        frame = SliceFrame.of(fixed)
        return cls(frame, frame.carried_to(moving), max(float(grid.spacing.max()) for grid in (fixed, moving)))

    @property
    def carrying(self) -> sitk.Transform:
        """Return the rigid map between the planes, fixed to moving points, LPS mm; the identity within one plane."""
        rigid, transform = self.fixed.map_to(self.moving), sitk.AffineTransform(3)
        transform.SetMatrix(rigid.matrix.ravel().tolist())
        transform.SetTranslation(rigid.shift.tolist())
        return transform


@dataclass(frozen=True)
class FinishedSlices(FinishedRun):
    """Registration of two slices in space, and what was found in their plane."""

    frames: SliceFrames = dataclasses.field(kw_only=True)
    found: PlaneRegistration = dataclasses.field(kw_only=True)
    network_file: Path | None = dataclasses.field(kw_only=True)  # weights of the network that named structures

    @cached_property
    def _inverse(self) -> tuple[DisplacementField, float]:
        """Invert in the plane, on a grid over the moving slice."""
        plane, spacing_mm = self.frames.moving.flat_image(self.inputs.moving).grid, self.found.field.grid.spacing[0]
        back = inverted(self.found.field, _coarser(plane, float(spacing_mm)))
        inverse = self.frames.moving.lifted(back, self.frames.fixed, self.frames.half_depth_mm)
        return inverse, self.registration.field.residual_of(inverse)

    def measured_layers(self, fixed: Sequence[Image], moving: Sequence[Image]) -> dict[str, Any]:
        """Measure two label maps; 'before', a slice of another plane is brought into the fixed one's."""
        start = self.inputs.initial_transform or self.frames.carrying
        inputs = dataclasses.replace(self.inputs, initial_transform=start)
        return FinishedRun(self.registration, inputs, self.preset).measured_layers(fixed, moving)

    def report(self, clock: Clock, **more: Any) -> dict[str, Any]:
        """Make the report of the run, see `FinishedRun.report`; `dimension` is 2."""
        found = super().report(clock, **more)
        used = {"weights": file_sha256(self.network_file)}
        return found | used | {"dimension": 2, "start": self.found.start, "deformed": self.found.deformed}


def are_slices(fixed: Image, moving: Image) -> bool:
    """Tell whether both volumes are single slices, or neither.

    Raises:
        InputError: one of them is.
    """
    flat = {"fixed": is_slice(fixed.grid), "moving": is_slice(moving.grid)}
    if flat["fixed"] != flat["moving"]:
        one, other = ("fixed", "moving") if flat["fixed"] else ("moving", "fixed")
        raise InputError(
            f"{one} volume: this is a single slice, not a volume, and the {other} volume is none; give two volumes, or "
            "two slices"
        )
    return flat["fixed"]


def checked_slices(fixed: Image, moving: Image) -> RunInputs:
    """Check two slices, and return them fit to be registered, with warnings about what had to be replaced.

    Raises:
        InputError: there is nothing to register in one of them.
    """
    moving, warnings = _checked(moving, "moving volume")
    fixed, more = _checked(fixed, "fixed volume")
    return RunInputs(fixed, moving, warnings=warnings + more)


def refuse_for_slices(chosen: Mapping[str, bool]) -> None:
    """Raise InputError where something that is for volumes only was chosen; chosen: by what the user calls it."""
    others = [name for name, given in chosen.items() if given]
    if others:
        raise InputError(f"{', '.join(others)}: only for volumes, and these are single slices; leave it out")


def register_slices(inputs: RunInputs, *, clock: Clock, progress: Progress | None = None) -> FinishedSlices:
    """Register; torch is loaded only now. Only slices, initial transform and `align` of the inputs count.

    Raises:
        InputError: the slices are tilted too far against each other.
        Cancelled: the progress callback stopped the run.
    """
    frames = SliceFrames.of(inputs.fixed.grid, inputs.moving.grid)
    fixed, moving = (
        Plane(frame.flat_image(image), image.grid)
        for frame, image in ((frames.fixed, inputs.fixed), (frames.moving, inputs.moving))
    )
    start = inputs.initial_transform
    from ..features import plane_net
    from ..matching import plane

    network_file = network_weights(fixed, moving)
    found = plane.register_planes(
        fixed,
        moving,
        initial_transform=None if start is None else _in_the_plane(start, fixed.grid, frames),
        align=inputs.align,
        net=plane_net.load(network_file) if network_file else None,
        progress=progress,
    )
    clock.add(found.seconds)
    registration = _in_space(found, inputs, frames)
    return FinishedSlices(registration, inputs, _SETTINGS, frames=frames, found=found, network_file=network_file)


def _in_space(found: PlaneRegistration, inputs: RunInputs, frames: SliceFrames) -> Registration:
    """Place what was found in the plane in space."""
    field = frames.fixed.lifted(found.field, frames.moving, frames.half_depth_mm)
    spread = np.repeat(found.spread.array, field.grid.shape[0], axis=0)
    return Registration(
        field=field,
        uncertainty=Image(spread, field.grid),
        verdict=found.verdict,
        fixed_grid=inputs.fixed.grid,
        preset=PLANE,
        device="cpu",
        seconds=dict(found.seconds),
        inverse_consistency=found.verdict.measures["inverse_consistency"],
    )


def _in_the_plane(start: sitk.Transform, plane: Grid, frames: SliceFrames) -> sitk.Transform:
    """Take of a transform of space what it does in the plane, over the fixed slice and somewhat around."""
    flat = _coarser(plane, float(plane.spacing[:2].max()), _AROUND * float(plane.extent[:2].max()))
    placed = DisplacementField.from_transform(start, frames.fixed.grid_in_space(flat))
    return to_transform(frames.fixed.flattened(placed, flat, frames.moving))


def _coarser(plane: Grid, spacing_mm: float, margin_mm: float = 0.0) -> Grid:
    """Make a grid at z = 0 of equal spacing over another one, wider by the margin on each side."""
    count = np.ceil((plane.extent[:2] + 2 * margin_mm) / spacing_mm - 1e-6).astype(int)
    middle = np.array([*((count - 1) / 2 * spacing_mm), 0.0])
    origin = plane.centre - plane.direction @ middle
    return Grid((1, int(count[1]), int(count[0])), [spacing_mm, spacing_mm, 1.0], origin, plane.direction)


def _checked(image: Image, name: str) -> tuple[Image, list[str]]:
    frame = SliceFrame.of(image.grid)
    plane, warnings = check_plane(Plane(frame.flat_image(image), image.grid), name)
    return Image(plane.image.array.reshape(image.array.shape), image.grid), warnings
