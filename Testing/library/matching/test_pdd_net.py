"""PDDNet: the published form, what registering runs, gradients, memory, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers import reference
from helpers.geometry import node_points, rotation
from pddnet.core.grid import Grid
from pddnet.matching import pdd_net as network
from pddnet.matching.discrete import FeatureMap, match
from pddnet.matching.pdd_net import PDDNet, match_in_pieces
from pddnet.tensor.lattice import interpolate, positions
from pddnet.tensor.scan import Scan
from pddnet.training.registration_loss import LabelMap, class_weights, diffusion, label_loss

TILT = rotation(5, -7, 9)
SHIFT = (16.0, -8.0, 8.0)  # mm along D, H, W: fixed -> moving
STEPS = torch.linspace(-24, 24, 7)
RADIUS = 52.0  # mm, of the body
ORGANS = 8


def _cube(size: int, spacing: float, direction: np.ndarray = TILT) -> Grid:
    return Grid((size,) * 3, (spacing,) * 3, direction @ np.full(3, -(size - 1) / 2 * spacing), direction)


CONTROL = _cube(6, 16.0)


def _phantom(shift: tuple[float, float, float] = (0, 0, 0), grid: Grid | None = None) -> tuple[Scan, LabelMap]:
    """Balls of several densities in a ball of water, moved by `shift` (mm along D, H, W), and their labels."""
    grid = grid or _cube(30, 5.0)
    points = node_points(grid) - TILT @ np.array(shift)[::-1]
    body = np.linalg.norm(points, axis=-1) < RADIUS
    hu, labels = np.where(body, 0.0, -1000.0), np.zeros(grid.shape, np.int64)
    random = np.random.default_rng(0)
    for organ in range(1, ORGANS + 1):
        inside = np.linalg.norm(points - random.uniform(-28, 28, 3), axis=-1) < random.uniform(10, 18)
        hu[inside], labels[inside] = random.uniform(-90, 250), organ
    values = torch.tensor(np.stack([hu, body, np.ones(grid.shape)]).astype(np.float32))
    scan = Scan(values, values.new_zeros(0, *grid.shape), grid, grid, grid, False)
    return scan, LabelMap(torch.tensor(labels), torch.ones(grid.shape), grid)


def _inside(control: Grid) -> Tensor:
    """(nD, nH, nW): control points in the middle of the body."""
    return torch.tensor(np.linalg.norm(node_points(control), axis=-1) < RADIUS - 12)


def _net(seed: int = 0) -> PDDNet:
    torch.manual_seed(seed)
    return PDDNet(channels=6, spacing=8.0)


def _maps(seed: int = 0) -> tuple[FeatureMap, FeatureMap]:
    """Random features and partial views on one lattice around CONTROL."""
    lattice = CONTROL.isotropic(8.0, 24.0)
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for axis in (1, 0):
        weight = torch.ones(lattice.shape)
        weight.narrow(axis, lattice.shape[axis] - 9, 9).zero_()
        maps.append(FeatureMap(torch.rand(4, *lattice.shape, generator=generator), weight, lattice))
    return maps[0], maps[1]


@pytest.mark.parametrize("training", [True, False])
def test_a_scan_upon_itself_stays_where_it_is(training: bool) -> None:
    """Untrained: equal features cost nothing at the displacement 0, and no other does as little."""
    net, (scan, _) = _net().train(training), _phantom()
    with torch.no_grad():
        net.log_sharpness += 12
        distribution = net(scan, scan, CONTROL, STEPS)
    best = distribution.cost.flatten(2, 4).argmin(2).permute(2, 0, 1)
    assert (best == len(STEPS) ** 3 // 2)[_inside(CONTROL)].all()
    assert distribution.moments()[0].norm(dim=0)[_inside(CONTROL)].mean() < 2.0


@pytest.mark.parametrize("alphas", [(3.0, 7.0, 0.5, 1.5, -4.0, 40.0), (0.5, -1.0, 2.0, 0.7, 0.0, 9.0)])
def test_two_of_the_six_published_scalars_are_all_that_acts(alphas: tuple[float, ...]) -> None:
    a0, a1, a2, a3, a4, a5 = alphas
    fixed, moving = (FeatureMap(m.features, torch.ones(m.lattice.shape), m.lattice) for m in _maps())
    control, steps = Grid((3, 4, 2), (9, 8, 10), (-9, -12, -9), TILT), torch.linspace(-12, 12, 5)
    where = positions(control, moving.lattice)
    query = interpolate(fixed.features, where)
    cost = a0 * reference.cost_volume(query, moving.features, where, (steps / 8,) * 3) + a1
    shape = control.shape
    message = reference.mean_field(reference.min_convolution(cost), shape)
    cost = reference.mean_field(reference.min_convolution(a4 + a2 * cost + a3 * message), shape)
    expected = torch.softmax(-a5 * cost.flatten(1), 1)
    net = _net()
    with torch.no_grad():
        net.log_sharpness.fill_(np.log(a0 * a2 * a5))
        net.log_message.fill_(np.log(a3 / a2))
        ours = match(fixed, moving, control, steps, net.inverse_temperature, net.weights).cost
    result = torch.softmax(-reference.from_library(ours).flatten(1), 1)
    assert expected.std() > 1e-4
    assert torch.allclose(result, expected, rtol=2e-3, atol=1e-6)


def test_its_weights_are_the_features_and_two() -> None:
    assert sum(p.numel() for p in PDDNet().parameters()) == 120_780 + 2


@pytest.mark.parametrize("piece", [1, 12_000, 1 << 23])
def test_matching_in_pieces_is_matching(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(network, "CELLS_AT_ONCE", piece)
    fixed, moving = _maps()
    upstream = torch.rand(3, *CONTROL.shape, generator=torch.Generator().manual_seed(4))
    results = []
    for function in (match, match_in_pieces):
        inputs = [x.clone().requires_grad_() for x in (fixed.features, moving.features, torch.tensor(80.0))]
        ratio = torch.tensor(0.7, requires_grad=True)
        ours, theirs = (FeatureMap(x, m.weight, m.lattice) for x, m in zip(inputs, (fixed, moving), strict=False))
        distribution = function(ours, theirs, CONTROL, STEPS, inputs[2], (1.0, ratio))
        loss = (distribution.moments()[0] * upstream).sum()
        results.append((distribution.cost, *torch.autograd.grad(loss, [*inputs, ratio])))
    for one, other in zip(*results, strict=True):
        assert one.abs().max() > 0
        assert (one - other).abs().max() < 2e-3 * one.abs().max()


@pytest.mark.parametrize("side", [0, 1])
def test_gradients_of_matching_partial_views_by_finite_differences(side: int) -> None:
    maps = _maps()
    upstream = torch.rand(3, *CONTROL.shape, generator=torch.Generator().manual_seed(4))

    def value(features: Tensor) -> Tensor:
        pair = list(maps)
        pair[side] = FeatureMap(features, maps[side].weight, maps[side].lattice)
        return (match_in_pieces(*pair, CONTROL, STEPS, 80.0).moments()[0] * upstream).sum()

    features = maps[side].features.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(features), features)
    way = gradient / gradient.norm()
    with torch.no_grad():
        slope = float(value(features + 5e-3 * way) - value(features - 5e-3 * way)) / 1e-2
    assert float(gradient.norm()) == pytest.approx(slope, rel=0.01)


def test_registering_and_training_give_the_same_distribution() -> None:
    net = _net().eval()
    scans = [_phantom()[0], _phantom(SHIFT)[0]]
    training = net(*scans, CONTROL, STEPS).cost
    with torch.no_grad():
        registering = net(*scans, CONTROL, STEPS).cost
    assert training.requires_grad
    assert not registering.requires_grad
    assert torch.allclose(training, registering, atol=1e-3 * float(registering.abs().max()))


def _remembered(monkeypatch: pytest.MonkeyPatch, piece: int) -> float:
    """What a traced matching keeps for its gradients, in cost tensors."""
    monkeypatch.setattr(network, "CELLS_AT_ONCE", piece)
    fixed, moving = _maps()
    kept = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes(), x  # held, or its address would be used again
        return x

    features = [m.features.requires_grad_() for m in (fixed, moving)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        cost = match_in_pieces(fixed, moving, CONTROL, STEPS, torch.tensor(80.0, requires_grad=True)).cost
    others = sum(x.untyped_storage().nbytes() for x in features)
    return (sum(size for size, _ in kept.values()) - others) / cost.untyped_storage().nbytes()


def test_training_remembers_no_more_than_a_few_cost_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _remembered(monkeypatch, piece=12_000) < 5


def _gradients(net: PDDNet, scans: list[Scan], upstream: Tensor) -> Tensor:
    return (net(*scans, CONTROL, STEPS).moments()[0] * upstream).sum()


@pytest.mark.parametrize("name", ["log_sharpness", "log_message", "features.offsets", "features.mix.6.weight"])
def test_gradients_through_everything_by_finite_differences(name: str) -> None:
    net, scans = _net().eval(), [_phantom()[0], _phantom(SHIFT)[0]]
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(3, *CONTROL.shape, generator=generator)
    parameter = dict(net.named_parameters())[name]
    (gradient,) = torch.autograd.grad(_gradients(net, scans, upstream), parameter)
    way = gradient / gradient.norm()  # the steepest, so that rounding matters least

    def value(step: float) -> float:
        with torch.no_grad():
            parameter.add_(step * way)
            result = float(_gradients(net, scans, upstream))
            parameter.sub_(step * way)
        return result

    step = 2e-3 * float(parameter.detach().norm().clamp(min=1.0))
    assert float(gradient.norm()) == pytest.approx((value(step) - value(-step)) / (2 * step), rel=0.02)


def test_every_weight_is_reached_in_training() -> None:
    net = _net().train()
    (fixed, ours), (moving, theirs) = _phantom(), _phantom(SHIFT)
    distribution = net(fixed, moving, CONTROL, STEPS)
    label_loss(distribution, ours, theirs, CONTROL, class_weights(ours, theirs, ORGANS + 1)).backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        if name != "features.mix.6.bias":  # the same for both scans: it cancels
            assert parameter.grad.abs().max() > 0, name


def test_an_optimiser_gets_every_parameter_once() -> None:
    net = _net()
    groups = net.groups(0.01)
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in net.parameters())
    assert [g["lr"] for g in groups if g["params"][0] is net.features.offsets] == [1.0]


@pytest.mark.slow
def test_it_learns_a_pair_and_finds_its_shift() -> None:
    net = _net().train()
    (fixed, ours), (_, theirs) = _phantom(), _phantom(SHIFT)
    moving, _ = _phantom(SHIFT, _cube(33, 4.6, TILT @ np.diag([1.0, -1.0, 1.0])))  # stored left-handed
    weights = class_weights(ours, theirs, ORGANS + 1)
    optimiser = torch.optim.Adam(net.groups(0.01))
    losses = []
    for _ in range(12):
        distribution = net(fixed, moving, CONTROL, STEPS)
        loss = label_loss(distribution, ours, theirs, CONTROL, weights)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        (loss + 0.02 * diffusion(distribution.moments()[0], CONTROL)).backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        mean = net.eval()(fixed, moving, CONTROL, STEPS).moments()[0]
    off = (mean - torch.tensor(SHIFT).view(3, 1, 1, 1)).norm(dim=0)[_inside(CONTROL)]
    assert off.mean() < 1.0  # 19 before
