"""Where the scans lie on each other: translations first, then scale and rotation, from coarse features.

Everything is compared only where both scans show something, normalised by what that overlap holds, so that the air
outside a view never counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..tensor.adam import Adam
from ..tensor.convert import to_array, to_tensor
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import HALF, sample
from ..tensor.pools import block_means
from ..tensor.scan import Scan

SPACING = 8.0  # mm, of the coarse features
PEAKS = 5
STARTS_PER_PEAK = 2
APART = 3  # cells between two peaks
SCALES = (0.88, 1.0, 1.13)
TILTS = (0.0, 0.16, -0.16)  # rad, about one axis at a time
OVERLAP_POWER = 0.2  # a larger overlap is better evidence
SEARCH_POWER = 0.5  # among all shifts more so: there are thousands of little overlap, and some correlate by chance
SAMPLES = 5000
ITERATIONS = 40
LEAST_OVERLAP = 300.0  # cells: about 0.15 litres
PRIOR = 0.5  # penalty on squared rotation (rad) and log scale


@dataclass(frozen=True)
class CoarseScan:
    """Features (C, D, H, W), the share of each cell within the view (D, H, W), and how much of it is body."""

    features: Tensor
    weight: Tensor
    body: Tensor
    grid: Grid


@dataclass(frozen=True)
class Candidate:
    """One place where the scans may lie, and the score reached there (correlation times overlap, at most 1)."""

    affine: Affine
    score: float
    overlap: float  # share of the smaller body that the other scan shows
    coarse_score: float = 0.0  # where `score` was replaced by a finer one, what it was


def coarsen(scan: Scan, axes: np.ndarray, describe: Callable[[Tensor], Tensor]) -> CoarseScan:
    """The scan on a lattice of SPACING along the given axes (columns in LPS), features averaged within the view."""
    fine = _cover(scan.grid, axes, SPACING / 2)
    view = scan.warped(fine, Affine.identity())
    weight = view.view
    features = block_means(describe(view.values) * weight, (2, 2, 2))
    body, weight = block_means(view.values[1:], (2, 2, 2))
    body = body * weight
    grid = Grid(weight.shape, fine.spacing * 2, fine.index_to_point(np.full(3, 0.5)), fine.direction)
    return CoarseScan(features / weight.clamp(min=0.05), weight, body, grid)


def _cover(grid: Grid, axes: np.ndarray, spacing: float) -> Grid:
    """A grid along `axes` that covers all of `grid`, with an even number of nodes per axis."""
    along = grid.corners() @ axes
    low, high = along.min(0), along.max(0)
    size = np.ceil((high - low) / spacing / 2).astype(int) * 2
    origin = axes @ ((low + high) / 2 - (size - 1) / 2 * spacing)
    return Grid(tuple(size[::-1]), np.full(3, spacing), origin, axes)


def align(
    fixed: CoarseScan, moving: CoarseScan, work: Work = ALONE, *, also: Sequence[np.ndarray] = ()
) -> list[Candidate]:
    """The places where the scans may lie on each other, best first; empty when no overlap holds enough.

    The best peaks of the correlation over all translations, each with its best starts among scales and rotations,
    refined by gradient ascent in nine parameters (translation, rotation, scale per axis).

    Args:
        also: shifts (LPS mm, fixed to moving) to start from besides the peaks.
    """

    shifts = [*best_translations(fixed, moving, work), *also]
    if not shifts:
        return []
    problem = AffineObjective.of(fixed, moving)
    theta = to_tensor(np.array([problem.parameters(shift) for shift in shifts]), fixed.weight.device)
    starts = (theta[:, None] + _variants(theta.device)[None]).flatten(0, 1)
    with torch.no_grad():
        scores = torch.cat([problem.score(part)[0] for part in _ticked(starts.split(16), work)])
    scores = scores.view(len(theta), -1)
    best = scores.argsort(1, descending=True)[:, :STARTS_PER_PEAK]
    picked = starts.view(len(theta), -1, 9).gather(1, best[..., None].expand(-1, -1, 9)).flatten(0, 1)
    theta = problem.climb(picked, work)
    with torch.no_grad():
        scores, overlaps = problem.score(theta)
    order = scores.argsort(descending=True).tolist()
    return [Candidate(problem.affine(theta[i]), float(scores[i]), float(overlaps[i])) for i in order]


def distinct(candidates: list[Candidate], box: Grid, apart: float) -> list[Candidate]:
    """The candidates, in order, that map the corners of `box` at least `apart` mm (mean) from all before them."""
    corners, kept = box.corners(), []
    for candidate in candidates:
        there = candidate.affine.points(corners)
        gaps = [np.linalg.norm(there - other.affine.points(corners), axis=-1).mean() for other in kept]
        if min(gaps, default=np.inf) > apart:
            kept.append(candidate)
    return kept


def judge_affine(fixed: CoarseScan, moving: CoarseScan, affine: Affine) -> Candidate:
    """A given map as a candidate: the score that it reaches."""

    problem = AffineObjective.of(fixed, moving)
    device, frame = fixed.weight.device, problem.frame
    matrix, shift = frame.T @ affine.matrix @ frame, frame.T @ (affine.points(problem.centre) - problem.home)
    with torch.no_grad():
        score, overlap = problem.compare(to_tensor(matrix[None], device), to_tensor(shift[None], device))
    return Candidate(affine, float(score), float(overlap))


def best_translations(fixed: CoarseScan, moving: CoarseScan, work: Work = ALONE) -> list[np.ndarray]:
    """The shifts (LPS mm, fixed to moving) at the PEAKS highest peaks of the masked normalised correlation.

    Times the share of the overlap to SEARCH_POWER; over all channels together, for every whole-cell shift (Padfield
    2012, doi:10.1109/TIP.2011.2181402).
    """

    shape = [_fast_size(f + m - 1) for f, m in zip(fixed.weight.shape, moving.weight.shape, strict=True)]

    def spectrum(x: Tensor) -> Tensor:
        return torch.fft.rfftn(x, s=shape)

    def correlate(a: Tensor, b: Tensor) -> Tensor:  # sum over x of a(x) b(x + shift)
        work.tick()
        return torch.fft.irfftn(a.conj() * b, s=shape)

    wf, wm = spectrum(fixed.weight), spectrum(moving.weight)
    overlap = correlate(wf, wm)
    safe = overlap.clamp(min=1.0)
    cross = torch.zeros_like(overlap)
    var_f = correlate(spectrum(fixed.features.square().sum(0) * fixed.weight), wm)
    var_m = correlate(wf, spectrum(moving.features.square().sum(0) * moving.weight))
    for f, m in zip(fixed.features, moving.features, strict=True):
        f_hat, m_hat = spectrum(f * fixed.weight), spectrum(m * moving.weight)
        sum_f, sum_m = correlate(f_hat, wm), correlate(wf, m_hat)
        cross += correlate(f_hat, m_hat) - sum_f * sum_m / safe
        var_f -= sum_f.square() / safe
        var_m -= sum_m.square() / safe
    scale = (var_f.clamp(min=0) * var_m.clamp(min=0)).sqrt()
    score = cross / scale.clamp(min=1e-4 * float(scale.max()) + 1e-6)
    full = min(float(fixed.weight.sum()), float(moving.weight.sum()))
    score = score * (overlap / full).clamp(0, 1) ** SEARCH_POWER
    score = score.masked_fill(overlap < min(LEAST_OVERLAP, 0.5 * full), -1.0)
    return [_shift(i, shape, fixed, moving) for i in _peaks(score)]


def _peaks(score: Tensor) -> list[np.ndarray]:
    """Indices of the highest values, at least APART cells from each other."""

    found = []
    for _ in range(PEAKS):
        at = [int(i) for i in np.unravel_index(int(score.argmax()), score.shape)]
        if float(score[tuple(at)]) <= 0:
            break
        found.append(np.array(at))
        reach = torch.arange(-APART, APART + 1, device=score.device)
        near = [(reach + i) % n for i, n in zip(at, score.shape, strict=True)]
        score[near[0][:, None, None], near[1][None, :, None], near[2][None, None, :]] = -1.0
    return found


def _shift(index: np.ndarray, shape: list[int], fixed: CoarseScan, moving: CoarseScan) -> np.ndarray:
    """Index of the circular correlation to the shift in LPS mm; indices beyond the moving size are negative shifts."""
    cells = np.where(index >= np.array(moving.weight.shape), index - np.array(shape), index)
    return fixed.grid.axes @ cells[::-1] + moving.grid.origin - fixed.grid.origin


def _fast_size(n: int) -> int:
    """The next size that a Fourier transform likes."""
    while True:
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 1


def _variants(device: object) -> Tensor:
    """(V, 9) starts: every scale with no tilt or one tilt about one axis."""
    tilts = {tuple(t if axis == a else 0.0 for a in range(3)) for axis, t in itertools.product(range(3), TILTS)}
    rows = [[0.0] * 3 + list(tilt) + [float(np.log(s))] * 3 for s, tilt in itertools.product(SCALES, sorted(tilts))]
    return to_tensor(np.array(rows), device)


def _ticked(parts: tuple[Tensor, ...], work: Work) -> Iterator[Tensor]:
    """The parts, one by one, with a tick before each."""
    for part in parts:
        work.tick()
        yield part


@dataclass(frozen=True)
class AffineObjective:
    """Scores maps of nine parameters: shift / 100 mm, rotation vector in rad, log scales.

    Along the lattices' own axes, from the middle of the fixed body to the middle of the moving lattice: where the scans
    lie in space then does not touch the arithmetic.
    """

    points: Tensor  # (P, 3) mm along the axes, from the centre
    features: Tensor  # (C, P) of the fixed scan
    weight: Tensor  # (P,)
    centre: np.ndarray  # LPS mm
    source: Tensor  # (C + 1, D, H, W): the moving features times weight, and the weight
    grid: Grid
    total: float  # weight of the smaller of the two bodies

    @property
    def frame(self) -> np.ndarray:
        """(3, 3) the axes that both lattices share, columns in LPS."""
        return self.grid.direction

    @property
    def home(self) -> np.ndarray:
        """LPS mm, the middle of the moving lattice."""
        return self.grid.centre

    def parameters(self, shift: np.ndarray) -> np.ndarray:
        """(9,) parameters of a translation in LPS mm."""
        return np.concatenate([self.frame.T @ (self.centre + shift - self.home) / 100.0, np.zeros(6)])

    @classmethod
    def of(cls, fixed: CoarseScan, moving: CoarseScan) -> AffineObjective:
        """About SAMPLES cells of the fixed body, evenly picked, against all of the moving scan."""

        keep = torch.nonzero((fixed.weight > HALF) & (fixed.body > 0.2))
        if not len(keep):
            keep = torch.nonzero(fixed.weight > 0)
        share = max(len(keep) / SAMPLES, 1.0)
        keep = keep[torch.linspace(0, len(keep) - 1, int(len(keep) / share), device=keep.device).round().long()]
        index = to_array(keep.flip(1)).astype(float)
        middle = index.mean(0)
        points, centre = (index - middle) * fixed.grid.spacing, fixed.grid.index_to_point(middle)
        at = tuple(keep.T)
        weight = fixed.weight[at]
        other = float(((moving.weight > HALF) & (moving.body > 0.2)).sum()) * (SPACING**3 / moving.grid.spacing.prod())
        source = torch.cat([moving.features * moving.weight, moving.weight[None]])
        return cls(
            to_tensor(points, weight.device), fixed.features[:, at[0], at[1], at[2]], weight, centre, source,
            moving.grid, max(min(float(weight.sum()), other / share), 1.0),
        )  # fmt: skip

    def matrices(self, theta: Tensor) -> Tensor:
        """(N, 3, 3): rotation times scale."""

        x, y, z = theta[:, 3:6].unbind(1)
        zero = torch.zeros_like(x)
        cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
        return torch.matrix_exp(cross) @ torch.diag_embed(theta[:, 6:].exp())

    def affine(self, theta: Tensor) -> Affine:
        """One row of parameters as a map of LPS mm."""
        matrix = self.frame @ to_array(self.matrices(theta[None])[0]).astype(float) @ self.frame.T
        shift = self.frame @ (100.0 * to_array(theta[:3]).astype(float))
        return Affine(matrix, self.home + shift - matrix @ self.centre)

    def score(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) scores of N rows of parameters, and the shares of overlap; see `compare`."""
        return self.compare(self.matrices(theta), 100.0 * theta[:, :3])

    def compare(self, matrices: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) correlation over the overlap times its share to OVERLAP_POWER, and that share.

        Args:
            matrices, shifts: (N, 3, 3) and (N, 3) mm: maps from the centre to the home, along the axes.
        """

        where = torch.einsum("nij,pj->npi", matrices, self.points) + shifts[:, None]
        middle = to_tensor((self.grid.size - 1) / 2, where.device)
        index = (where / float(self.grid.spacing[0]) + middle).permute(2, 0, 1)
        sampled = sample(self.source, index.flip(0), zeros=True)  # (C + 1, N, P)
        seen = sampled[-1]
        moving = sampled[:-1] / seen.clamp(min=0.05)
        w = self.weight * seen
        n = w.sum(-1).clamp(min=1.0)
        f = self.features[:, None] - ((self.features[:, None] * w).sum(-1) / n)[..., None]
        m = moving - ((moving * w).sum(-1) / n)[..., None]
        scale = ((w * f * f).sum((0, 2)) * (w * m * m).sum((0, 2))).clamp(min=1e-6).sqrt()
        share = (n / self.total).clamp(max=1.0)
        return (w * f * m).sum((0, 2)) / scale * share**OVERLAP_POWER, share

    def climb(self, theta: Tensor, work: Work) -> Tensor:
        """Adam on the score less PRIOR on rotation and scale."""
        theta = theta.clone().requires_grad_(True)
        adam = Adam(theta)
        for i in range(ITERATIONS):
            work.tick()
            loss = PRIOR * theta[:, 3:].square().sum() - self.score(theta)[0].sum()
            loss.backward()
            adam.step(0.02 * (1 - i / ITERATIONS) + 0.002)
        return theta.detach()
