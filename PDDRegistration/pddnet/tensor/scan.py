"""Prepare a volume for matching: intensities, body and view on its own coarsened grid, warped on demand (`Scan`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.hounsfield import BODY_THRESHOLD_HU, FEATURE_RANGE_HU, HIGHEST_HU, PADDING_HU
from ..core.image import Image
from ..core.masks import body_mask, view_mask
from ..core.structures import StructureMap
from .convert import to_tensor
from .lattice import HALF, along_axes, averages, interpolate, mesh, resample, sample, spatial_shape
from .pools import block_means, dilated

MEASURED_HU_RANGE = (PADDING_HU, HIGHEST_HU)  # clipped to it before voxels are averaged: metal would dominate the mean
OTHER_BODY_THRESHOLD = -900.0  # of intensities that are scaled to -1000..0: the darkest tenth is air
OTHER_PERCENTILES = (0.5, 99.5)  # of intensities that are not HU; these two become the ends of their range
STRAIGHT = 1e-3  # voxels: the largest shift off an axis, by rotation or shear, that sampling along the axes ignores
BODY_MARGIN_MM = 12.0  # of air around the body that is still informative: it shows the skin
LEAST_SHARE_AROUND = 1e-4  # of a neighbourhood in view; one voxel of 9^3 is more
SMALLEST_BODY = 0.005  # share of the volume with its air; with less, everything counts as body


@dataclass(frozen=True)
class Scan:
    """Volume prepared for matching: intensity, body and view on `grid`, and carried features on `features_grid`.

    Grids have the canonical axes of the volume, nearly +x, +y, +z in LPS.
    """

    values: Tensor  # (3, D, H, W): hu, body, view
    features: Tensor  # (E, D', H', W') carried channels, compared besides the image; E may be 0
    grid: Grid
    box: Grid  # the body's bounding box, with voxels of `grid`
    features_grid: Grid
    body_not_found: bool  # the whole volume counts as body
    named: StructureMap | None = None  # what the network sees; reported after the run, never compared
    in_hu: bool = True  # whether it is a CT; otherwise its intensities are scaled to -1000..0

    @property
    def hu(self) -> Tensor:
        """Return the intensity (D, H, W) in HU, air outside the body; other modalities are scaled to -1000..0."""
        return self.values[0]

    @property
    def body(self) -> Tensor:
        """Return the share of each voxel inside the body, (D, H, W), 0..1."""
        return self.values[1]

    @property
    def view(self) -> Tensor:
        """Return the share of each voxel inside the view, (D, H, W), 0..1."""
        return self.values[2]

    def warped(self, lattice: Grid, affine: Affine, displacement: Tensor | None = None) -> Scan:
        """Warp the scan: sample it at affine(x + u(x)) for every node x of `lattice`; u (3, D, H, W) mm along the axes.

        The result carries no features: few callers need them, each on another lattice, see `features_at`.
        """
        device = self.values.device
        axes = _straight_positions(lattice, affine, self.grid, device) if displacement is None else None
        if axes is None:
            values = self.values_at(_displaced_nodes(lattice, displacement, device), lattice, affine)
        else:
            d, h, w = (_within(index, n) for index, n in zip(axes, self.grid.shape, strict=True))
            values = self._in_view(interpolate(self.values, axes), d[:, None, None] & h[:, None] & w)
        none = self.features.new_zeros((0, *lattice.shape))
        return Scan(values, none, lattice, lattice, lattice, self.body_not_found)

    def features_at(self, lattice: Grid, affine: Affine, displacement: Tensor | None = None) -> Tensor:
        """Warp the features likewise: (E, *lattice.shape), averaged if the lattice is coarser; 0 outside their grid."""
        if not len(self.features):
            return self.features.new_zeros((0, *lattice.shape))
        features, grid = _averaged(self.features, self.features_grid, float(lattice.spacing[0]))
        device = features.device
        axes = _straight_positions(lattice, affine, grid, device) if displacement is None else None
        if axes is not None:
            return interpolate(features, axes, zeros=True)
        index = _index(_displaced_nodes(lattice, displacement, device), lattice, affine, grid)
        return sample(features, index, zeros=True)

    def values_at(self, points: Tensor, lattice: Grid, affine: Affine) -> Tensor:
        """Sample the values (3, ...) at affine(x), x (3, ...) in mm along D, H, W from the lattice's first node."""
        index = _index(points, lattice, affine, self.grid)
        d, h, w = (_within(axis, n) for axis, n in zip(index, self.grid.shape, strict=True))
        return self._in_view(sample(self.values, index), d & h & w)

    def near_body(self, target: Grid) -> Tensor:
        """Dilate the body on `target`, a lattice with the same axes: (D, H, W), 1 up to about a voxel around it."""
        return dilated(resample(self.values[1:2], self.grid, target)[0])

    def extended(self, reach: int) -> Scan:
        """Fill `reach` voxels beyond the view with the mean of the voxels in view around them.

        Features of a neighbourhood would otherwise see air where the view ends, elsewhere in each of two scans.
        """
        in_view = self.view > HALF
        if bool(in_view.all()):
            return self
        kept = in_view.to(self.view.dtype)
        sums = along_axes(torch.stack([self.hu * kept, kept]), [averages(n, reach, kept) for n in kept.shape])
        near = ~in_view & (sums[1] > LEAST_SHARE_AROUND)
        hu = torch.where(near, sums[0] / sums[1].clamp(min=LEAST_SHARE_AROUND), self.hu)
        return dataclasses.replace(self, values=torch.stack([hu, self.body, self.view]))

    def _in_view(self, values: Tensor, inside: Tensor) -> Tensor:
        """Set sampled values (3, ...) to air, outside body and view, where `inside` is False."""
        intensity = torch.where(inside, values[0], self.values[0].amin())
        return torch.stack([intensity, values[1] * inside, values[2] * inside])


def _within(index: Tensor, size: int) -> Tensor:
    """Test whether indices lie within an axis of `size` voxels, up to the outer voxel edges."""
    return (index >= -0.5) & (index <= size - 0.5)


def _displaced_nodes(lattice: Grid, displacement: Tensor | None, device: torch.device) -> Tensor:
    """Return x + u(x), (3, D, H, W), in mm along D, H, W from the lattice's first node."""
    nodes = mesh(lattice, device)
    return nodes if displacement is None else nodes + displacement


def _index(points: Tensor, lattice: Grid, affine: Affine, grid: Grid) -> Tensor:
    """Return the indices (3, ...) of affine(x) in `grid`, in the order D, H, W; points x: see `Scan.values_at`."""
    matrix, start = _to_index(lattice, affine, grid)
    index = torch.einsum("ij,j...->i...", to_tensor(matrix, points.device), points)
    return index + to_tensor(start, points.device).view(3, *[1] * (points.dim() - 1))


def _straight_positions(
    lattice: Grid, affine: Affine, grid: Grid, device: torch.device
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return the nodes of `lattice` in indices of `grid`, (D), (H), (W); None if the map rotates or shears the axes."""
    matrix, start = _to_index(lattice, affine, grid)
    scale = np.diag(matrix)
    if (np.abs(matrix - np.diag(scale)) @ lattice.extent[::-1]).max() > STRAIGHT:
        return None
    steps = scale * lattice.spacing[::-1]
    d, h, w = (
        to_tensor(first + step * np.arange(n), device)
        for first, step, n in zip(start, steps, lattice.shape, strict=True)
    )
    return d, h, w


def _to_index(lattice: Grid, affine: Affine, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix (3, 3), shift (3,) from mm along D, H, W from the first node of `lattice` to `grid` indices."""
    to_index = np.linalg.inv(grid.axes)
    matrix = (to_index @ affine.matrix @ lattice.direction[:, ::-1])[::-1]
    return matrix, (to_index @ (affine.points(lattice.origin) - grid.origin))[::-1]


def _averaged(x: Tensor, grid: Grid, spacing: float) -> tuple[Tensor, Grid]:
    """Average (E, D, H, W) to about `spacing` mm; return the result and its grid."""
    factors = np.maximum(np.round(spacing / grid.spacing).astype(int), 1)
    if (factors == 1).all():
        return x, grid
    missing = [p for n, f in zip(grid.size, factors, strict=True) for p in (0, int(-n % f))]
    padded = functional.pad(x[None], missing, mode="replicate")[0]
    means = block_means(padded, tuple(map(int, factors[::-1])))
    first = grid.index_to_point((factors - 1) / 2)
    return means, Grid(spatial_shape(means), grid.spacing * factors, first, grid.direction)


def prepare(
    image: Image, spacing: float, device: torch.device, *, hu: bool = True, mask: Image | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Scan:  # fmt: skip
    """Coarsen a volume to about `spacing` mm, and find its body and view. The scan carries no features yet.

    Args:
        hu: whether the volume is in Hounsfield units; otherwise its values are scaled by their own range.
        mask: restricts the view to where the scan may be trusted (nonzero), on any grid.
        tick: called between the steps, see `Work`.
    """
    image = image.canonical()
    coarse = _measured(image, spacing) if hu else _scaled(image, spacing)
    tick()
    view = _view(coarse, mask)
    tick()
    body = body_mask(coarse, BODY_THRESHOLD_HU if hu else OTHER_BODY_THRESHOLD, hu=hu).array
    body_not_found = bool(body.mean() < SMALLEST_BODY)
    if body_not_found:
        body = np.ones_like(view)
    values = np.where(body, np.clip(coarse.array, *FEATURE_RANGE_HU), FEATURE_RANGE_HU[0])
    shown = body & view
    box = _bounding_box(coarse.grid, shown if shown.any() else body)
    tick()
    stack = to_tensor(np.stack([values, body.astype(np.float32), view.astype(np.float32)]), device)
    none = stack.new_zeros((0, *coarse.grid.shape))
    return Scan(stack, none, coarse.grid, box, coarse.grid, body_not_found, in_hu=hu)


def prepare_finer(image: Image, spacing: float, scan: Scan) -> Scan:
    """Coarsen a volume to a smaller spacing (mm) than that of `scan`, whose body and view hold; no carried features."""
    image = image.canonical()
    fine = _measured(image, spacing) if scan.in_hu else _scaled(image, spacing)
    body, view = resample(scan.values[1:], scan.grid, fine.grid)
    values = to_tensor(fine.array, body.device).clamp(*FEATURE_RANGE_HU)
    values = torch.where(dilated(body) > HALF, values, values.new_tensor(FEATURE_RANGE_HU[0]))
    none = scan.features.new_zeros((0, *fine.grid.shape))
    return dataclasses.replace(
        scan, values=torch.stack([values, body, view]), features=none, grid=fine.grid, features_grid=fine.grid
    )


def _measured(image: Image, spacing: float) -> Image:
    """Clip a volume in HU and average it to about `spacing` mm; float32."""
    coarse = image.clip(*MEASURED_HU_RANGE).coarsen(spacing)
    return Image(coarse.array.astype(np.float32), coarse.grid)


def _scaled(image: Image, spacing: float) -> Image:
    """Clip a volume in any unit, average it to about `spacing` mm and scale it to -1000..0."""
    low, high = np.percentile(image.array[::2, ::2, ::2], OTHER_PERCENTILES).astype(float)
    coarse = image.clip(low, high).coarsen(spacing)
    values = coarse.array.astype(np.float32)
    return Image((values - low) / max(high - low, 1e-6) * 1000.0 - 1000.0, coarse.grid)


def _view(coarse: Image, mask: Image | None) -> np.ndarray:
    """Return the view (D, H, W) bool: what the scanner measured, where the mask trusts it."""
    view = view_mask(coarse).array
    return view if mask is None else view & inside(mask, coarse.grid)


def inside(mask: Image, grid: Grid) -> np.ndarray:
    """Return where on `grid` a mask is nonzero: (D, H, W) bool; of one between its nodes, the nearest ones count."""
    painted = mask.array != 0
    found = Image(painted.astype(np.uint8), mask.grid).resample(grid, labels=True).array > 0
    if not found.any() and painted.any():
        index = np.rint(grid.point_to_index(mask.grid.points()[painted])).astype(int)
        i, j, k = index[((index >= 0) & (index < grid.size)).all(axis=1)].T
        found[k, j, i] = True
    return found


def _bounding_box(grid: Grid, mask: np.ndarray) -> Grid:
    """Crop the grid to the mask's bounding box, with BODY_MARGIN_MM around it as far as the grid reaches."""
    margin = np.maximum(np.round(BODY_MARGIN_MM / grid.spacing[::-1]), 1).astype(int)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    start = np.maximum([s.start for s in box] - margin, 0)
    stop = np.minimum([s.stop for s in box] + margin, grid.shape)
    return Grid(tuple(stop - start), grid.spacing, grid.index_to_point(start[::-1].astype(float)), grid.direction)
