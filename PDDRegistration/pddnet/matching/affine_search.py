"""Search for the affine map: translation, rotation and scale by gradient ascent on the correlation of coarse features.

The correlation is computed and normalised over the overlap of both views only, so that the air outside a view never
counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..tensor.adam import Adam
from ..tensor.convert import to_array, to_tensor
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import LEAST_SHARE_IN_VIEW, sample
from .coarse_scan import COARSE_SPACING_MM, CoarseScan
from .translation_search import best_translations

STARTS_PER_SHIFT = 2
SCALES = (0.88, 1.0, 1.13)
TILTS = (0.0, 0.16, -0.16)  # rad, about one axis at a time
STARTS_AT_ONCE = 16  # starts that are scored together
OVERLAP_POWER = 0.2  # a larger overlap is better evidence
SAMPLES = 5000  # cells of the fixed scan
ITERATIONS = 40
# Adam's learning rate, in the unit of the parameters, falls linearly from LAST_RATE + RATE_FALL to LAST_RATE.
RATE_FALL, LAST_RATE = 0.02, 0.002
PRIOR_WEIGHT = 0.5  # penalty on squared rotation (rad) and log scale
SHIFT_UNIT_MM = 100.0  # mm per unit of a shift's parameter, so that a unit counts like a radian of rotation


@dataclass(frozen=True)
class Candidate:
    """Affine map that the search found, with its score: correlation times overlap^OVERLAP_POWER, at most 1."""

    affine: Affine
    score: float
    overlap: float  # share of the smaller body that the other scan shows
    coarse_score: float = 0.0  # the score at COARSE_SPACING_MM, once `ranked` has averaged `score` with a finer one
    fine_score: float = 0.0  # the finer one


def align(
    fixed: CoarseScan, moving: CoarseScan, work: Work = ALONE, *, extra_shifts: Sequence[np.ndarray] = ()
) -> list[Candidate]:
    """Find candidate affine maps, best first; none when no overlap is large enough.

    The starts are the best peaks of the correlation over all translations, each with the scales and rotations that
    score best there. Gradient ascent refines them in nine parameters (translation, rotation, scale per axis).

    Args:
        extra_shifts: (3,) LPS mm each, fixed to moving: translations to start from besides the peaks.
    """
    shifts = [*best_translations(fixed, moving, work), *extra_shifts]
    if not shifts:
        return []
    objective = AffineObjective.of(fixed, moving)
    theta = objective.climb(_best_starts(objective, shifts, work), work)
    with torch.no_grad():
        scores, overlaps = objective.score(theta)
    order = scores.argsort(descending=True).tolist()
    return [Candidate(objective.affine(theta[i]), float(scores[i]), float(overlaps[i])) for i in order]


def _best_starts(objective: AffineObjective, shifts: Sequence[np.ndarray], work: Work) -> Tensor:
    """Return (len(shifts) * STARTS_PER_SHIFT, 9) parameters: the best-scoring scales and rotations for every shift."""
    device = objective.weight.device
    translations = to_tensor(np.array([objective.parameters(shift) for shift in shifts]), device)
    starts = (translations[:, None] + _scales_and_tilts(device)[None]).flatten(0, 1)
    with torch.no_grad():
        scores = torch.cat([objective.score(part)[0] for part in _ticked(starts.split(STARTS_AT_ONCE), work)])
    best = scores.view(len(shifts), -1).argsort(1, descending=True)[:, :STARTS_PER_SHIFT]
    return starts.view(len(shifts), -1, 9).gather(1, best[..., None].expand(-1, -1, 9)).flatten(0, 1)


def _scales_and_tilts(device: torch.device) -> Tensor:
    """Return (V, 9) parameters to start from: every scale, without a tilt or with one tilt about one axis."""
    tilts = {tuple(t if axis == a else 0.0 for a in range(3)) for axis, t in itertools.product(range(3), TILTS)}
    rows = [[0.0] * 3 + list(tilt) + [float(np.log(s))] * 3 for s, tilt in itertools.product(SCALES, sorted(tilts))]
    return to_tensor(np.array(rows), device)


def _ticked(parts: tuple[Tensor, ...], work: Work) -> Iterator[Tensor]:
    """Yield the parts one by one, with a tick before each."""
    for part in parts:
        work.tick()
        yield part


def distinct(candidates: list[Candidate], box: Grid, apart: float) -> list[Candidate]:
    """Keep the candidates, in order, that map the corners of `box` more than `apart` mm (mean) from all kept before."""
    corners = box.corners()
    kept: list[Candidate] = []
    for candidate in candidates:
        moved = candidate.affine.points(corners)
        gaps = [np.linalg.norm(moved - other.affine.points(corners), axis=-1).mean() for other in kept]
        if min(gaps, default=np.inf) > apart:
            kept.append(candidate)
    return kept


def score_affine(fixed: CoarseScan, moving: CoarseScan, affine: Affine) -> Candidate:
    """Score a given affine map (fixed to moving points, LPS mm) by the correlation of the coarse scans."""
    objective = AffineObjective.of(fixed, moving)
    device, frame = fixed.weight.device, objective.frame
    matrix = frame.T @ affine.matrix @ frame
    shift = frame.T @ (affine.points(objective.fixed_centre) - objective.moving_centre)
    with torch.no_grad():
        score, overlap = objective.compare(to_tensor(matrix[None], device), to_tensor(shift[None], device))
    return Candidate(affine, float(score), float(overlap))


@dataclass(frozen=True)
class AffineObjective:
    """Objective of the affine search: score of maps of nine parameters (shift / 100 mm, rotation vector, log scales).

    Rotations are in rad. Vectors are along the axes of the lattices, relative to the middle of the fixed body and of
    the moving lattice: so rounding does not depend on where the scans lie in space.
    """

    points: Tensor  # (P, 3) mm along the axes, from the centre
    features: Tensor  # (C, P) of the fixed scan
    weight: Tensor  # (P,)
    fixed_centre: np.ndarray  # (3,) LPS mm, the middle of the fixed body
    source: Tensor  # (C + 1, D, H, W): the moving features times weight, and the weight
    grid: Grid  # of the moving scan
    total: float  # weight of the smaller of the two bodies

    @property
    def frame(self) -> np.ndarray:
        """Return the axes that both lattices share: (3, 3), columns in LPS."""
        return self.grid.direction

    @property
    def moving_centre(self) -> np.ndarray:
        """Return the middle of the moving lattice: (3,) LPS mm."""
        return self.grid.centre

    def parameters(self, shift: np.ndarray) -> np.ndarray:
        """Return the (9,) parameters of a translation in LPS mm."""
        along = self.frame.T @ (self.fixed_centre + shift - self.moving_centre)
        return np.concatenate([along / SHIFT_UNIT_MM, np.zeros(6)])

    @classmethod
    def of(cls, fixed: CoarseScan, moving: CoarseScan) -> AffineObjective:
        """Set up the objective: about SAMPLES evenly picked cells of the fixed body, and the whole moving scan."""
        cells = torch.nonzero(fixed.in_body)
        if not len(cells):
            cells = torch.nonzero(fixed.weight > 0)
        cells_per_sample = max(len(cells) / SAMPLES, 1.0)
        picked = torch.linspace(0, len(cells) - 1, int(len(cells) / cells_per_sample), device=cells.device)
        cells = cells[picked.round().long()]
        index = to_array(cells.flip(1)).astype(float)
        middle = index.mean(0)
        d, h, w = cells.T
        weight = fixed.weight[d, h, w]
        moving_cells = float(moving.in_body.sum()) * (COARSE_SPACING_MM**3 / moving.grid.spacing.prod())
        return cls(
            points=to_tensor((index - middle) * fixed.grid.spacing, weight.device),
            features=fixed.features[:, d, h, w],
            weight=weight,
            fixed_centre=fixed.grid.index_to_point(middle),
            source=torch.cat([moving.features * moving.weight, moving.weight[None]]),
            grid=moving.grid,
            total=max(min(float(weight.sum()), moving_cells / cells_per_sample), 1.0),
        )

    def matrices(self, theta: Tensor) -> Tensor:
        """Convert parameters (N, 9) to matrices (N, 3, 3): rotation times scale."""
        x, y, z = theta[:, 3:6].unbind(1)
        zero = torch.zeros_like(x)
        cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
        return torch.matrix_exp(cross) @ torch.diag_embed(theta[:, 6:].exp())

    def affine(self, theta: Tensor) -> Affine:
        """Convert one row of parameters (9,) to an affine map of fixed to moving points, LPS mm."""
        matrix = self.frame @ to_array(self.matrices(theta[None])[0]).astype(float) @ self.frame.T
        shift = self.frame @ (SHIFT_UNIT_MM * to_array(theta[:3]).astype(float))
        return Affine(matrix, self.moving_centre + shift - matrix @ self.fixed_centre)

    def score(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Score parameters (N, 9): return the scores (N,) and the shares of overlap (N,), see `compare`."""
        return self.compare(self.matrices(theta), SHIFT_UNIT_MM * theta[:, :3])

    def compare(self, matrices: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """Correlate the features under N maps: return (N,) scores and (N,) shares of overlap.

        The score is the correlation over the overlap times share^OVERLAP_POWER; the share is that of the smaller body.

        Args:
            matrices, shifts: (N, 3, 3) and (N, 3) mm: maps from the fixed to the moving centre, along the axes.
        """
        moved = torch.einsum("nij,pj->npi", matrices, self.points) + shifts[:, None]
        middle = to_tensor((self.grid.size - 1) / 2, moved.device)
        index = (moved / float(self.grid.spacing[0]) + middle).permute(2, 0, 1)
        sampled = sample(self.source, index.flip(0), zeros=True)  # (C + 1, N, P)
        in_view = sampled[-1]
        moving = sampled[:-1] / in_view.clamp(min=LEAST_SHARE_IN_VIEW)
        weight = self.weight * in_view
        overlap = weight.sum(-1).clamp(min=1.0)
        f = self.features[:, None] - ((self.features[:, None] * weight).sum(-1) / overlap)[..., None]
        m = moving - ((moving * weight).sum(-1) / overlap)[..., None]
        scale = ((weight * f * f).sum((0, 2)) * (weight * m * m).sum((0, 2))).clamp(min=1e-6).sqrt()
        share = (overlap / self.total).clamp(max=1.0)
        return (weight * f * m).sum((0, 2)) / scale * share**OVERLAP_POWER, share

    def climb(self, theta: Tensor, work: Work) -> Tensor:
        """Maximise the score, less PRIOR_WEIGHT * (rotation^2 + log scale^2), by Adam; parameters (N, 9) in and out."""
        theta = theta.clone().requires_grad_(True)
        adam = Adam(theta)
        for i in range(ITERATIONS):
            work.tick()
            loss = PRIOR_WEIGHT * theta[:, 3:].square().sum() - self.score(theta)[0].sum()
            loss.backward()
            adam.step(RATE_FALL * (1 - i / ITERATIONS) + LAST_RATE)
        return theta.detach()
