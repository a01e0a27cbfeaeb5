"""A network that predicts displacements, in the registration: what it is given, and what becomes of its field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from helpers import trunk
from pddnet import pipeline
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.result import Registration
from pddnet.errors import InputError
from pddnet.networks.base import Sizes, save
from pddnet.networks.svf_net import SVFNet
from pddnet.pipeline import register
from pddnet.tensor.lattice import from_lps
from pddnet.tensor.scan import Scan

SHIFT = np.array([11.0, -9.0, 12.0])  # LPS mm


class Planted:
    """Predicts one displacement everywhere, and keeps what it was given."""

    margin_mm = 24.0

    def __init__(self, shift: np.ndarray) -> None:
        self.shift = shift
        self.given: list[tuple[Scan, Scan, Grid]] = []

    def displacements(self, fixed: Scan, moving: Scan, box: Grid) -> tuple[Tensor, Grid]:
        self.given.append((fixed, moving, box))
        control = box.isotropic(20.0)
        return from_lps(np.broadcast_to(self.shift, (*control.shape, 3)), control), control


def _scan(shift: np.ndarray | float = 0.0) -> Image:
    scan = trunk.ct(trunk.oblique_grid((34, 44, 46)), 1)
    grid = scan.grid
    return Image(scan.array, Grid(grid.shape, grid.spacing, grid.origin + shift, grid.direction))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save("svf-net", SVFNet(Sizes(16.0, 16.0, 3, 4, 4.0)), tmp_path / "w.npz", {})
    return tmp_path / "w.npz"


def _register(
    monkeypatch: pytest.MonkeyPatch, weights: Path, net: Planted, moving: Image, **settings: object
) -> tuple[Registration, np.ndarray]:
    monkeypatch.setattr(pipeline, "load", lambda name, path, device: net)
    found = register(_scan(), moving, "mind", network="svf-net", weights=weights, device="cpu", **settings)
    points = trunk.MIDDLE + np.random.default_rng(1).uniform(-40, 40, (100, 3))
    return found, found.field.transform_points(points) - points


def test_its_field_is_the_result(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    net = Planted(SHIFT)
    found, moved = _register(monkeypatch, weights, net, _scan(SHIFT), align=False)
    assert np.abs(moved - SHIFT).max() < 0.05
    ((fixed, moving, box),) = net.given
    assert (moving.grid.extent > box.extent + 2 * net.margin_mm - 1e-6).all()  # it sees what lies around the box
    assert np.allclose(moving.grid.direction, box.direction)
    assert fixed.box is box
    assert found.verdict.measures["unfolded_percent"] == 0


def test_it_stands_even_where_it_harms(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    """What a network predicts is measured for what it is."""
    _, moved = _register(monkeypatch, weights, Planted(SHIFT), _scan(), align=False)
    assert np.abs(moved - SHIFT).max() < 0.05


@pytest.mark.slow
def test_it_is_given_scans_that_are_aligned(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    net = Planted(np.zeros(3))
    _, moved = _register(monkeypatch, weights, net, _scan(4 * SHIFT))
    assert np.linalg.norm(moved.mean(0) - 4 * SHIFT) < 6.0
    fixed, moving, _ = net.given[0]
    centres = []
    for scan in (fixed, moving):
        index = np.argwhere(scan.body.numpy() > 0.5).mean(0)[::-1]
        centres.append(scan.grid.index_to_point(index))
    assert np.linalg.norm(centres[0] - centres[1]) < 12.0


def test_where_it_is_no_use_it_is_refused(weights: Path) -> None:
    with pytest.raises(InputError, match="linear"):
        register(_scan(), _scan(), network="svf-net", weights=weights, transform_type="rigid")
    with pytest.raises(InputError, match="not bundled"):
        register(_scan(), _scan(), network="svf-net")
    with pytest.raises(InputError, match=r"w\.npz"):
        register(_scan(), _scan(), network="guided", weights=weights)
