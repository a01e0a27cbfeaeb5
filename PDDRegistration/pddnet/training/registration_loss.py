"""Compute the losses of pdd-net: the non-local label loss and the diffusion penalty (Heinrich 2019, section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..core.grid import Grid
from ..matching.inference import DisplacementDistribution
from ..tensor.convert import to_tensor
from ..tensor.lattice import interpolate, positions, sample

BACKGROUND_WEIGHT = 0.15  # of label 0, as published
MOST_VALUES = 1 << 25  # sampled at one time, which bounds the memory
LEAST_IN_VIEW = 1e-3  # share in view, below which nothing is known


@dataclass(frozen=True)
class LabelMap:
    """Labels (D, H, W; whole numbers from 0) on a lattice, and the weight of each voxel (D, H, W; 0 out of view)."""

    labels: Tensor
    weight: Tensor
    lattice: Grid


def class_weights(fixed: LabelMap, moving: LabelMap, classes: int) -> Tensor:
    """Compute class weights (classes): sqrt(1 / frequency) over its mean, and BACKGROUND_WEIGHT for label 0.

    Small structures count more. Frequencies are those in both views together. A structure that one of them lacks has
    nothing to match: its weight is 0, and the mean excludes it.
    """

    counts = torch.stack([_frequencies(labels, classes) for labels in (fixed, moving)])
    common = counts.amin(0) > 0
    weights = torch.where(common, counts.sum(0).clamp(min=1e-6).rsqrt(), 0.0)
    weights = weights * (common.sum() / weights.sum().clamp(min=1e-12))
    weights[0] = BACKGROUND_WEIGHT
    return weights


def label_loss(
    distribution: DisplacementDistribution, fixed: LabelMap, moving: LabelMap, control: Grid, weights: Tensor
) -> Tensor:
    """Compute the non-local label loss: the mean over classes c and control points k of

        weights[c] * (sum_d p_k(d) onehot_c(moving)(k + d) - onehot_c(fixed)(k))^2

    with one-hot maps sampled trilinearly. Only the overlap of the views counts: the sum runs over displacements into
    the moving view and is divided by their probability; a control point is weighted by its share in the fixed view
    times that probability, which is no way to lower the loss.

    Args:
        fixed, moving: on lattices along the axes of `control`; they show nothing beyond their edges.
        weights: (C), those of the labels 0..C-1; classes of weight 0 are excluded.

    Returns:
        (): the loss, 0 where the views do not overlap.
    """

    cost = distribution.cost
    n_h, n_w, *steps, n_d = cost.shape
    slabs = torch.softmax(-cost.flatten(2, 4), 2).view(cost.shape).unbind(2)  # LD times (nH, nW, LH, LW, nD)
    fixed_maps, moving_maps = _OneHotMaps.of(fixed, control, cost), _OneHotMaps.of(moving, control, cost)

    def expected(classes: Tensor) -> Tensor:
        """Compute (c, nD, nH, nW): the sum above for some classes, of weight times one-hot."""
        total = torch.zeros((), device=cost.device)
        for p, offset in zip(slabs, distribution.offsets[0], strict=True):
            across = offset, *distribution.offsets[1:]
            total = total + checkpoint(
                moving_maps.gather, p, classes, across, use_reentrant=False, preserve_rng_state=False
            )
        return total

    ones = torch.full((1,), _ALL, device=cost.device)
    moving_in_view, fixed_in_view = expected(ones), fixed_maps.at_points(ones)
    used = weights.to(cost.device).nonzero()[:, 0]
    chunk = max(1, MOST_VALUES // (n_d * n_h * n_w * steps[1] * steps[2]))
    loss = cost.new_zeros(())
    for classes in used.split(chunk):
        fixed_labels, moving_labels = fixed_maps.at_points(classes), expected(classes)
        class_weight = weights.to(cost)[classes]
        loss = loss + _squared_gap(moving_labels, moving_in_view, fixed_labels, fixed_in_view, class_weight)
    return loss / max(len(used), 1)


def _squared_gap(
    moving_labels: Tensor, moving_in_view: Tensor, fixed_labels: Tensor, fixed_in_view: Tensor, weights: Tensor
) -> Tensor:
    """Return the squared difference () between moving and fixed labels (c, nD, nH, nW), each divided by its share in
    view (1, nD, nH, nW), averaged over the overlap of both views, and summed over the labels by their weights (c)."""
    counts = fixed_in_view * moving_in_view.detach()
    gap = moving_labels / moving_in_view.clamp(min=LEAST_IN_VIEW) - fixed_labels / fixed_in_view.clamp(
        min=LEAST_IN_VIEW
    )
    return (weights.view(-1, 1, 1, 1) * counts * gap.square()).sum() / counts.sum().clamp(min=LEAST_IN_VIEW)


def warped_label_loss(field: Tensor, fixed: LabelMap, moving: LabelMap, control: Grid, weights: Tensor) -> Tensor:
    """Compute the label loss at the expected displacement alone, as after a warp; `label_loss` improves on it.

    Args:
        field: (3, nD, nH, nW) in mm along the array axes, on `control`; the rest as in `label_loss`.
    """

    fixed_maps, moving_maps = (_OneHotMaps.of(labels, control, field) for labels in (fixed, moving))
    offsets = field.flatten(1)

    def expected(classes: Tensor) -> Tensor:
        return moving_maps.displaced(offsets, classes).view(-1, *field.shape[1:])

    ones = torch.full((1,), _ALL, device=field.device)
    moving_in_view, fixed_in_view = expected(ones), fixed_maps.at_points(ones)
    used = weights.to(field.device).nonzero()[:, 0]
    fixed_labels, moving_labels = fixed_maps.at_points(used), expected(used)
    gap = _squared_gap(moving_labels, moving_in_view, fixed_labels, fixed_in_view, weights.to(field)[used])
    return gap / max(len(used), 1)


def diffusion(field: Tensor, control: Grid) -> Tensor:
    """Compute the diffusion penalty (): squared slope of a field, averaged over components and pairs of neighbours,
    summed over the axes.

    Slopes are mm per mm, so the value means the same on every grid. The published penalty takes plain differences in
    units of half the volume: on n points per axis its weight of 1.5 is 1.5 * (2 / n)^2 here, 0.006 for 32.

    Args:
        field: (3, nD, nH, nW) in mm, on `control`.
    """
    slopes = (
        field.diff(dim=dim).square().mean() / float(spacing) ** 2
        for dim, spacing in enumerate(control.spacing[::-1], start=1)
        if field.shape[dim] > 1
    )
    return sum(slopes, field.new_zeros(()))


_ALL = -1  # in place of a class: every voxel, whatever its label


@dataclass(frozen=True)
class _OneHotMaps:
    """One-hot maps times weight, looked up around control points."""

    labels: Tensor
    weight: Tensor
    where: tuple[Tensor, Tensor, Tensor]  # the control points, in voxels
    spacing: tuple[float, float, float]  # mm along D, H, W

    @classmethod
    def of(cls, given: LabelMap, control: Grid, like: Tensor) -> _OneHotMaps:
        """Add a border of weight 0, which is what lookups beyond the map get."""
        labels, weight = (functional.pad(x.to(like.device), (1,) * 6) for x in (given.labels, given.weight))
        d, h, w = positions(control, given.lattice, like.device)
        x, y, z = given.lattice.spacing.tolist()
        return cls(labels, weight.to(like.dtype), (d + 1, h + 1, w + 1), (z, y, x))

    def at_points(self, classes: Tensor) -> Tensor:
        """Look up the maps (c, nD, nH, nW) at the control points."""
        return interpolate(self._maps(classes), self.where)

    def displaced(self, offsets: Tensor, classes: Tensor) -> Tensor:
        """Look up the maps (c, points) at the control points, in their grid's order, plus offsets (3, points) in mm."""

        at = torch.stack(torch.meshgrid(*self.where, indexing="ij")).flatten(1)
        at = at + offsets / to_tensor(np.array(self.spacing), offsets.device).view(3, 1)
        return sample(self._maps(classes), at)

    def gather(self, p: Tensor, classes: Tensor, offsets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Compute (c, nD, nH, nW): the sum of p (nH, nW, LH, LW, nD) times the maps, for one displacement along D.

        offsets: (), (LH), (LW) in mm.
        """

        n_h, n_w, l_h, l_w, n_d = p.shape
        at = [
            (w[:, None] + (o / s).view(1, -1)).flatten()
            for w, o, s in zip(self.where, offsets, self.spacing, strict=True)
        ]
        maps = interpolate(self._maps(classes), tuple(at)).view(-1, n_d, n_h, l_h, n_w, l_w)
        return torch.einsum("cdhmwl,hwmld->cdhw", maps, p)

    def _maps(self, classes: Tensor) -> Tensor:
        classes = classes.view(-1, 1, 1, 1)
        return ((self.labels == classes) | (classes == _ALL)) * self.weight


def _frequencies(labels: LabelMap, classes: int) -> Tensor:
    """Count the voxels (classes) of the view that each label fills, by their weights."""
    return labels.weight.new_zeros(classes).index_add_(0, labels.labels.flatten().long(), labels.weight.flatten())
