"""Which places of two scans are said to be the same: of one anatomy exactly, of two by where they lie in structures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from trunk import anatomy

from pddnet import training_data, training_matches
from pddnet.structures import NUMBER
from pddnet.synthesis import SPACING, Sample, Source
from pddnet.training_matches import APART, FARTHEST, NEAREST, WRONG, DrawnMatches, like_places, same_places

TURN = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
SHAPE = (24, 26, 30)


def _points(matrix: Tensor, shift: tuple[float, float, float]) -> Tensor:
    """(3, D, H, W) LPS mm of an anatomy that the voxels of a scan show: an affine map of the voxels' own places."""
    z, y, x = torch.meshgrid(*(SPACING * torch.arange(n, dtype=torch.float32) for n in SHAPE), indexing="ij")
    return torch.einsum("ij,jdhw->idhw", matrix, torch.stack([x, y, z])) + torch.tensor(shift).view(3, 1, 1, 1)


def _sample(points: Tensor, structures: Tensor | None = None, body: Tensor | None = None) -> Sample:
    body = torch.ones(SHAPE) if body is None else body
    structures = torch.zeros(SHAPE, dtype=torch.int64) if structures is None else structures
    return Sample(torch.stack([torch.zeros(SHAPE), body, torch.ones(SHAPE)]), structures, points, structures)


def _boxes(**boxes: tuple[slice, slice, slice]) -> Tensor:
    found = torch.zeros(SHAPE, dtype=torch.int64)
    for name, box in boxes.items():
        found[box] = NUMBER[name]
    return found


def _at(points: Tensor, voxels: np.ndarray) -> np.ndarray:
    return points.numpy()[:, voxels[:, 0], voxels[:, 1], voxels[:, 2]].T


def test_the_same_points_of_one_anatomy() -> None:
    here = _points(torch.diag(torch.tensor([1.0, 1.1, 0.9])), (5.0, 0.0, -7.0))
    there = _points(TURN, (90.0, 3.0, 11.0))
    matches = same_places(_sample(here), _sample(there), np.random.default_rng(0))
    assert 200 < matches.shape[1] <= training_matches.PLACES and matches.dtype == np.int64
    apart = np.linalg.norm(_at(here, matches[0]) - _at(there, matches[1]), axis=1)
    assert apart.max() <= NEAREST
    assert apart.mean() > 0.5  # they are other lattices


def test_half_of_them_lie_in_structures_and_all_within_the_bodies() -> None:
    body = torch.zeros(SHAPE)
    body[4:, :, :20] = 1
    structures = _boxes(liver=(slice(6, 12), slice(3, 9), slice(3, 9)))
    points = _points(torch.eye(3), (0.0, 0.0, 0.0))
    one, other = _sample(points, structures, body), _sample(points, structures)
    mine, fellow = same_places(one, other, np.random.default_rng(0))
    assert np.array_equal(mine, fellow)
    assert (body.numpy()[tuple(mine.T)] == 1).all()
    share = (structures.numpy()[tuple(mine.T)] > 0).mean()
    assert 0.2 < share < 0.5  # of 216 voxels among 11,000
    assert same_places(_sample(points, body=torch.zeros(SHAPE)), other, np.random.default_rng(0)).shape == (2, 0, 3)


def test_what_one_of_two_patients_lacks_has_no_fellow() -> None:
    points = _points(torch.eye(3), (0.0, 0.0, 0.0))
    kidney = (slice(5, 15), slice(5, 15), slice(5, 15))
    matches = same_places(_sample(points, _boxes(kidney=kidney)), _sample(points, _boxes()), np.random.default_rng(0))
    inside = ((matches[0] >= 5) & (matches[0] < 15)).all(1)
    assert matches.shape[1] > 200 and not inside.any()


def test_views_that_share_nothing_have_no_matches() -> None:
    here, there = _points(torch.eye(3), (0.0, 0.0, 0.0)), _points(torch.eye(3), (0.0, 0.0, 500.0))
    assert same_places(_sample(here), _sample(there), np.random.default_rng(0)).shape == (2, 0, 3)


def test_like_places_of_two_anatomies() -> None:
    """A box twice as long, elsewhere: a place a quarter along one lies a quarter along the other."""
    ours = _boxes(liver=(slice(4, 12), slice(3, 11), slice(2, 8)))
    theirs = _boxes(liver=(slice(5, 21), slice(9, 17), slice(10, 22)))
    points = _points(torch.eye(3), (0.0, 0.0, 0.0))
    mine, fellow = like_places(_sample(points, ours), _sample(points, theirs), np.random.default_rng(0))
    assert len(mine) == 8 * 8 * 6
    assert np.abs((mine - [4, 3, 2] + 0.5) / [8, 8, 6] - (fellow - [5, 9, 10] + 0.5) / [16, 8, 12]).max() < 0.09


def test_paired_structures_match_on_their_own_side_and_what_the_view_cuts_does_not() -> None:
    halves = (slice(2, 6), slice(22, 28))
    ours = _boxes(kidney=(slice(5, 12), slice(4, 10), halves[0]), spleen=(slice(18, 24), slice(4, 10), slice(10, 16)))
    ours[5:12, 4:10, halves[1]] = NUMBER["kidney"]
    theirs = _boxes(
        kidney=(slice(9, 16), slice(12, 18), halves[0]), spleen=(slice(10, 16), slice(4, 10), slice(10, 16))
    )
    points = _points(torch.eye(3), (0.0, 0.0, 0.0))
    mine, fellow = like_places(_sample(points, ours), _sample(points, theirs), np.random.default_rng(0))
    assert len(mine) == 7 * 6 * 4  # the right kidney alone: the other has no fellow, the spleen is cut
    assert (mine[:, 2] < 6).all() and (fellow[:, 2] < 6).all()
    assert like_places(_sample(points, ours), _sample(points), np.random.default_rng(0)).shape == (2, 0, 3)


def test_drawn_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "SIZES", ((24,), (24,), (32,)))
    sources = [Source(anatomy()), Source(anatomy())]
    drawn = list(itertools.islice(DrawnMatches(sources, [1.0, 1.0], 4, 0), 6))
    again = next(iter(DrawnMatches(sources, [1.0, 1.0], 4, 3)))
    assert all(torch.equal(one, other) for one, other in zip(drawn[3], again, strict=True))
    for values, structures, annotated, matches, apart, wrong in drawn:
        assert values.shape == (2, 3, 24, 24, 32) and structures.shape == (2, 24, 24, 32)
        assert annotated.shape[0] == 2 and matches.shape[0] == 2 and float(apart) in APART
        length = SPACING * wrong.float().norm(dim=1)
        assert len(length) == WRONG
        assert length.min() >= float(apart) and length.max() <= FARTHEST + SPACING
        for side, places in zip(values, matches, strict=True):
            assert (side[1][tuple(places.T)] > 0.5).all()
    assert len({float(item[4]) for item in drawn}) == 2  # one source twice, and two
    assert any(item[3].shape[1] >= 100 for item in drawn)
