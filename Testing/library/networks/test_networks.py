"""The networks of the papers: shapes and places of their fields, gradients, files, and what they can learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.trunk import MIDDLE, label_at, oblique_grid
from pddnet.core.grid import Grid
from pddnet.core.presets import PRESETS
from pddnet.errors import InputError
from pddnet.features.label_table import STRUCTURES
from pddnet.io.weights_file import write_weights
from pddnet.networks.base import RegistrationNetwork, Sizes, load, save
from pddnet.networks.registry import NETWORKS, check_run, check_weights, find_class
from pddnet.networks.svf_net import SVFNet
from pddnet.networks.unet import onto, pyramid
from pddnet.tensor.folding import least_determinant
from pddnet.tensor.lattice import compose, from_lps
from pddnet.tensor.scan import Scan
from pddnet.tensor.velocity import SQUARINGS, exponential

SIZES = {"flownet-c": Sizes(16.0, 16.0, 3, 4, 8.0)}
U_NET = Sizes(16.0, 16.0, 3, 4, 4.0)
SHIFT = np.array([9.0, -7.0, 11.0])  # LPS mm: fixed to moving


def _box() -> Grid:
    """Oblique and left-handed, with voxels of 5 mm."""
    return oblique_grid().isotropic(5.0)


def _scan(shift: np.ndarray | float = 0.0, grid: Grid | None = None) -> Scan:
    """Balls of different HU within a body, moved by `shift`, on a grid along the axes of the box."""
    grid = grid or _box()
    labels = label_at(grid.points() - shift)
    hu = torch.tensor(40.0 + 60.0 * labels)
    inside = np.linalg.norm(grid.points() - shift - MIDDLE, axis=-1) < 95.0
    body = torch.tensor(inside, dtype=torch.float32)
    values = torch.stack([torch.where(body > 0, hu.float(), -1000.0), body, torch.ones_like(body)])
    return Scan(values, values[:0], grid, grid, grid, False)


def _net(name: str, seed: int = 1) -> RegistrationNetwork:
    torch.manual_seed(seed)
    return find_class(name)(SIZES.get(name, U_NET))


@pytest.mark.parametrize(
    ("name", "spacing", "segments"),
    [
        ("flownet-c", 16.0, True),
        ("ha", 64.0, True),
        ("guided", 8.0, True),
        ("guided-skips", 8.0, True),
        ("svf-net", 8.0, False),
        ("pwc", 8.0, True),
    ],
)
def test_a_field_on_control_points_over_the_box(name: str, spacing: float, segments: bool) -> None:
    """Scans on other grids along the axes of the box: the field still covers the box."""
    box = _box()
    wide = box.isotropic(4.0, 12.0)
    found = _net(name).train()(_scan(), _scan(SHIFT, wide), box)
    assert found.field.shape == (3, *found.control.shape)
    assert np.allclose(found.control.spacing, spacing)
    assert np.allclose(found.control.direction, box.direction)
    ends = found.control.point_to_index(box.index_to_point(np.stack([np.zeros(3), box.size - 1.0])))
    assert (ends[0] > -0.6).all()
    assert (ends[1] < found.control.size - 1 + 1.01).all()
    assert (found.logits is not None) == segments
    if found.logits is not None and found.lattice is not None:
        assert [each.shape for each in found.logits] == [(len(STRUCTURES), *found.lattice.shape)] * 2
    for field, control in found.coarse:
        assert field.shape == (3, *control.shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter(name: str) -> None:
    net = _net(name).train()
    found = net(_scan(), _scan(SHIFT), _box())
    loss = found.field.square().mean()
    for logits in found.logits or ():
        loss = loss + logits[2].mean()
    loss.backward()
    for label, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), label
        assert parameter.grad.abs().max() > 0, label
    grouped = [id(p) for group in net.groups(1.0) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())


def test_flownet_has_about_two_million_weights_with_the_published_sizes() -> None:
    net = find_class("flownet-c")(Sizes(16.0, 42.0, 15, 16, 6.0))
    assert 1.9e6 < sum(p.numel() for p in net.parameters()) < 2.2e6
    convolutions = [each for each in net.regularisation if isinstance(each, torch.nn.Conv3d)]
    assert len(convolutions) == 5
    assert convolutions[0].in_channels == 15**3


def test_skips_add_the_guiding_maps_and_nothing_else() -> None:
    """The maps of both scans, at each of three levels of both registration networks: 4, 8 and 16 channels."""
    counts = [sum(p.numel() for p in _net(name).parameters()) for name in ("guided", "guided-skips")]
    more = sum(27 * width * 2 * width for width in (4, 8, 16))
    assert counts[1] - counts[0] == 2 * more


def test_the_levels_of_a_pyramid_are_where_strided_convolutions_leave_them() -> None:
    """A linear ramp, convolved with the identity at every second voxel, is the ramp at the coarser grid's points."""
    grid = Grid((7, 10, 13), (3.0, 4.0, 5.0), (5.0, -7.0, 9.0), oblique_grid().direction)
    grids = pyramid(grid, 2)
    slope = np.array([0.3, -0.2, 0.5])

    def ramp(on: Grid) -> Tensor:
        return torch.tensor(on.points() @ slope, dtype=torch.float32)[None, None]

    identity = torch.zeros(1, 1, 3, 3, 3)
    identity[..., 1, 1, 1] = 1.0
    half = torch.nn.functional.conv3d(ramp(grid), identity, stride=2, padding=1)
    assert half.shape[2:] == grids[1].shape == (4, 5, 7)
    assert torch.allclose(half, ramp(grids[1]), atol=1e-4)
    assert torch.allclose(onto(half, grids[1], grid)[..., :9, :], ramp(grid)[..., :9, :], atol=1e-4)


def test_the_exponential_of_the_negative_velocity_undoes_that_of_svf_net() -> None:
    net = _net("svf-net").eval()
    assert isinstance(net, SVFNet)
    with torch.no_grad():
        net.last.weight *= 3  # so that it moves by millimetres before any training
        found = net(_scan(), _scan(SHIFT), _box())
        velocity, control = net.velocity(_scan(), _scan(SHIFT), _box())
        assert found.velocity is not None and torch.equal(found.velocity, velocity)
        back = exponential(-velocity, control, SQUARINGS)
    moved = found.field.square().sum(0).sqrt()
    residual = compose(found.field, back, control).square().sum(0).sqrt()
    inner = tuple(slice(2, -2) for _ in range(3))
    assert float(moved[inner].max()) > 2.0
    assert float(residual[inner].mean()) < 0.05 * float(moved[inner].mean())
    assert float(least_determinant(found.field, control).min()) > 0  # it folds nowhere


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_round_trip(name: str, tmp_path: Path) -> None:
    net = _net(name).train()
    net(_scan(), _scan(SHIFT), _box())  # its layers have statistics then
    path = tmp_path / "w.npz"
    save(name, net.eval(), path, {"data": "balls"})
    again = load(name, path)
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    assert again.sizes == net.sizes
    with torch.no_grad():
        expected = net(_scan(), _scan(SHIFT), _box()).field
    field, control = again.displacements(_scan(), _scan(SHIFT), _box())
    assert field.shape[1:] == control.shape
    # weights are kept in half precision
    assert float((field - expected).abs().max()) < 0.05 * max(float(expected.abs().max()), 1.0)
    assert check_weights(name, path) == path


def test_a_file_that_is_not_of_the_network_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    save("svf-net", _net("svf-net"), path, {})
    with pytest.raises(InputError, match=r"w\.npz.*pddnet train Testing/training/guided_skips\.json"):
        load("guided-skips", path)
    with pytest.raises(InputError, match=r"^the weights of 'ha' are not bundled; .*training/ha\.json', and give --wei"):
        check_weights("ha", None)
    with pytest.raises(InputError, match=r"no network 'voxelmorph'; choose one of flownet-c, ha"):
        find_class("voxelmorph")
    write_weights(path, {"last.weight": np.zeros(3)}, {"kind": "svf-net", **dataclasses.asdict(U_NET)})
    with pytest.raises(InputError, match=r"w\.npz: the weights do not fit the network 'svf-net'"):
        load("svf-net", path)


@pytest.mark.parametrize(
    ("preset", "kind", "word"), [("default", "rigid", "linear"), ("multimodal", "deformable", "for CT|trained on CT")]
)
def test_where_a_network_is_no_use_it_is_refused(preset: str, kind: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        check_run("svf-net", None, PRESETS[preset], kind)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["guided", "svf-net"])
def test_a_small_network_learns_to_tell_a_translation_from_its_opposite(name: str) -> None:
    """Two pairs that differ only by where the moving patient lies: it has to look at them to find the shift."""
    box = Grid((18, 20, 20), (8.0,) * 3, _box().origin + 20.0 * _box().direction.sum(1), _box().direction)
    pairs = [(sign * SHIFT, (_scan(0.0, box), _scan(sign * SHIFT, box))) for sign in (1.0, -1.0)]
    net = _net(name).train()
    adam = torch.optim.Adam([{**group, "lr": 0.01 * group["lr"]} for group in net.groups(1.0)])

    def differences(pair: tuple[Scan, Scan], shift: np.ndarray) -> Tensor:
        found = net(*pair, box)
        return found.field - from_lps(np.broadcast_to(shift, (*found.control.shape, 3)), found.control)

    for _ in range(40):
        loss = sum((differences(pair, shift) / 10).square().mean() for shift, pair in pairs)
        adam.zero_grad()
        loss.backward()
        adam.step()
    for shift, pair in pairs:
        with torch.no_grad():
            left = differences(pair, shift)
        assert float(left.mean((1, 2, 3)).norm()) < 0.3 * np.linalg.norm(SHIFT)
