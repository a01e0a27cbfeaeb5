"""The deformation between two views of one anatomy, against formulas; and the data set and the task that use it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.geometry import rotation
from helpers.trunk import anatomy
from pddnet.core.grid import Grid
from pddnet.errors import InputError
from pddnet.networks.registry import NETWORKS
from pddnet.synthesis.patient import PatientSource
from pddnet.tensor.lattice import from_lps
from pddnet.tensor.velocity import SQUARINGS, exponential
from pddnet.training.config import PairSettings, TrainingConfig
from pddnet.training.known_deformation import known_displacement, known_velocity
from pddnet.training.labelled_scan import LabelledScan, dice_after_warp, view_grid
from pddnet.training.pair_datasets import MISALIGNMENT_MM, KnownPairDataset
from pddnet.training.run import NETWORK_TASKS
from pddnet.training.tasks.network import NetworkTask
from pddnet.training.tasks.velocity import VelocityTask

MATRIX = rotation(6, -4, 9) @ np.diag([1.1, 0.92, 1.05])
OFFSET = np.array([4.0, -7.0, 3.0])
PAIRS = PairSettings(view=(32, 32, 32), control=16.0, reach=16.0, steps=3, channels=4, spacing=4.0)


def _grid(shape: tuple[int, int, int], spacing: tuple[float, ...], centre: tuple[float, ...]) -> Grid:
    """Oblique, left-handed and anisotropic."""
    direction = rotation(5, -9, 12) @ np.diag([1.0, -1.0, 1.0])
    return Grid(shape, spacing, np.array(centre) - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)


FIXED = _grid((14, 18, 16), (4.0, 3.0, 5.0), (30.0, -20.0, 100.0))
MOVING = _grid((20, 22, 24), (4.5, 4.0, 4.2), (33.0, -22.0, 96.0))


def _wave(points: np.ndarray) -> np.ndarray:
    """Move LPS points (..., 3) smoothly by up to 5 mm."""
    x, y, z = np.moveaxis(points, -1, 0)
    return points + 5.0 * np.stack([np.sin(y / 25.0), np.sin(z / 30.0), np.sin(x / 28.0)], -1)


def _points(at: np.ndarray) -> Tensor:
    return torch.tensor(np.moveaxis(at, -1, 0), dtype=torch.float32)


def test_the_deformation_is_the_one_that_shows_the_same() -> None:
    """The fixed view shows A(x), the moving one W(y): y has to be the solution of W(y) = A(x), which is checked."""
    shown = (FIXED.points() - FIXED.centre) @ MATRIX.T + FIXED.centre + OFFSET
    both = [_points(shown), _points(_wave(MOVING.points()))]
    control = FIXED.isotropic(8.0)
    resampled = (control.points() - FIXED.centre) @ MATRIX.T + FIXED.centre + OFFSET
    displacement, known = known_displacement(FIXED, MOVING, both, control)
    assert displacement.shape == (*control.shape, 3)
    certain = known.numpy() > 0
    assert certain.mean() > 0.5
    inner = certain & FIXED.contains(control.points())
    ends = control.points() + displacement
    assert np.abs(_wave(ends) - resampled)[inner].max() < 0.3  # linear interpolation of a wave
    assert MOVING.contains(ends[inner]).all()


def test_what_the_moving_view_does_not_show_is_not_known() -> None:
    far = Grid(MOVING.shape, MOVING.spacing, MOVING.origin + [400.0, 0.0, 0.0], MOVING.direction)
    both = [_points(FIXED.points()), _points(far.points())]
    _, known = known_displacement(FIXED, far, both, FIXED.isotropic(8.0))
    assert float(known.max()) == 0
    _, known = known_displacement(FIXED, MOVING, [both[0], _points(MOVING.points())], FIXED.isotropic(8.0))
    assert float(known.mean()) > 0.9


def test_the_exponential_of_the_velocity_is_the_deformation() -> None:
    control = FIXED.isotropic(6.0)
    both = [_points(FIXED.points()), _points(_wave(MOVING.points()))]
    displacement, _ = known_displacement(FIXED, MOVING, both, control)
    velocity, known = known_velocity(FIXED, MOVING, both, control)
    again = exponential(velocity, control, SQUARINGS)
    gap = (again - from_lps(displacement, control)).norm(dim=0)[known > 0]
    assert float(gap.mean()) < 0.3
    assert float(from_lps(displacement, control).norm(dim=0)[known > 0].mean()) > 3.0


@pytest.mark.slow
def test_the_known_deformation_lays_painted_structures_upon_each_other() -> None:
    """Without borrowed organs the two views show one anatomy: nearly all of it then overlaps."""
    items = iter(KnownPairDataset([PatientSource(anatomy())], [1.0], 3, 0, (32, 32, 32)))
    before, after, offsets = [], [], []
    for _ in range(4):
        values, structures, common, shift, points = next(items)
        assert points.shape == (2, 3, 32, 32, 32)
        fixed, moving = (
            LabelledScan.from_sample(values[n], structures[n], by) for n, by in ((0, (0, 0, 0)), (1, shift.numpy()))
        )
        grid = fixed.scan.grid
        assert grid.same_as(view_grid(structures[0], np.zeros(3)))
        displacement, known = known_displacement(grid, moving.scan.grid, points, grid)
        offsets.append(displacement[known.numpy() > 0].mean(0))
        truth = from_lps(displacement, grid)
        before += dice_after_warp(fixed, moving, torch.zeros_like(truth), common)
        after += dice_after_warp(fixed, moving, truth, common)
    assert np.mean(after) > 0.6, (np.mean(before), np.mean(after))
    assert np.mean(after) > np.mean(before) + 0.2
    assert np.abs(offsets).max() < 4 * MISALIGNMENT_MM


def _task(name: str) -> NetworkTask:
    config = TrainingConfig(out=Path(), network=name, pairs=PAIRS)
    task = NETWORK_TASKS[name](config)
    assert isinstance(task, NetworkTask)
    return task


def test_a_view_that_is_too_small_is_refused() -> None:
    task = _task("guided")
    item = next(iter(task.dataset([PatientSource(anatomy())], [1.0], 0)))
    small = [item[0][..., :16, :16, :16], item[1][..., :16, :16, :16], *item[2:]]
    small[1][:] = 2
    with pytest.raises(InputError, match="'view' is too small"):
        task.loss(task.network().train(), *small)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "flownet-c" else name for name in NETWORKS]
)
def test_each_network_has_a_task_whose_loss_reaches_all_of_it(name: str) -> None:
    task = _task(name)
    assert isinstance(task, VelocityTask) == (name == "svf-net")
    torch.manual_seed(2)
    net = task.network().train()
    batch = next(iter(task.dataset([PatientSource(anatomy())], [1.0], 0)))
    found = task.loss(net, *batch)
    assert found is not None
    loss, dice = found
    assert 0 < float(loss.detach()) < 100 and 0 <= dice <= 1
    loss.backward()
    missing = [each for each, p in net.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0]
    assert missing == []


def test_the_velocity_loss_is_zero_for_the_truth_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task("svf-net")
    net = task.network().train()
    batch = next(iter(task.dataset([PatientSource(anatomy())], [1.0], 0)))
    values, structures, _, shift, points = batch
    grids = [view_grid(structures[0], np.zeros(3)), view_grid(structures[1], shift.numpy())]
    offset = 0.0

    def planted(fixed: object, moving: object, box: Grid) -> object:
        control = box.isotropic(16.0)
        velocity, _ = known_velocity(*grids, points, control)
        planted_velocity = (velocity + offset).requires_grad_()
        found = net(*(LabelledScan.from_sample(values[n], structures[n]).scan for n in (0, 1)), box)
        field = exponential(planted_velocity, control, SQUARINGS)
        return dataclasses.replace(found, field=field, control=control, velocity=planted_velocity)

    found = task.loss(planted, *batch)  # type: ignore[arg-type]
    assert found is not None and float(found[0].detach()) == pytest.approx(0.0, abs=1e-9)
    offset = 20.0  # mm along every axis, in units of 10 mm
    worse = task.loss(planted, *batch)  # type: ignore[arg-type]
    assert worse is not None and float(worse[0].detach()) == pytest.approx(3 * 2.0**2, rel=1e-3)
    assert worse[1] < found[1]


def test_the_semantic_weight_counts() -> None:
    losses = []
    for weight in (0.0, 1.0, 2.0):
        task = NETWORK_TASKS["guided"](
            TrainingConfig(out=Path(), network="guided", pairs=dataclasses.replace(PAIRS, semantic=weight))
        )
        torch.manual_seed(2)
        net = task.network().train()
        batch = next(iter(task.dataset([PatientSource(anatomy())], [1.0], 0)))
        found = task.loss(net, *batch)
        assert found is not None
        losses.append(float(found[0].detach()))
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)
