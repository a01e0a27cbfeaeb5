"""Patients synthesised from a label map: the same for a seed, and what shows lies where the map says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.geometry import inner_points
from helpers.trunk import MIDDLE, NAMES, anatomy, label_at, oblique_grid, place
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.features.label_table import NUMBER, structure_of
from pddnet.synthesis import patient as synthesis
from pddnet.synthesis import random_organs
from pddnet.synthesis.anatomy import Anatomy
from pddnet.synthesis.noise import Noise
from pddnet.synthesis.patient import PatientSource, Sample, synthesise
from pddnet.synthesis.pose import random_pose
from pddnet.synthesis.random_organs import RandomOrgans
from pddnet.synthesis.source import Frame, continuous_indices
from pddnet.synthesis.tissue import MATERIAL_HU
from pddnet.tensor.convert import to_tensor

SHAPE = (24, 32, 32)


@pytest.fixture(scope="module")
def source() -> PatientSource:
    return PatientSource(anatomy())


@pytest.fixture
def unposed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """Scans whose voxels lie exactly around MIDDLE + offset, axes along LPS; the call returns their points."""

    def points(shape: tuple[int, int, int], spacing: float = 4.0, offset: tuple = (0, 0, 0)) -> Tensor:
        centre = MIDDLE + offset
        grid = Grid(shape, np.full(3, spacing), centre - (np.array(shape[::-1]) - 1) / 2 * spacing, np.eye(3))
        where = to_tensor(np.moveaxis(grid.points(), -1, 0))
        monkeypatch.setattr(synthesis, "random_pose", lambda frame, size, rng, noise: where)
        return where

    return points


def _same(a: Sample, b: Sample) -> bool:
    return torch.equal(a.values, b.values) and torch.equal(a.structures, b.structures) and torch.equal(a.codes, b.codes)


def test_a_seed_gives_the_same_voxels_and_another_seed_others(source: PatientSource) -> None:
    torch.manual_seed(1)
    first = source.draw(SHAPE, 5)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    assert _same(first, source.draw(SHAPE, 5))
    assert _same(first, PatientSource(anatomy()).draw(SHAPE, 5))
    assert torch.equal(torch.random.get_rng_state(), state)
    other = source.draw(SHAPE, 6)
    assert (first.structures != other.structures).float().mean() > 0.1
    assert (first.values[0] != other.values[0]).float().mean() > 0.3
    assert not torch.equal(first.values[2], torch.zeros(SHAPE))


def test_the_code_at_points_of_an_oblique_map(source: PatientSource) -> None:
    points = inner_points(oblique_grid(), 20000, 1.0)
    expected = label_at(points, edge=5.0)
    codes = source.codes_at(to_tensor(points.T)).numpy()
    labels = np.array([layer.label for layer in source.anatomy.layers])[codes]
    for value in (2, 3, 5, 6, 9):
        assert (expected == value).sum() > 3
        assert set(labels[expected == value]) == {NAMES[value]}
    assert set(labels[expected == 0]) == {""}
    outside = oblique_grid().index_to_point(np.array([[-1.0, 20, 20], [20, 60.2, 20], [20, 20, 46.1]]))
    assert source.codes_at(to_tensor(outside.T)).tolist() == [0, 0, 0]


def test_the_nearest_voxel_counts(source: PatientSource) -> None:
    rng, grid, codes = np.random.default_rng(3), source.anatomy.grid, source.anatomy.codes
    index = rng.integers(0, grid.size, (4000, 3))
    points = grid.index_to_point(index + rng.uniform(-0.45, 0.45, index.shape))
    assert np.array_equal(source.codes_at(to_tensor(points.T)).numpy(), codes[index[:, 2], index[:, 1], index[:, 0]])


def test_indices_run_along_the_array_axes() -> None:
    grid = oblique_grid()
    point = grid.index_to_point(np.array([3.25, 17.5, 40.0]))
    assert np.allclose(continuous_indices(to_tensor(point), grid), [40.0, 17.5, 3.25], atol=1e-3)


def test_what_the_map_shows_ends_along_the_body_only(source: PatientSource) -> None:
    grid = source.anatomy.grid
    middle = (grid.size - 1) / 2
    steps = [(0, 0, -middle[2] + 0.2), (0, 0, middle[2] - 0.2), (0, 0, -middle[2] - 0.2), (0, 0, middle[2] + 0.2)]
    aside = [(400, 0, 0), (-400, 0, 0), (0, 400, 0), (0, -400, 0)]
    points = grid.index_to_point(middle + np.array(steps + aside))
    assert source.in_view(to_tensor(points.T)).tolist() == [1, 1, 0, 0, 1, 1, 1, 1]


def test_the_height_above_the_wall(source: PatientSource) -> None:
    left = place(3) + [24.0, 0, 0]  # the spleen's leftmost point, nearest to the wall there
    points = left + np.array([[-10.0, 0, 0], [8.0, 0, 0], [28.0, 0, 0], [48.0, 0, 0]])
    heights = source.height_above_wall(to_tensor(points.T)).numpy()
    assert np.allclose(heights, [-18, 0, 20, 40], atol=8.0)  # over a ball it is rounded


def test_labels_and_values_where_the_pose_is_known(source: PatientSource, unposed: Callable[..., Tensor]) -> None:
    shape = (44, 44, 48)
    expected = label_at(np.moveaxis(unposed(shape).numpy(), 0, -1), edge=5.0)
    whole = 0
    for seed in range(1, 6):
        drawn = synthesise(source, shape, seed)
        hu = drawn.values[0].numpy()
        shown = drawn.values[1].numpy() > 0
        assert hu[~shown].max() == hu[~shown].min() == -1000
        assert not drawn.structures.numpy()[~shown].any()
        for value in (2, 6, 9):  # those that no patient lacks
            here = (expected == value) & shown
            assert here.sum() > 3
            assert (drawn.structures.numpy()[here] == NUMBER[structure_of(NAMES[value])]).all()
            assert {source.anatomy.layers[c].label for c in np.unique(drawn.codes.numpy()[here])} == {NAMES[value]}
        lung = MATERIAL_HU["lung"]
        assert abs(np.median(hu[(expected == 9) & shown]) - lung[0]) < 4 * lung[3]
        assert not drawn.structures.numpy()[expected == 0].any()
        whole += bool(shown[np.isin(expected, (2, 6, 9))].all())
    assert whole >= 3  # the others were cut by a round field of view


def test_arms_are_body_beside_the_trunk_and_no_structure(
    source: PatientSource, unposed: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (12, 32, 144)
    beside = (unposed(shape)[0] - float(MIDDLE[0])).abs() > 150
    armless, with_arms = [], []
    for share, found in ((0.0, armless), (1.0, with_arms)):
        monkeypatch.setattr(synthesis, "ARMS", share)
        found += [synthesise(source, shape, seed) for seed in range(4)]
    for bare, armed in zip(armless, with_arms, strict=True):
        assert not bool((bare.values[1] > 0)[beside].any())
        assert not bool(armed.structures[beside].any()) and not bool(armed.codes[beside].any())
    sides = [armed.values[1].bool() & beside for armed in with_arms if bool((armed.values[1].bool() & beside).any())]
    assert len(sides) >= 2  # the others were cut by a round field of view
    assert max(int(side.sum()) for side in sides) * 4**2 / shape[0] > 2 * 3.14 * 20**2  # mm^2 a slice


def test_a_sample_is_consistent(source: PatientSource) -> None:
    for seed in range(12):
        drawn = source.draw(SHAPE, seed)
        hu, body, view = drawn.values
        assert drawn.values.shape == (3, *SHAPE) and drawn.structures.dtype == torch.int64
        assert set(torch.cat([body, view]).unique().tolist()) <= {0.0, 1.0}
        assert (body <= view).all()
        assert (drawn.codes[body == 0] == 0).all() and (drawn.structures[body == 0] == 0).all()
        assert float(hu.min()) >= -1000 and float(hu.max()) <= 1000
        assert (hu[body == 0] == -1000).all()
        assert torch.equal(
            drawn.structures, torch.where(drawn.structures > 0, source.structure_of_code[drawn.codes], 0)
        )
        assert set(drawn.structures.unique().tolist()) <= {0, *source.annotated}


def test_beyond_the_map_nothing_is_in_view(source: PatientSource, unposed: Callable[..., Tensor]) -> None:
    points = unposed((30, 20, 20), 8.0, (0, 0, 90))
    level = continuous_indices(points, source.anatomy.grid)[0]
    last = len(source.codes) - 1
    drawn = synthesise(source, (30, 20, 20), 4)
    beyond = (level < 0) | (level > last)
    assert beyond.float().mean() > 0.3
    assert (drawn.values[1:, beyond] == 0).all()
    assert drawn.values[2][~beyond].mean() > 0.6


def test_a_missing_organ_is_gone_from_values_and_labels(
    source: PatientSource, unposed: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lung, because nothing around it is as dark."""
    monkeypatch.setattr(random_organs, "MAY_MISS", ("lung",))
    monkeypatch.setattr(synthesis, "random_lesions", lambda points, rng: torch.zeros(points.shape[1:]))
    shape, number = (12, 12, 12), NUMBER["lung"]
    points = unposed(shape, 3.0, tuple(place(9) - MIDDLE))
    core = torch.as_tensor(label_at(np.moveaxis(points.numpy(), 0, -1), edge=6.0) == 9)
    assert core.sum() > 300
    missing = []
    for seed in range(60):
        drawn = synthesise(source, shape, seed)
        seen = core & (drawn.values[1] > 0)
        there = drawn.structures[seen] == number
        labels = {source.anatomy.layers[code].label for code in drawn.codes[core].unique()}
        if not seen.any():
            continue
        assert there.all() or not there.any()
        missing.append(not there.any())
        assert (NAMES[9] in labels) == (not missing[-1])
        assert (drawn.values[0][seen].mean() < -600) == (not missing[-1])
    assert 1 <= sum(missing) <= 12  # 6 in 100


def test_all_voxels_of_a_missing_organ_are_gone(source: PatientSource) -> None:
    class Always:
        def random(self) -> float:
            return 0.0

    organs = RandomOrgans.draw(source, Always())
    for code, layer in enumerate(source.anatomy.layers):
        gone = "kidney" in layer.label or "spleen" in layer.label
        assert bool(organs.missing[code]) == gone
        assert (organs.structure_of_code[code] == 0) == (gone or layer.structure == 0)
        assert (organs.material_of_code[code] == -1) == (gone or layer.material == "")
    assert source.structure_of_code.sum() > organs.structure_of_code.sum()  # and the source keeps its own


@pytest.mark.parametrize("seed", [10, 22])
def test_finer_voxels_show_the_same_patient(source: PatientSource, seed: int) -> None:
    coarse = synthesise(source, (20, 28, 30), seed, 5.0)
    fine = synthesise(source, (40, 56, 60), seed, 2.5)
    assert coarse.structures.bool().float().mean() > 0.1
    for one, two in ((coarse.structures, fine.structures), (coarse.values[2], fine.values[2])):
        corners = [two[k::2, j::2, i::2] for k in (0, 1) for j in (0, 1) for i in (0, 1)]
        assert np.mean([(one == corner).float().mean() for corner in corners]) > 0.95


def test_views_are_drawn_around_the_abdomen_and_along_the_body() -> None:
    middles = np.array([[0.0, 0, z] for z in range(-200, 201, 10)])
    frame = Frame.around(middles, np.array([50.0, 70.0]))
    assert frame.abdomen == 60.0
    assert np.allclose(frame.centre, 0)
    assert np.allclose(frame.levels, (-188, 188))
    rest = Frame.around(middles, np.array([]))
    assert rest.abdomen == 0.0
    heights = []
    for seed in range(60):
        points = random_pose(frame, (8, 8, 8), np.random.default_rng(seed), Noise(seed, torch.device("cpu"), 10.0))
        heights.append(float(points[2].mean()))
    assert abs(np.median(heights) - 45) < 40
    assert np.std(heights) > 40
    assert all(-330 < height < 330 for height in heights)


def test_the_pose_keeps_the_directions_of_the_body() -> None:
    frame = Frame.around(np.array([[5.0, -100, z] for z in range(-200, 201, 10)]), np.array([]))
    for seed in range(20):
        noise = Noise(seed, torch.device("cpu"), 10.0)
        points = random_pose(frame, (20, 22, 24), np.random.default_rng(seed), noise)
        x, y, z = (np.gradient(points[c].numpy(), 10.0, axis=2 - c) for c in range(3))
        for slope in (x, y, z):  # mm of the anatomy for a mm of the scan
            assert 0.6 < np.mean(slope) < 1.6


def test_a_map_of_next_to_nothing_is_refused() -> None:
    array = np.zeros((8, 8, 8), np.uint8)
    array[3, 3, 3] = 1
    speck = Anatomy.of("speck", Image(array, Grid((8, 8, 8), (4.0,) * 3, (0, 0, 0), np.eye(3))), {1: "liver"})
    with pytest.raises(InputError, match="speck"):
        PatientSource(speck)


def test_noise_of_unit_variance_and_its_own_length() -> None:
    noise = Noise(3, torch.device("cpu"), 2.0)
    white = noise.white(40, 40, 40)
    assert abs(float(white.std()) - 1) < 0.02 and abs(float(white.mean())) < 0.02
    fields = torch.stack([noise.smooth((20, 30, 40), 16.0, 2) for _ in range(8)])
    assert fields.shape == (8, 2, 20, 30, 40)
    assert 0.5 < float(fields.std()) < 1.5
    assert float((fields[..., 1:] - fields[..., :-1]).std()) < 0.4 * float(fields.std())
    assert abs(float((fields[:, 0] * fields[:, 1]).mean())) < 0.2
