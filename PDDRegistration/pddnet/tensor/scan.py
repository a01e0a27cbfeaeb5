"""`Scan`: a volume prepared for matching: intensities, body and view on its own coarsened grid, warped on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.image import AIR, Image
from ..core.masks import BODY_THRESHOLD, body_mask, view_mask
from .convert import to_tensor
from .lattice import interpolate, mesh, sample
from .pools import block_means

HU_RANGE = (-1000.0, 1000.0)
STRAIGHT = 1e-3  # voxels, by which an axis may be turned into another until sampling along the axes is inexact
BODY_MARGIN = 12.0  # mm of air around the body that still tells something: the skin
SMALLEST_BODY = 0.005  # share of the volume; with less, everything counts as body


@dataclass(frozen=True)
class Scan:
    """values (3, D, H, W): intensity (air outside the body), body 0..1, view 0..1, on `grid` (canonical axes).

    codes (E, ...) on `codes_grid`: what guides the matching besides the image (E may be 0). `box`: the body's bounding
    box.
    """

    values: Tensor
    codes: Tensor
    grid: Grid
    box: Grid
    codes_grid: Grid
    body_not_found: bool  # the whole volume counts

    @property
    def hu(self) -> Tensor:
        """(D, H, W) intensity, air outside the body; of other modalities scaled to the range of HU."""
        return self.values[0]

    @property
    def body(self) -> Tensor:
        """(D, H, W) share of each voxel inside the body, 0..1."""
        return self.values[1]

    @property
    def view(self) -> Tensor:
        """(D, H, W) share of each voxel inside the view, 0..1."""
        return self.values[2]

    def warped(self, lattice: Grid, affine: Affine, displacement: Tensor | None = None) -> Scan:
        """The scan at affine(x + u(x)) for every node x of `lattice`; u (3, D, H, W) in mm along its array axes.

        Without its codes, of which few places need as many: see `codes_at`.
        """
        device = self.values.device
        along = _along(lattice, affine, self.grid, device) if displacement is None else None
        if along is None:
            values = self.values_at(_where(lattice, displacement, device), lattice, affine)
        else:
            d, h, w = (_within(at, n) for at, n in zip(along, self.grid.shape, strict=True))
            values = self._shown(interpolate(self.values, along), d[:, None, None] & h[:, None] & w)
        none = self.codes.new_zeros((0, *lattice.shape))
        return Scan(values, none, lattice, lattice, lattice, self.body_not_found)

    def codes_at(self, lattice: Grid, affine: Affine, displacement: Tensor | None = None) -> Tensor:
        """(E, *lattice.shape): likewise the codes, averaged where the lattice is coarser; 0 where there are none."""
        if not len(self.codes):
            return self.codes.new_zeros((0, *lattice.shape))
        codes, grid = _averaged(self.codes, self.codes_grid, float(lattice.spacing[0]))
        along = _along(lattice, affine, grid, codes.device) if displacement is None else None
        if along is not None:
            return interpolate(codes, along, zeros=True)
        return sample(codes, _index(_where(lattice, displacement, codes.device), lattice, affine, grid), zeros=True)

    def values_at(self, where: Tensor, lattice: Grid, affine: Affine) -> Tensor:
        """(3, ...) values at affine(x), for positions x (3, ...) in mm along D, H, W from the lattice's first node."""
        index = _index(where, lattice, affine, self.grid)
        d, h, w = (_within(at, n) for at, n in zip(index, self.grid.shape, strict=True))
        return self._shown(sample(self.values, index), d & h & w)

    def _shown(self, values: Tensor, inside: Tensor) -> Tensor:
        """Sampled values with air, and neither body nor view, outside the scan."""

        intensity = torch.where(inside, values[0], self.values[0].amin())
        return torch.stack([intensity, values[1] * inside, values[2] * inside])


def _within(index: Tensor, size: int) -> Tensor:
    """Whether voxel indices lie within an axis of so many voxels, up to the voxels' edges."""
    return (index >= -0.5) & (index <= size - 0.5)


def _where(lattice: Grid, displacement: Tensor | None, device: torch.device) -> Tensor:
    where = mesh(lattice, device)
    return where if displacement is None else where + displacement


def _index(where: Tensor, lattice: Grid, affine: Affine, grid: Grid) -> Tensor:
    """(3, ...) voxel indices of `grid`, in the order D, H, W, of affine(x); where: see `Scan.values_at`."""

    turn, start = _to_index(lattice, affine, grid)
    index = torch.einsum("ij,j...->i...", to_tensor(turn, where.device), where)
    return index + to_tensor(start, where.device).view(3, *[1] * (where.dim() - 1))


def _along(lattice: Grid, affine: Affine, grid: Grid, device: torch.device) -> tuple[Tensor, ...] | None:
    """Voxel indices of `grid` along D, H, W of the nodes of `lattice`, if the map turns no axis into another."""
    turn, start = _to_index(lattice, affine, grid)
    straight = np.diag(turn)
    if (np.abs(turn - np.diag(straight)) @ lattice.extent[::-1]).max() > STRAIGHT:
        return None
    steps = straight * lattice.spacing[::-1]
    return tuple(
        to_tensor(first + step * np.arange(n), device)
        for first, step, n in zip(start, steps, lattice.shape, strict=True)
    )


def _to_index(lattice: Grid, affine: Affine, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) and (3,): from mm along D, H, W of `lattice`, from its first node, to voxel indices of `grid`."""
    to_index = np.linalg.inv(grid.axes)
    turn = (to_index @ affine.matrix @ lattice.direction[:, ::-1])[::-1]
    return turn, (to_index @ (affine.points(lattice.origin) - grid.origin))[::-1]


def _averaged(x: Tensor, grid: Grid, spacing: float) -> tuple[Tensor, Grid]:
    """(E, D, H, W) averaged to about `spacing` mm, and its grid."""

    factors = np.maximum(np.round(spacing / grid.spacing).astype(int), 1)
    if (factors == 1).all():
        return x, grid
    missing = [p for n, f in zip(grid.size, factors, strict=True) for p in (0, int(-n % f))]
    x = block_means(functional.pad(x[None], missing, mode="replicate")[0], tuple(map(int, factors[::-1])))
    return x, Grid(x.shape[1:], grid.spacing * factors, grid.index_to_point((factors - 1) / 2), grid.direction)


def prepare(
    image: Image, spacing: float, device: torch.device, *, hu: bool = True, mask: Image | None = None,
    codes: Image | None = None, code_book: np.ndarray | None = None, tick: Callable[[], None] = lambda: None,
) -> Scan:  # fmt: skip
    """Coarsen a volume to about `spacing` mm and find the body and the view.

    Args:
        hu: Hounsfield units; otherwise the values are scaled by their own range.
        mask: where the scan may be trusted (any grid; nonzero counts as view).
        codes, code_book: a label map on any grid and a row (E) per label value 0..max, to guide the matching.
    """
    image = image.canonical()
    low, high = (AIR, 2000.0) if hu else tuple(np.percentile(image.array[::2, ::2, ::2], (0.5, 99.5)).astype(float))
    coarse = image.clip(low, high).coarsen(spacing)
    tick()
    values = coarse.array.astype(np.float32)
    if not hu:
        values = (values - low) / max(high - low, 1e-6) * 1000.0 - 1000.0
        coarse = Image(values, coarse.grid)
    view = view_mask(coarse).array
    if mask is not None:
        view = view & (
            Image((mask.array != 0).astype(np.uint8), mask.grid).resample(coarse.grid, labels=True).array > 0
        )
    tick()
    body = body_mask(coarse, BODY_THRESHOLD if hu else -900.0).array
    whole = body.mean() < SMALLEST_BODY
    if whole:
        body = np.ones_like(view)
    values = np.where(body, np.clip(values, *HU_RANGE), HU_RANGE[0])
    box = _bounding_box(coarse.grid, body & view if (body & view).any() else body)
    tick()
    guide = _encode(codes, code_book, coarse.grid)
    stack = np.stack([values, body.astype(np.float32), view.astype(np.float32)])
    return Scan(to_tensor(stack, device), to_tensor(guide, device), coarse.grid, box, coarse.grid, whole)


def _encode(labels: Image | None, code_book: np.ndarray | None, grid: Grid) -> np.ndarray:
    if labels is None or code_book is None:
        return np.zeros((0, *grid.shape), np.float32)
    near = labels.resample(grid, labels=True).array.astype(int)
    return np.moveaxis(code_book[np.clip(near, 0, len(code_book) - 1)], -1, 0).astype(np.float32)


def _bounding_box(grid: Grid, mask: np.ndarray) -> Grid:
    """The part of the grid that holds the mask, and BODY_MARGIN around it where the grid reaches."""
    margin = np.maximum(np.round(BODY_MARGIN / grid.spacing[::-1]), 1).astype(int)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    start = np.maximum([s.start for s in box] - margin, 0)
    stop = np.minimum([s.stop for s in box] + margin, grid.shape)
    return Grid(tuple(stop - start), grid.spacing, grid.index_to_point(start[::-1].astype(float)), grid.direction)
