"""Measure, at every voxel of a result, what tells how far it may be off: the inputs of `expected_error.py`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..features.local_contrast import CONTRAST_RANGE_HU
from ..tensor.execution import ALONE, Work
from ..tensor.folding import determinant
from ..tensor.lattice import LEAST_SHARE_IN_VIEW, along_axes, averages, resample
from ..tensor.scan import Scan
from .feature_types import ScanPair
from .stage import StageResult

NAMES = (
    "log_spread", "log_inconsistency", "log_update", "mismatch", "wide_mismatch", "shifted_fits_better",
    "peak_offset", "log_sharpness", "log_strain", "log_displacement", "intensity",
    "log_contrast", "contrast_ratio", "intensity_difference", "outside_fixed_view", "outside_moving_view",
    "near_skin", "log_volume_change", "codes_disagree", "wide_codes_disagree",
)  # fmt: skip
"""Names of the features of one voxel, in order."""

NEAR_MM, WIDE_MM = 10.0, 24.0  # half-widths of the windows
SHIFT_MM = 6.0  # by which the moving scan is moved, to see whether it fits better there
NOISE_HU = 10.0  # weaker contrast counts as noise
FLOOR_MM = 0.3  # shorter lengths count as equal
LEAST_DETERMINANT = 0.1
LEAST_STRAIN = 0.01
LEAST_CURVATURE = 0.02
CODES_SPACING_MM = 8.0  # enough, because structures are large


def error_features(
    fixed: Scan, moving: Scan, scans: ScanPair, affine: Affine, field: Tensor, steps: Sequence[StageResult],
    work: Work = ALONE,
) -> Tensor:  # fmt: skip
    """Measure the features NAMES at every node of the field's lattice: (F, D, H, W); NaN where one was not measured.

    Args:
        fixed, moving: the fixed scan on the field's lattice, and the moving one warped to it.
        scans: both scans, with the features that they carry.
        affine, field: x -> affine(x + u(x)), fixed to moving points (LPS mm); u (3, D, H, W), mm along the array axes.
        steps: the results of the stages of discrete matching.
    """
    lattice = fixed.grid
    windows = _Windows(fixed, moving, NEAR_MM)
    wide = _Windows(fixed, moving, WIDE_MM)
    work.tick()
    near_correlation = windows.correlation()
    below, above = (torch.stack([windows.correlation(axis, way) for axis in range(3)]) for way in (-1, 1))
    offset, sharpness = _peak(below, near_correlation, above)
    work.tick()
    codes = _codes_disagree(scans, affine, field, lattice)
    volume = determinant(field, lattice).clamp(min=LEAST_DETERMINANT).log().abs()
    features = [
        *_lengths(steps, fixed),
        1 - near_correlation,
        1 - wide.correlation(),
        torch.maximum(below, above).amax(0) - near_correlation,
        offset,
        sharpness,
        (_strain(field, lattice) + LEAST_STRAIN).log(),
        (field.norm(dim=0) + FLOOR_MM).log(),
        windows.intensity,
        windows.log_contrast,
        windows.contrast_ratio,
        windows.intensity_difference,
        1 - wide.mean(fixed.view),
        1 - wide.mean(moving.view),
        1 - wide.mean(fixed.body),
        volume,
        codes,
        wide.mean(codes),
    ]
    work.tick()
    return torch.stack(features)


class _Windows:
    """Statistics of both scans in the window around every node, where both show the patient."""

    def __init__(self, fixed: Scan, moving: Scan, reach_mm: float) -> None:
        grid = fixed.grid
        reaches = [max(round(reach_mm / float(mm)), 1) for mm in grid.spacing[::-1]]
        self._shifts = [max(round(SHIFT_MM / float(mm)), 1) for mm in grid.spacing[::-1]]
        self._matrices = [averages(n, reach, fixed.values) for n, reach in zip(grid.shape, reaches, strict=True)]
        self._weight = fixed.view * moving.view
        self._f, self._m = (each.hu.clamp(*CONTRAST_RANGE_HU) for each in (fixed, moving))
        w, f, m = self._weight, self._f, self._m
        share, *sums = along_axes(torch.stack([w, w * f, w * m, w * f * f, w * m * m]), self._matrices)
        self._share = share.clamp(min=LEAST_SHARE_IN_VIEW)
        self._mean_f, self._mean_m, ff, mm = (each / self._share for each in sums)
        self._variance_f = (ff - self._mean_f.square()).clamp(min=0) + NOISE_HU**2
        self._variance_m = (mm - self._mean_m.square()).clamp(min=0) + NOISE_HU**2

    def mean(self, x: Tensor) -> Tensor:
        """Average x (D, H, W) over the whole windows."""
        return along_axes(x[None], self._matrices)[0]

    def correlation(self, axis: int = 0, way: int = 0) -> Tensor:
        """Correlate the fixed scan with the moving one, shifted along an axis one way: (D, H, W), -1..1."""
        m, mean_m, variance_m = (
            torch.roll(x, way * self._shifts[axis], axis) for x in (self._m, self._mean_m, self._variance_m)
        )
        product = self.mean(self._weight * self._f * m) / self._share
        return ((product - self._mean_f * mean_m) / (self._variance_f * variance_m).sqrt()).clamp(-1, 1)

    @property
    def intensity(self) -> Tensor:
        """Return the fixed scan's mean, in units of 1000 HU."""
        return self._mean_f / 1000

    @property
    def log_contrast(self) -> Tensor:
        """Return the logarithm of the fixed scan's standard deviation, HU."""
        return 0.5 * self._variance_f.log()

    @property
    def contrast_ratio(self) -> Tensor:
        """Return by how much the contrasts differ, as the absolute logarithm of their ratio."""
        return 0.5 * (self._variance_f.log() - self._variance_m.log()).abs()

    @property
    def intensity_difference(self) -> Tensor:
        """Return how much the means differ, in units of the contrast of both."""
        contrast = (self._variance_f + self._variance_m).sqrt()
        return ((self._mean_f - self._mean_m).abs() / contrast).clamp(max=4)


def _peak(below: Tensor, here: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """Fit parabolas through the correlations (3, D, H, W) at three shifts along each axis.

    Returns:
        how far the peak is from no shift, in units of the shift; and the logarithm of the least curvature.
    """
    curvature = (2 * here - below - above).clamp(min=LEAST_CURVATURE)
    offset = ((above - below) / (2 * curvature)).clamp(-1, 1)
    return offset.norm(dim=0), curvature.amin(0).log()


def _strain(field: Tensor, lattice: Grid) -> Tensor:
    """Return the norm (D, H, W) of the derivatives of u."""
    spacing = [float(mm) for mm in lattice.spacing[::-1]]
    return torch.stack([x for u in field for x in torch.gradient(u, spacing=spacing)]).norm(dim=0)


def _lengths(steps: Sequence[StageResult], fixed: Scan) -> list[Tensor]:
    """Return logarithms of the last stage's uncertainty, of the last inconsistency measured, of the last update."""
    none = torch.full(fixed.grid.shape, torch.nan, device=fixed.values.device)

    def on_lattice(x: Tensor, control: Grid) -> Tensor:
        return (resample(x[None], control, fixed.grid)[0] + FLOOR_MM).log()

    both_ways = [(step.inconsistency, step.control) for step in steps if step.inconsistency is not None]
    last = steps[-1] if steps else None
    return [
        on_lattice(last.uncertainty, last.control) if last else none,
        on_lattice(*both_ways[-1]) if both_ways else none,
        on_lattice(last.field.norm(dim=0), last.control) if last else none,
    ]


def _codes_disagree(scans: ScanPair, affine: Affine, field: Tensor, lattice: Grid) -> Tensor:
    """Return how much the codes that both scans carry disagree, 0..2, less where they are weak; NaN without any."""
    if not len(scans[0].features):
        return torch.full(lattice.shape, torch.nan, device=field.device)
    coarse = lattice.isotropic(CODES_SPACING_MM)
    f = scans[0].features_at(coarse, Affine.identity())
    m = scans[1].features_at(coarse, affine, resample(field, lattice, coarse))
    scale = (f.square().sum(0) * m.square().sum(0)).sqrt()
    largest = scale.amax().clamp(min=1e-6)
    disagree = (scale - (f * m).sum(0)) / largest
    return resample(disagree[None], coarse, lattice)[0]
