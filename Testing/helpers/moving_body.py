"""A sequence of small frames on oblique grids of their own, whose body moves by a known shift from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from helpers.samples import FIXED, body, centred, direction, fake_register, labels, save
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.result import Registration

STEP_MM = np.array([3.0, -4.0, 2.0])  # LPS, from each frame to the next
COUNT, REFERENCE = 4, 1


def shift_of(frame: int, reference: int = REFERENCE) -> np.ndarray:
    """Reference to frame, (3,) LPS mm."""
    return (frame - reference) * STEP_MM


def grid_of(frame: int) -> Grid:
    """The oblique grid of a frame; every other one is left-handed. That of the reference is FIXED."""
    if frame == REFERENCE:
        return FIXED
    centre = FIXED.centre + shift_of(frame) + [1, -2, 1]
    spacing = (2.8 + 0.1 * frame, 3.1, 3.5)
    return centred((24, 30, 28), spacing, centre, direction(10 + frame, flipped=frame % 2 == 0))


def image_of(frame: int, grid: Grid | None = None) -> Image:
    """The body of the reference, moved by the frame's shift, on the frame's grid or another one."""
    grid = grid_of(frame) if grid is None else grid
    back = sitk.TranslationTransform(3, (-shift_of(frame)).tolist())
    blank = Image(np.zeros(grid.shape, np.int16), grid).to_sitk()
    return Image.from_sitk(sitk.Resample(body(FIXED).to_sitk(), blank, back, sitk.sitkLinear, -1000.0))


def write_frames(folder: Path, count: int = COUNT) -> list[str]:
    """Write the frames and return their paths."""
    return [str(save(image_of(frame), folder / f"phase{frame}.nii.gz")) for frame in range(count)]


def write_labels(folder: Path) -> str:
    """Write the label map of the reference."""
    return str(save(labels(FIXED, FIXED.centre), folder / "labels.nii.gz"))


def finds_the_shift(
    calls: list[dict], status: Callable[[int], str] = lambda frame: "ok"
) -> Callable[..., Registration]:
    """A stand-in for `pipeline.register` that finds the shift of the frame, which the moving grid tells."""

    def register(fixed: Image, moving: Image, *args: object, **settings: object) -> Registration:
        frame = next(n for n in range(COUNT) if grid_of(n).same_as(moving.grid))
        calls.append({"frame": frame, "fixed": fixed, "moving": moving, **settings})
        found = fake_register(status(frame))(fixed, moving, *args, **settings)
        shift = np.broadcast_to(shift_of(frame), found.field.array.shape).astype(np.float32)
        return replace(found, field=DisplacementField(shift, found.field.grid))

    return register
