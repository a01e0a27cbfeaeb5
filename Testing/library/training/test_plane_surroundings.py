"""What is painted around the body in slices: it lies outside the body, is background, and differs by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pddnet.core.hounsfield import AIR_HU
from pddnet.training import plane_surroundings
from pddnet.training.plane_surroundings import with_surroundings

SHAPE = (4, 40, 60)


def _slices() -> tuple[torch.Tensor, torch.Tensor]:
    """A box of 40 HU in air, which is structure 5, and unknown in its first column."""
    body, structures = torch.zeros(SHAPE), torch.zeros(SHAPE, dtype=torch.long)
    body[:, 10:30, 12:48] = 1
    structures[:, 10:30, 12:48] = 5
    structures[:, 10:30, 12] = -1
    return torch.stack([torch.where(body > 0, 40.0, AIR_HU), body, torch.ones(SHAPE)]), structures


def _only(monkeypatch: pytest.MonkeyPatch, **shares: float) -> None:
    for name in ("WIDER", "TABLE", "SECOND_TABLE", "BLANKET"):
        monkeypatch.setattr(plane_surroundings, name, shares.get(name, 0.0))
    monkeypatch.setattr(plane_surroundings, "MOST_NOISE_HU", shares.get("MOST_NOISE_HU", 0.0))


def test_the_body_and_its_structures_stay_and_what_is_added_is_background() -> None:
    values, structures = _slices()
    for seed in range(12):
        found, named = with_surroundings(values, structures, np.random.default_rng(seed))
        again, _ = with_surroundings(values, structures, np.random.default_rng(seed))
        assert torch.equal(found, again)
        body = found[1] > 0.5
        assert int(body.sum()) == int((values[1] > 0.5).sum())
        assert torch.equal(found[0][body], values[0][values[1] > 0.5])
        assert torch.equal(named[body], structures[values[1] > 0.5])
        assert not named[~body].any()
        assert found[0].min() >= AIR_HU
        assert bool((found[2] == 1).all())
    assert torch.equal(values, _slices()[0])  # the inputs are not changed


def test_a_wider_view_adds_air_on_all_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    _only(monkeypatch, WIDER=1.0)
    values, structures = _slices()
    found, named = with_surroundings(values, structures, np.random.default_rng(1))
    assert found.shape == (3, *named.shape)
    assert named.shape[0] == SHAPE[0]
    assert all(n < m <= 1.7 * n for n, m in zip(SHAPE[1:], named.shape[1:], strict=True))
    assert set(found[0].unique().tolist()) == {AIR_HU, 40.0}


def test_a_table_lies_under_the_body_and_another_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values, structures = _slices()
    rows = []
    for shares in ({"TABLE": 1.0}, {"TABLE": 1.0, "SECOND_TABLE": 1.0}):
        _only(monkeypatch, **shares)
        found, _ = with_surroundings(values, structures, np.random.default_rng(3))
        table = (found[0] > AIR_HU + 1) & (values[1] < 0.5)
        rows.append(table[0].any(1).nonzero()[:, 0])
    assert rows[0].min() >= 26  # the body ends at row 29; the table bends up beside it
    assert rows[1].max() > rows[0].max()


def test_a_blanket_is_a_line_some_pixels_away_with_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    _only(monkeypatch, BLANKET=1.0)
    values, structures = _slices()
    found, _ = with_surroundings(values, structures, np.random.default_rng(2))
    line = (found[0] > AIR_HU) & (values[1] < 0.5)
    low, high = plane_surroundings.BLANKET_HU
    assert found[0][line].unique().numel() == 1
    assert low <= float(found[0][line][0]) <= high
    _, j, i = line.nonzero().T
    away = torch.stack([10 - j, j - 29, 12 - i, i - 47]).amax(0)  # pixels from the box
    assert away.unique().numel() == 1
    assert 0 < int(away[0]) <= 7
    assert 20 < len(j) / SHAPE[0] < 130  # of about 120 pixels around the box
