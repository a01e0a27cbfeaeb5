"""Whole volumes by each method: what is right where atlases disagree, what nobody shows, and slabs."""

from __future__ import annotations

import numpy as np
import pytest

from pddnet.fusion.fuse import METHODS, Fused, Warped, fuse
from pddnet.fusion.staple import staple

SHAPE = (9, 8, 10)
SIGMA = (1.0, 1.2, 0.8)


def _organ(shift: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint16)
    labels[3:6, 2:6, 3 + shift : 6 + shift] = 300
    return labels


TARGET = np.where(_organ(0) > 0, 120.0, -50.0).astype(np.float32)


def _atlas(shift: int, *, seen: slice = slice(None)) -> Warped:
    """An atlas whose organ lies `shift` voxels away; its values and features tell so."""
    values = np.full(SHAPE, np.nan, np.float32)
    values[:, :, seen] = np.where(_organ(shift) > 0, 120.0, -50.0)[:, :, seen]
    return Warped(_organ(shift), values, np.full(SHAPE, 0.01 + 0.2 * abs(shift), np.float16))


ONE_RIGHT = [_atlas(2), _atlas(2), _atlas(0)]


@pytest.mark.parametrize("method", ["similarity", "joint"])
def test_the_one_that_looks_like_the_target_beats_two_that_do_not(method: str) -> None:
    assert np.array_equal(fuse(TARGET, ONE_RIGHT, method, SIGMA).labels, _organ(0))


@pytest.mark.parametrize("method", ["majority", "staple"])
def test_votes_without_scans_follow_the_two(method: str) -> None:
    found = fuse(TARGET, ONE_RIGHT, method, SIGMA)
    assert np.array_equal(found.labels, _organ(2))
    assert np.allclose(found.probability[4, 3, [0, 4, 5, 7]], [1, 2 / 3, 1, 2 / 3])
    assert np.allclose(found.disagreement[4, 3, [0, 4, 5, 7]], [0, 1 / 3, 0, 1 / 3])


@pytest.mark.parametrize("method", METHODS)
def test_an_atlas_that_does_not_show_a_place_has_no_vote_there(method: str) -> None:
    """Two atlases end before the organ's last voxels; beyond the third one nobody says anything."""
    atlases = [_atlas(0, seen=slice(0, 9)), _atlas(0, seen=slice(0, 9)), _atlas(0, seen=slice(0, 9))]
    found = fuse(TARGET, atlases, method, SIGMA)
    assert np.array_equal(found.labels, _organ(0))
    assert not found.probability[..., 9].any()
    assert (found.probability[..., :9] == 1).all()


def test_a_cropped_atlas_does_not_outvote_one_that_shows_the_organ() -> None:
    short = Warped(np.zeros(SHAPE, np.uint16), _atlas(0, seen=slice(0, 3)).values, np.zeros(SHAPE, np.float16))
    for method in ("majority", "similarity", "joint"):
        assert np.array_equal(fuse(TARGET, [short, short, _atlas(0)], method, SIGMA).labels, _organ(0))


@pytest.mark.parametrize("method", METHODS)
def test_slabs_change_nothing(method: str) -> None:
    rng = np.random.default_rng(1)
    atlases = [
        Warped(
            rng.integers(0, 4, SHAPE).astype(np.uint16),
            rng.normal(0, 100, SHAPE).astype(np.float16),
            rng.uniform(0, 1, SHAPE).astype(np.float16),
        )
        for _ in range(4)
    ]
    whole, pieces = (fuse(TARGET, atlases, method, SIGMA, slab_values=values) for values in (1 << 25, 1))
    for name in vars(Fused(TARGET, TARGET, TARGET)):
        assert np.allclose(getattr(whole, name), getattr(pieces, name), atol=1e-5)


def test_staple_trusts_those_that_agree_and_keeps_large_numbers() -> None:
    """Three right ones and one that is shifted: the shifted one does not matter; the first and last slices neither."""
    labels = np.stack([_organ(0), _organ(0), _organ(0), _organ(2)])
    labels[:, 0, 0, 0] = 40000
    fused = staple(labels)
    assert np.array_equal(fused, labels[0])
    assert not staple(np.zeros((2, *SHAPE), np.uint16)).any()


def test_an_unknown_method_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot fuse 3 atlases by 'mean'"):
        fuse(TARGET, ONE_RIGHT, "mean", SIGMA)
