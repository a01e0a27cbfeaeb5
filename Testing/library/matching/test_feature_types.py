"""Feature types: one entry in a table is enough for a made-up feature to be computed, warped and matched."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.trunk import MIDDLE, ct, oblique_grid
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.memo import Memo
from pddnet.core.presets import PRESETS, Preset, Stage
from pddnet.matching import deformation, feature_maps, feature_types
from pddnet.matching.feature_maps import describe
from pddnet.matching.feature_types import (
    CARRIED,
    COARSE,
    CarriedFeatures,
    CoarseFeatures,
    DenseFeatures,
    FeatureSettings,
    ScanPair,
    append_features,
)
from pddnet.pipeline import register
from pddnet.tensor.convert import to_tensor
from pddnet.tensor.execution import ALONE, Work
from pddnet.tensor.scan import Scan, prepare

CPU = torch.device("cpu")
SHIFT = np.array([9.0, -14.0, 11.0])  # LPS mm: fixed to moving
STAGE = Stage(20.0, 24.0, 7, 8.0, 0.005, iterations=10)
PLAIN = dataclasses.replace(PRESETS["fast"], stages=(STAGE,), semantic=0.0)
WITHOUT_MIND = dataclasses.replace(PLAIN, mind=False)
CHANNELS = 4


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    """The same trunk twice, in the same place: what they show says that nothing moved."""
    grid = oblique_grid((34, 44, 46))
    return ct(grid, 1), ct(grid, 2)


def _waves(points: np.ndarray) -> np.ndarray:
    """(CHANNELS, ...) a pattern at LPS points (..., 3) in which every place within 24 mm differs."""
    x, y, z = np.moveaxis((points - MIDDLE) / 15.0, -1, 0)
    return np.stack([np.sin(x + 0.4 * y), np.cos(y - 0.3 * z), np.sin(z + 0.5 * x), np.cos(x - y + z)])


def _made_up(scans: ScanPair, settings: FeatureSettings, work: Work, kept: Memo) -> ScanPair:
    """A pattern that lies SHIFT away in the moving scan, whatever the scans show."""

    def appended(scan: Scan, shift: np.ndarray) -> Scan:
        pattern = to_tensor(3.0 * _waves(scan.grid.points() - shift))
        carried = scan.features_at(scan.grid, Affine.identity())
        return dataclasses.replace(scan, features=torch.cat([carried, pattern]), features_grid=scan.grid)

    work.tick()
    return appended(scans[0], np.zeros(3)), appended(scans[1], SHIFT)


MADE_UP = CarriedFeatures(used=lambda settings: not settings.preset.mind, append=_made_up, stage="waves", share=1.0)


def _moved(pair: tuple[Image, Image], preset: Preset) -> tuple[np.ndarray, dict[str, float]]:
    """(N, 3) LPS mm by which points of the trunk are moved, and the seconds of the stages."""
    points = MIDDLE + np.random.default_rng(1).uniform(-45, 45, (300, 3))
    result = register(*pair, preset, align=False, device="cpu")
    return result.field.transform_points(points) - points, result.seconds


def test_a_carried_feature_is_matched_once_it_is_in_the_table(
    pair: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, stages = _moved(pair, WITHOUT_MIND)
    assert np.linalg.norm(before, axis=1).mean() < 3.0
    assert "waves" not in stages
    monkeypatch.setattr(feature_types, "CARRIED", (*CARRIED, MADE_UP))
    monkeypatch.setattr(deformation, "resemblance", lambda *_: 0.0)  # else what contradicts the scans is left out
    moved, stages = _moved(pair, WITHOUT_MIND)
    assert np.linalg.norm(moved - SHIFT, axis=1).mean() < 0.35 * np.linalg.norm(SHIFT)
    assert list(stages) == ["prepare", "waves", "align", "match 1", "finish"]
    assert _moved(pair, PLAIN)[1].keys().isdisjoint({"waves"})  # a run that does not use it


def test_carried_features_follow_each_other_and_name_their_stages(
    pair: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = prepare(pair[0], 4.0, CPU), prepare(pair[1], 4.0, CPU)
    asked: list[tuple[int, int]] = []

    def find_shift(given: ScanPair, first_channel: int, settings: FeatureSettings) -> np.ndarray:
        asked.append((first_channel, len(given[0].features)))
        return SHIFT

    telling = dataclasses.replace(MADE_UP, stage=None, find_shift=find_shift)
    monkeypatch.setattr(feature_types, "CARRIED", (MADE_UP, telling, MADE_UP))
    stages: list[str] = []
    found = append_features(scans, FeatureSettings(WITHOUT_MIND), ALONE, stages.append, Memo())
    assert stages == ["waves", "waves"]
    assert [len(scan.features) for scan in found.scans] == [3 * CHANNELS] * 2
    assert found.structures is not None
    assert [len(scan.features) for scan in found.structures] == [2 * CHANNELS] * 2  # up to those that tell structures
    assert not asked  # only the alignment asks
    assert [find() is SHIFT for find in found.find_shifts] == [True]
    assert asked == [(CHANNELS, 2 * CHANNELS)]
    assert len(scans[0].features) == 0


def test_a_dense_feature_stands_beside_mind_and_weighs_by_its_channels(pair: tuple[Image, Image]) -> None:
    scan = prepare(pair[0], 4.0, CPU)
    view = scan.warped(scan.box.isotropic(4.0), Affine.identity())
    none = view.values.new_zeros(0, *view.grid.shape)
    halves = DenseFeatures(used=lambda preset: True, describe=lambda scan: 0.5 * scan.values[1:], reach=0)
    mind = describe(view, none, 4.0).features
    both = describe(view, none, 4.0, (feature_types.MIND, halves)).features
    assert mind.shape[0] == 12
    assert torch.allclose(both[:12], mind * (14 / 12) ** 0.5)
    assert torch.allclose(both[12:], 0.5 * view.values[1:] * (14 / 12) ** 0.5)
    assert torch.allclose(describe(view, none, 4.0, ()).features, mind)  # never without any


def test_the_first_coarse_feature_that_a_preset_uses_describes_the_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    multimodal = PRESETS["multimodal"]
    assert [feature_types.coarse_features(preset).local for preset in (PLAIN, multimodal)] == [True, False]

    def intensity(values: Tensor) -> Tensor:
        return values[:1]

    made_up = CoarseFeatures(used=lambda preset: preset.name == "multimodal", local=True, describe=intensity)
    monkeypatch.setattr(feature_types, "COARSE", (made_up, *COARSE))
    assert feature_types.coarse_features(multimodal).describe is intensity
    assert feature_types.coarse_features(PLAIN).describe is COARSE[0].describe


def test_the_reach_of_every_dense_feature_is_computed_around_the_scans(
    pair: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = prepare(pair[0], 4.0, CPU), prepare(pair[1], 4.0, CPU)
    lattice: Grid = scans[0].grid.isotropic(4.0, 200.0)
    before = feature_maps.reached_part(lattice, 8.0, *scans, Affine.identity(), 0.0)
    far = dataclasses.replace(feature_types.MIND, reach=11)
    monkeypatch.setattr(feature_maps, "DENSE", (far,))
    after = feature_maps.reached_part(lattice, 8.0, *scans, Affine.identity(), 0.0)
    assert (after.size - before.size >= 2 * (11 - 3) - 2).all()
