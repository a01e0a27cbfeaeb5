"""Define the voxels that a virtual patient is painted on (`Canvas`), and implicit shapes (level sets) to paint.

A shape is a level: an array of the approximate distance to its surface in mm, negative inside. Shapes are computed
inside their bounding box only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from ..core.grid import Grid
from ..core.hounsfield import AIR_HU, HIGHEST_HU, PADDING_HU
from .body import Body

Window = tuple[slice, slice, slice]

SMOOTH_SPACING_MM = 6.0  # smooth functions are computed at this spacing and interpolated
FAR_MM = 999.0  # the level of voxels where a tube is not computed
TEXELS = 64  # size of the periodic noise volume that gives tissue its texture
TEXEL_MM = 1.6
TEXTURE_STREAM = 7  # of random numbers, apart from those that make the patient
BLUR_VOXELS = 0.5  # standard deviation
NOISE_BEFORE_BLUR = 2.2  # the blur lowers the noise by this factor


@dataclass(frozen=True)
class Tissue:
    """Mean HU of a tissue, and the standard deviation (HU) of its texture."""

    hu: float
    grain: float


class Canvas:
    """HU and labels (D, H, W) on a `Grid`, with the coordinates of every voxel in the patient's common frame (mm)."""

    def __init__(self, body: Body, grid: Grid) -> None:
        self.body, self.grid = body, grid
        nodes, self._weights = zip(*(_interpolation(n, SMOOTH_SPACING_MM / s) for n, s in _axes(grid)), strict=True)
        k, j, i = np.meshgrid(*nodes, indexing="ij")
        self.coarse_points = body.to_common(grid.index_to_point(np.stack([i, j, k], axis=-1)))
        self.x, self.y, self.z = (self.refine(self.coarse_points[..., c]) for c in range(3))
        self.hu = np.full(grid.shape, AIR_HU, np.float32)
        self.grain = np.zeros(grid.shape, np.float32)
        self.labels = np.zeros(grid.shape, np.uint8)
        rng = np.random.default_rng([body.seed, TEXTURE_STREAM])
        noise = ndimage.gaussian_filter(rng.standard_normal((TEXELS,) * 3).astype(np.float32), 1.3, mode="wrap")
        self._noise = noise / noise.std()
        depth, height, width = grid.shape
        self.whole: Window = slice(0, depth), slice(0, height), slice(0, width)

    def refine(self, values: np.ndarray) -> np.ndarray:
        """Interpolate values at the coarse nodes linearly to every voxel: (D, H, W), float32."""
        fine = values.astype(np.float32)
        for axis in (2, 1, 0):  # the last axis first, while the array is small; no BLAS: the sums are the same anywhere
            below, share = self._weights[axis]
            share = share.reshape([-1 if a == axis else 1 for a in range(3)])
            start = np.take(fine, below, axis)
            fine = start + (np.take(fine, below + 1, axis) - start) * share
        return fine

    def texture(self, window: Window, scale: float = 1.0) -> np.ndarray:
        """Return spatially correlated noise of unit variance, fixed to the tissue; grains of `scale` the usual size."""
        step = np.float32(1 / (TEXEL_MM * scale))
        x, y, z = (((v[window] * step).astype(np.int32) + TEXELS * 64) % TEXELS for v in (self.x, self.y, self.z))
        return self._noise[z, y, x]

    def coordinates(self, window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y, z of the voxels of a window in the common frame, mm."""
        return self.x[window], self.y[window], self.z[window]

    def window(self, low: npt.ArrayLike, high: npt.ArrayLike) -> Window | None:
        """Return the voxels that may lie inside a box of the common frame (mm); None where it is outside the view."""
        steps = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        start, end = np.asarray(low, float), np.asarray(high, float)
        points = start + steps * (end - start)
        index = self.grid.point_to_index(self.body.to_table(points))
        margin = 4 / self.grid.spacing + 1
        return self._clip(index.min(0) - margin, index.max(0) + margin)

    def _clip(self, low: np.ndarray, high: np.ndarray) -> Window | None:
        """Limit a box of indices (i, j, k) to the view."""
        start = np.maximum(np.floor(low).astype(int), 0)
        stop = np.minimum(np.ceil(high).astype(int) + 1, self.grid.size)
        if (start >= stop).any():
            return None
        i, j, k = (slice(a, b) for a, b in zip(start, stop, strict=True))
        return k, j, i

    def paint(self, window: Window, inside: np.ndarray, tissue: Tissue, label: int | None = None) -> None:
        """Fill the voxels `inside` (bool, the window's shape); a label of None leaves the labels as they are."""
        self.hu[window][inside] = tissue.hu
        self.grain[window][inside] = tissue.grain
        if label is not None:
            self.labels[window][inside] = label

    def tube(self, path: npt.ArrayLike, radii: npt.ArrayLike, step: float = 0.6) -> Tube | None:
        """Compute the level of a tube of varying radius along a smooth curve; None where the tube is outside the view.

        path (N, 3) control points and radii (N,), mm in the common frame; `step`: spacing of the pieces in radii.
        """
        curve, radii = smooth_path(path, radii, step)
        centres = self.grid.point_to_index(self.body.to_table(curve))
        reach = (1.3 * radii[:, None] + 5) / self.grid.spacing
        window = self._clip((centres - reach).min(0), (centres + reach).max(0))
        if window is None:
            return None
        level = np.full([s.stop - s.start for s in window], FAR_MM, np.float32)
        part = np.zeros(level.shape, np.int16)
        for n in range(len(curve) - 1):
            box = self._clip((centres - reach)[n : n + 2].min(0), (centres + reach)[n : n + 2].max(0))
            if box is None:
                continue
            local = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, window, strict=True))
            distance = capsule(self.coordinates(box), curve[n : n + 2], radii[n : n + 2])
            closer = distance < level[local]
            level[local][closer] = distance[closer]
            part[local][closer] = n
        return Tube(window, level, part, curve.astype(np.float32), radii.astype(np.float32))

    def finish(self, rng: np.random.Generator, noise: float) -> np.ndarray:
        """Finish the scan: add texture, blur of about half a voxel and noise of `noise` HU; int16 HU in [-1024, 2000],
        (D, H, W)."""
        hu = self.hu + self.grain * self.texture(self.whole)
        hu += rng.standard_normal(hu.shape, dtype=np.float32) * np.float32(NOISE_BEFORE_BLUR * noise)
        hu = ndimage.gaussian_filter(hu, BLUR_VOXELS, truncate=3)
        return np.clip(np.round(hu), PADDING_HU, HIGHEST_HU).astype(np.int16)


@dataclass(frozen=True)
class Tube:
    """Level (mm) of a tube in a window, and the piece of its path that lies nearest to each voxel."""

    window: Window
    level: np.ndarray
    part: np.ndarray
    path: np.ndarray  # (N, 3)
    radii: np.ndarray  # (N,)


def _axes(grid: Grid) -> list[tuple[int, float]]:
    """Return size and spacing (mm) along k, j, i."""
    return list(zip(grid.shape, grid.spacing[::-1], strict=True))


def _interpolation(count: int, step: float) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return coarse nodes along an axis of `count` voxels; for each voxel the node below and the weight of the next."""
    nodes = np.linspace(0, count - 1, max(int(np.ceil((count - 1) / step)) + 1, 2))
    place = np.interp(np.arange(count), nodes, np.arange(len(nodes))) if count > 1 else np.zeros(1)
    below = np.minimum(place.astype(int), len(nodes) - 2)
    return nodes, (below, (place - below).astype(np.float32))


def smooth_path(path: npt.ArrayLike, radii: npt.ArrayLike, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit a curve through control points (N, 3) mm with radii (N,) or one, resampled every `step` radii."""
    points = np.asarray(path, float)
    radius = np.broadcast_to(np.asarray(radii, float), len(points))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    curve = PchipInterpolator(length, np.column_stack([points, radius]))
    count = max(int(np.ceil(length[-1] / (step * radius.mean()))), 1) + 1
    values = curve(np.linspace(0, length[-1], count))
    return values[:, :3], values[:, 3]


def capsule(points: Sequence[np.ndarray], ends: np.ndarray, radii: Sequence[float] | np.ndarray) -> np.ndarray:
    """Compute the level of a rod with round ends (2, 3) whose radius changes linearly, at x, y, z, mm."""
    axis = (ends[1] - ends[0]).astype(np.float32)
    dx, dy, dz = (v - np.float32(c) for v, c in zip(points, ends[0], strict=True))
    along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / np.float32(max(axis @ axis, 1e-6)), 0, 1)
    squared = (dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2
    return np.sqrt(squared) - (np.float32(radii[0]) + along * np.float32(radii[1] - radii[0]))


def ellipsoid(points: Sequence[np.ndarray], centre: Sequence[float], axes: Sequence[float]) -> np.ndarray:
    """Compute the level (mm, along the ray from the centre) of an ellipsoid with half axes along x, y, z."""
    offsets = [v - np.float32(c) for v, c in zip(points, centre, strict=True)]
    reach = np.sqrt(sum((o / np.float32(a)) ** 2 for o, a in zip(offsets, axes, strict=True)))
    radius = np.sqrt(sum(o**2 for o in offsets))
    return radius * (1 - 1 / np.maximum(reach, np.float32(1e-3)))


def intersect(*levels: np.ndarray, softness: float = 4.0) -> np.ndarray:
    """Intersect shapes: compute the level of the inside of all, with edges rounded over about `softness` mm."""
    top = levels[0]
    for level in levels[1:]:
        top = np.maximum(top, level)
    return top + softness * np.log(sum(np.exp((level - top) / np.float32(softness)) for level in levels))
