"""Losses: cases by hand, a dense judge on oblique grids, gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from helpers.geometry import grids, node_points
from pddnet.core.grid import Grid
from pddnet.matching.inference import DisplacementDistribution
from pddnet.training import registration_loss
from pddnet.training.registration_loss import LabelMap, class_weights, diffusion, label_loss, warped_label_loss

WEIGHTS = torch.tensor([0.15, 2.0])
LATTICE = Grid((6, 5, 5), (4, 4, 4), (0, 0, 0), np.eye(3))


def _labels(weight: float = 1.0) -> LabelMap:
    """Label 1 from the third plane on, 0 before it."""
    labels = torch.zeros(LATTICE.shape, dtype=torch.int64)
    labels[3:] = 1
    return LabelMap(labels, torch.full(LATTICE.shape, weight), LATTICE)


def _everywhere(label: int) -> LabelMap:
    return LabelMap(torch.full(LATTICE.shape, label), torch.ones(LATTICE.shape), LATTICE)


def _points(*planes: int) -> Grid:
    """Control points in the middle of neighbouring planes."""
    return Grid((len(planes), 1, 1), (4, 4, 4), (8, 8, 4 * planes[0]), np.eye(3))


def _along_d(step: float, points: int = 1) -> DisplacementDistribution:
    """Probabilities 0.2, 0.3, 0.5 of -step, 0, +step mm along D; nothing along H and W."""
    cost = torch.full((1, 1, 3, 3, 3, points), 1e4)
    cost[0, 0, :, 1, 1] = -torch.tensor([0.2, 0.3, 0.5]).log()[:, None]
    steps = torch.tensor([-step, 0.0, step])
    return DisplacementDistribution(cost, (steps, steps, steps))


def _hidden(labels: LabelMap, planes: slice) -> LabelMap:
    weight = labels.weight.clone()
    weight[planes] = 0
    return LabelMap(labels.labels, weight, labels.lattice)


def test_label_loss_on_voxels_by_hand() -> None:
    """From plane 2, half of the probability goes to plane 3, which is 1; the fixed scan is 1."""
    loss = label_loss(_along_d(4.0), _everywhere(1), _labels(), _points(2), WEIGHTS)
    assert float(loss) == pytest.approx((0.15 * 0.5**2 + 2.0 * 0.5**2) / 2)


def test_label_loss_between_voxels_by_hand() -> None:
    """A step of 2 mm ends between planes 2 and 3: half of it is 1."""
    loss = label_loss(_along_d(2.0), _everywhere(1), _labels(), _points(2), WEIGHTS)
    assert float(loss) == pytest.approx((0.15 + 2.0) * 0.75**2 / 2)


def test_what_the_moving_view_lacks_does_not_count_by_hand() -> None:
    """From plane 2 only the steps to planes 1 and 2 (probability 0.5) are shown, and both are 0: a gap of 1 at weight
    0.5. From plane 1 all is shown and 0, as it should be: a gap of 0 at weight 1."""
    fixed = _labels()
    fixed.labels[2] = 1
    moving = _hidden(_labels(), slice(3, None))
    loss = label_loss(_along_d(4.0, 2), fixed, moving, _points(1, 2), WEIGHTS)
    assert float(loss) == pytest.approx(0.5 * (0.15 + 2.0) / 1.5 / 2)


def test_what_the_fixed_view_lacks_does_not_count_by_hand() -> None:
    """Of the planes 2 (gap 0.5, as above) and 3 (all is 1 but the step back to plane 2), the second is hidden."""
    fixed, control = _everywhere(1), _points(2, 3)
    both = label_loss(_along_d(4.0, 2), fixed, _labels(), control, WEIGHTS)
    assert float(both) == pytest.approx((0.15 + 2.0) * (0.5**2 + 0.2**2) / 2 / 2)
    one = label_loss(_along_d(4.0, 2), _hidden(fixed, slice(3, None)), _labels(), control, WEIGHTS)
    assert float(one) == pytest.approx((0.15 + 2.0) * 0.5**2 / 2)


def test_beyond_the_moving_lattice_nothing_is_shown() -> None:
    """From the last plane half of the probability leaves the lattice; what stays is 1, as it should be."""
    loss = label_loss(_along_d(4.0), _everywhere(1), _labels(), _points(5), WEIGHTS)
    assert float(loss) == pytest.approx(0.0, abs=1e-6)


def test_views_that_share_nothing_give_no_loss_and_no_slope() -> None:
    distribution = _along_d(4.0)
    distribution.cost.requires_grad_()
    loss = label_loss(distribution, _everywhere(1), _labels(weight=0.0), _points(2), WEIGHTS)
    (gradient,) = torch.autograd.grad(loss, distribution.cost)
    assert float(loss.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


CLASSES = 5


def _case(dtype: torch.dtype = torch.float32) -> tuple[DisplacementDistribution, LabelMap, LabelMap, Grid, Tensor]:
    """Random labels and views on oblique, left-handed grids that share axes and nothing else."""
    direction = grids()["left-handed oblique"].direction
    generator = torch.Generator().manual_seed(3)

    def random(shape: tuple, spacing: tuple, start: tuple) -> LabelMap:
        lattice = Grid(shape, spacing, np.array([31.0, -72.0, 115.0]) + direction @ np.array(start), direction)
        labels = torch.randint(0, CLASSES, shape, generator=generator)
        return LabelMap(labels, (torch.rand(shape, generator=generator) * 1.6 - 0.3).clamp(0, 1), lattice)

    fixed, moving = random((9, 8, 10), (3, 4, 5), (0, 0, 0)), random((10, 11, 9), (5, 4.5, 3.5), (-9, -4, -6))
    control = Grid((3, 2, 4), (9, 11, 7), fixed.lattice.index_to_point([1.2, 2.3, 0.7]), direction)
    cost = 4 * torch.rand(2, 4, 5, 3, 3, 3, generator=generator, dtype=dtype)
    offsets = torch.linspace(-14, 18, 5), torch.linspace(-9, 11, 3), torch.linspace(-12, 6, 3)
    weights = torch.tensor([0.15, 1.3, 0.0, 2.0, 0.6])
    return DisplacementDistribution(cost, offsets), fixed, moving, control, weights


def test_where_the_expected_displacement_leads_by_hand() -> None:
    """2 mm from plane 2 towards plane 3, which alone is 1: half of what is there is 1, and more of it farther on."""
    field = torch.zeros(3, 1, 1, 1)
    field[0] = 2.0
    field.requires_grad_()
    loss = warped_label_loss(field, _everywhere(1), _labels(), _points(2), WEIGHTS)
    (slope,) = torch.autograd.grad(loss, field)
    assert float(loss.detach()) == pytest.approx((0.15 + 2.0) * 0.5**2 / 2)
    assert slope.flatten().tolist() == pytest.approx([-2 * 0.5 / 4 * (0.15 + 2.0) / 2, 0, 0])


def test_what_is_not_shown_there_does_not_count_by_hand() -> None:
    """Plane 2 leads to plane 3, which is hidden; plane 1 to plane 2, which is 0 where the fixed scan is 1."""
    field = torch.zeros(3, 2, 1, 1)
    field[0] = 4.0
    moving = _hidden(_labels(), slice(3, None))
    loss = warped_label_loss(field, _everywhere(1), moving, _points(1, 2), WEIGHTS)
    assert float(loss) == pytest.approx((0.15 + 2.0) / 2)


def test_sure_displacements_cost_the_same_in_both_losses() -> None:
    """Another displacement at every control point, on the oblique grids."""
    distribution, fixed, moving, control, weights = _case()
    cost = distribution.cost
    chosen = torch.randint(0, 5 * 3 * 3, (2, 4, 3), generator=torch.Generator().manual_seed(7))
    sure = torch.full((2, 4, 45, 3), 1e4).scatter(2, chosen[:, :, None], 0.0).view(cost.shape)
    steps = torch.stack(torch.meshgrid(*distribution.offsets, indexing="ij")).flatten(1)
    field = steps[:, chosen].permute(0, 3, 1, 2)  # (3, nD, nH, nW)
    expected = label_loss(DisplacementDistribution(sure, distribution.offsets), fixed, moving, control, weights)
    found = warped_label_loss(field, fixed, moving, control, weights)
    assert float(expected) > 0.05
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def _looked_up(labels: LabelMap, points: np.ndarray) -> np.ndarray:
    """(..., CLASSES) one-hot times weight at LPS points, linear; 0 beyond the lattice's outermost voxels + 1."""
    index = np.moveaxis(labels.lattice.point_to_index(points)[..., ::-1], -1, 0) + 1
    maps = (np.where(labels.labels.numpy() == c, labels.weight.numpy(), 0) for c in range(CLASSES))
    return np.stack([ndimage.map_coordinates(np.pad(m, 1), index, order=1) for m in maps], -1)


def _dense(case: tuple, cost: Tensor | None = None) -> float:
    """The formula as it stands, every value at once; for another cost with the points' weights of the case's own."""
    distribution, fixed, moving, control, weights = case
    d, h, w = np.meshgrid(*(o.numpy() for o in distribution.offsets), indexing="ij")
    steps = np.stack([w, h, d], -1) @ control.direction.T  # LPS
    points = node_points(control)
    there = _looked_up(moving, points[:, :, :, None, None, None] + steps)
    here = _looked_up(fixed, points)

    def expected(cost: Tensor) -> np.ndarray:
        p = torch.softmax(-cost.flatten(2, 4), 2).view(cost.shape).permute(5, 0, 1, 2, 3, 4)
        return (there * p.numpy()[..., None]).sum((3, 4, 5))

    counts = here.sum(-1) * expected(distribution.cost).sum(-1)
    found = expected(distribution.cost if cost is None else cost)
    gap = found / found.sum(-1, keepdims=True) - here / np.maximum(here.sum(-1, keepdims=True), 1e-3)
    used = weights.numpy() > 0
    errors = (weights.numpy() * gap**2)[..., used].mean(-1)
    return float((errors * counts).sum() / counts.sum())


@pytest.mark.parametrize("piece", [1, 1000, 1 << 25])
def test_label_loss_is_the_formula_on_oblique_grids(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(registration_loss, "MOST_VALUES", piece)
    case = _case()
    assert float(label_loss(*case)) == pytest.approx(_dense(case), rel=1e-4)


def test_label_loss_never_holds_all_displacements_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = registration_loss.interpolate

    def watched(*args: object) -> Tensor:
        result = original(*args)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(registration_loss, "MOST_VALUES", 1)
    monkeypatch.setattr(registration_loss, "interpolate", watched)
    case = _case()
    label_loss(*case)
    assert max(sizes) == case[0].cost.numel() // 5  # one class, one displacement along D


def test_gradients_of_the_label_loss_by_finite_differences() -> None:
    case = _case(torch.float64)
    distribution, *rest = case
    cost = distribution.cost.clone().requires_grad_()
    way = torch.randn(cost.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(label_loss(DisplacementDistribution(cost, distribution.offsets), *rest), cost)
    ahead, behind = (_dense(case, distribution.cost + step * way) for step in (1e-4, -1e-4))
    assert float((gradient * way).sum()) == pytest.approx((ahead - behind) / 2e-4, rel=1e-4)


def test_probability_moved_out_of_view_gains_nothing() -> None:
    """The point of plane 2 cannot get better by looking at plane 3, which is hidden: the slope there is 0."""
    distribution = _along_d(4.0, 2)
    distribution.cost.requires_grad_()
    moving = _hidden(_labels(), slice(3, None))
    label_loss(distribution, _everywhere(1), moving, _points(1, 2), WEIGHTS).backward()
    assert distribution.cost.grad[0, 0, :, 1, 1, 1].abs().max() < 1e-7


def test_class_weights_by_hand() -> None:
    """90 + 40 voxels of background, 9 + 7 of label 1 and 1 + 3 of label 2; label 3 is in one view only."""
    maps = []
    for counts in ((90, 9, 1, 0), (40, 7, 3, 50)):
        labels = torch.repeat_interleave(torch.arange(4), torch.tensor(counts)).view(4, 5, 5)
        maps.append(LabelMap(labels, torch.ones(4, 5, 5), Grid((4, 5, 5), (1, 1, 1), (0, 0, 0), np.eye(3))))
    mean = (130**-0.5 + 1 / 4 + 1 / 2) / 3
    assert class_weights(*maps, 4).tolist() == pytest.approx([0.15, 0.25 / mean, 0.5 / mean, 0.0])
    hidden = LabelMap(maps[0].labels, (maps[0].labels != 1).float(), maps[0].lattice)
    assert class_weights(hidden, maps[1], 4)[1] == 0


SLOPES = torch.tensor([[0.3, -0.2, 0.05], [0.1, 0.4, -0.15], [0.0, 0.25, -0.1]])  # component by axis, mm per mm


@pytest.mark.parametrize("spacing", [(4, 4, 4), (2.5, 7, 11)])
def test_diffusion_of_a_shear_is_its_squared_slopes_on_any_grid(spacing: tuple[float, ...]) -> None:
    control = Grid((4, 6, 5), spacing, (31, -72, 115), grids()["permuted oblique"].direction)
    place = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in control.shape), indexing="ij"))
    place = place * torch.tensor(control.spacing[::-1].copy(), dtype=torch.float32).view(3, 1, 1, 1)
    field = torch.einsum("ca,adhw->cdhw", SLOPES, place) + 17.0
    assert float(diffusion(field, control)) == pytest.approx(float(SLOPES.square().sum() / 3), rel=1e-4)


def test_diffusion_weighs_as_the_published_one() -> None:
    """Squared differences in parts of half the volume, averaged over components and neighbours, along three axes."""
    n = 8
    field = torch.randn(3, n, n, n, generator=torch.Generator().manual_seed(5))
    parts = field / (n * 5.0 / 2)
    published = 1.5 * sum((parts.diff(dim=axis) ** 2).mean() for axis in (1, 2, 3))
    ours = diffusion(field, Grid((n, n, n), (5, 5, 5), (0, 0, 0), np.eye(3)))
    assert float(published) == pytest.approx(1.5 * (2 / n) ** 2 * float(ours), rel=1e-5)


def test_diffusion_of_one_point_is_zero_and_its_gradient_is_right() -> None:
    assert float(diffusion(torch.ones(3, 1, 1, 1), _points(2))) == 0
    field = torch.zeros(3, 2, 1, 1, requires_grad=True)
    control = Grid((2, 1, 1), (3, 5, 4), (0, 0, 0), np.eye(3))
    with torch.no_grad():
        field[1, 1] = 2.0
    diffusion(field, control).backward()
    assert field.grad[1].flatten().tolist() == pytest.approx([-2 * 2 / 16 / 3, 2 * 2 / 16 / 3])
