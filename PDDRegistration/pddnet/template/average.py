"""Average scans on the mean shape: read, place and sum up one after the other (`Settings`, `average`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.field import DisplacementField
from ..core.hounsfield import BODY_THRESHOLD_HU, PADDING_HU, SOFT_TISSUE_HU
from ..core.image import Image
from ..core.intensity import AUTO, to_hu
from ..core.masks import body_mask, view_mask
from ..errors import InputError
from ..io.label_layers import read_label_layers
from ..io.transforms import read_transform
from ..io.volumes import read_volume
from .moments import Moments, edge_strength
from .shape import FIELD_MM, MeanShape, from_mean, lattice_over, mean_shape

LEAST_SHARE = 0.5  # of the scans that must show a voxel of the mean
LEAST_SCANS = 2
Told = Callable[[float, str], None]
"""Called with the share that is done, 0..1, and the scan that is next."""


@dataclass(frozen=True)
class Settings:
    """How scans are averaged; spacing_mm: voxels of the mean; intensity: see `core.intensity.to_hu`."""

    spacing_mm: float = 2.0
    intensity: str = AUTO


@dataclass(frozen=True)
class Member:
    """A scan of the cohort; id: unique, also the name of its folder."""

    id: str
    scan: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Placed:
    """A scan and its transform from points of the round's fixed scan to its own; None: it is that scan."""

    member: Member
    transform: Path | None


@dataclass(frozen=True, eq=False)
class Average:
    """The mean of a round.

    Attributes:
        image: mean intensity, HU, float32; PADDING_HU where fewer than half of the scans show anything.
        body: (D, H, W) bool, where it shows the patient.
        sharpness_hu_per_mm: see `moments.edge_strength`.
        spread_hu: standard deviation of the scans, clipped to soft tissue, mean over the body.
    """

    shape: MeanShape
    image: Image
    body: np.ndarray
    sharpness_hu_per_mm: float
    spread_hu: float


def average(fixed: Image, placed: Sequence[Placed], settings: Settings, told: Told) -> Average:
    """Average the shapes and the intensities of scans that were registered to `fixed`, a CT in HU.

    Raises:
        InputError: there are fewer than two, or a file cannot be read.
    """
    check_enough(placed)
    shape = shape_of(fixed, placed, settings, told)
    values, soft = Moments(shape.grid.shape), Moments(shape.grid.shape)
    for number, (_, _, image) in enumerate(on_mean_shape(placed, fixed, shape, settings)):
        told(0.3 + 0.7 * number / len(placed), placed[number].member.id)
        values.add(image.array)
        soft.add(np.clip(image.array, *SOFT_TISSUE_HU))
    image = shown(values, shape, len(placed))
    body = body_of(image).resample(image.grid).array
    spread = float(soft.deviation[body].mean()) if body.any() else 0.0
    return Average(shape, image, body, edge_strength(image, body), spread)


def check_enough(placed: Sequence[Placed]) -> None:
    """Raise InputError where there is nothing to average."""
    if len(placed) < LEAST_SCANS:
        raise InputError(
            f"{len(placed)} scan is left to average, the registrations of all others failed; "
            "give scans that show the same part of the body"
        )


def check_label_maps(members: Iterable[Member]) -> None:
    """Raise InputError where a label map cannot be read: before hours of registrations, not after them."""
    for member in members:
        if member.labels is not None:
            read_label_layers(member.labels)


def shape_of(fixed: Image, placed: Sequence[Placed], settings: Settings, told: Told = lambda *_: None) -> MeanShape:
    """Find the mean shape of scans that were registered to `fixed`."""

    def fields() -> Iterator[DisplacementField]:
        for number, each in enumerate(placed):
            told(0.3 * number / len(placed), each.member.id)
            yield field_of(each, fixed)

    return mean_shape(fields(), fixed.grid, body_of(fixed), settings.spacing_mm)


def on_mean_shape(
    placed: Sequence[Placed], fixed: Image, shape: MeanShape, settings: Settings
) -> Iterator[tuple[Placed, DisplacementField, Image]]:
    """Yield each scan, the displacements from the mean's points to its own, and its values on the mean's grid.

    The values are HU, NaN where the scan shows nothing. It is interpolated once only, so that the mean stays sharp.
    """
    for each in placed:
        field = from_mean(field_of(each, fixed), shape.back)
        scan = read_scan(each.member.scan, settings)
        yield each, field, scan.resample(shape.grid, field.to_sitk(), fill=np.nan)


def read_scan(path: Path, settings: Settings) -> Image:
    """Read a scan in HU, NaN where the scanner measured nothing, no finer than the mean; float32.

    Raises:
        InputError: it cannot be read, or is no CT.
    """
    image = read_hu(path, settings).canonical()
    values = np.where(view_mask(image).array, image.array, np.nan).astype(np.float32)
    return Image(values, image.grid).coarsen(settings.spacing_mm)


def read_hu(path: Path, settings: Settings) -> Image:
    """Read a CT in HU, on its own grid. Raises InputError where it cannot be read, or is no CT."""
    image, _ = read_volume(path)
    return to_hu(image, str(path), settings.intensity)[0]


def field_of(placed: Placed, fixed: Image) -> DisplacementField:
    """Read a transform as displacements on the lattice over the fixed scan."""
    lattice = lattice_over(fixed.grid)
    if placed.transform is None:
        return DisplacementField(np.zeros((*lattice.shape, 3), np.float32), lattice)
    return DisplacementField.from_transform(read_transform(placed.transform), lattice)


def shown(values: Moments, shape: MeanShape, count: int) -> Image:
    """Return the mean, and PADDING_HU where fewer than half of the scans show anything."""
    return Image(np.where(values.count >= LEAST_SHARE * count, values.mean, np.float32(PADDING_HU)), shape.grid)


def body_of(scan: Image) -> Image:
    """Mark the patient in a CT (bool), on a coarse grid; everything where no body is found."""
    body = body_mask(scan.coarsen(FIELD_MM), BODY_THRESHOLD_HU)
    return body if body.array.any() else Image(np.ones_like(body.array), body.grid)
