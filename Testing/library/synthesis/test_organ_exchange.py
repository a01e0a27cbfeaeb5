"""Organ exchange: what one anatomy takes over from another: centres and sides in LPS mm, arrangement, whole organs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.geometry import rotation
from helpers.trunk import MIDDLE, oblique_grid
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.features.label_table import NUMBER, structure_of
from pddnet.synthesis import patient as synthesis
from pddnet.synthesis import random_organs
from pddnet.synthesis.anatomy import Anatomy
from pddnet.synthesis.organ_exchange import (
    EXCHANGEABLE,
    MOST_SHIFT_MM,
    STAY_WEIGHT,
    SidedStructure,
    StructureKey,
    find_structures,
    rearrange_structures,
)
from pddnet.synthesis.patient import PatientSource
from pddnet.synthesis.random_organs import RandomOrgans
from pddnet.synthesis.tissue import MATERIAL_INDEX
from pddnet.tensor.convert import to_tensor

pytestmark = pytest.mark.slow

Place = tuple[tuple[float, float, float], tuple[float, float, float]]  # middle, half axes; mm along LPS
ORGANS: dict[str, list[Place]] = {
    "liver": [((-38.0, -12.0, 6.0), (34.0, 28.0, 30.0))],
    "spleen": [((48.0, 5.0, 16.0), (18.0, 20.0, 24.0))],
    "kidney_left": [((34.0, 48.0, -24.0), (16.0, 14.0, 20.0))],
    "right kidney": [((-34.0, 46.0, -30.0), (15.0, 14.0, 18.0))],
    "stomach": [((30.0, -40.0, 10.0), (18.0, 18.0, 18.0))],
    "pancreas": [((2.0, -10.0, -22.0), (16.0, 12.0, 12.0))],
    "vertebrae_L1": [((0.0, 52.0, -28.0), (15.0, 15.0, 15.0))],
    "vertebrae_L3": [((0.0, 50.0, -64.0), (14.0, 14.0, 14.0))],
    "lungs": [((-32.0, 0.0, 62.0), (16.0, 16.0, 16.0)), ((33.0, 0.0, 62.0), (17.0, 17.0, 17.0))],
    "bladder": [((3.0, -35.0, -72.0), (14.0, 14.0, 14.0))],
}
NAMES = dict(enumerate(ORGANS, 2))
AWAY = np.array([90.0, 260.0, 900.0])  # mm, where the other body lies: nothing may depend on it


def _other_grid() -> Grid:
    """About MIDDLE + AWAY, with other axes reversed and in another order than those of the first body."""
    shape, spacing = (54, 58, 52), np.array([4.0, 4.2, 3.2])
    direction = (rotation(-7, 9, 5) @ np.diag([1.0, -1.0, 1.0]))[:, [1, 2, 0]]
    return Grid(shape, spacing, MIDDLE + AWAY - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)


def _within(points: np.ndarray, middle: np.ndarray, half: tuple[float, float, float], edge: float = 0.0) -> np.ndarray:
    """(...) bool: LPS points (..., 3) at least `edge` mm (negative: at most so far outside) within an ellipsoid."""
    return np.linalg.norm((points - middle) / (np.array(half) + -edge), axis=-1) < 1


def _body(organs: dict[str, list[Place]], grid: Grid, middle: np.ndarray) -> PatientSource:
    array = np.zeros(grid.shape, np.uint8)
    for label, name in NAMES.items():
        for where, half in organs.get(name, ()):
            array[_within(grid.points(), middle + where, half)] = label
    return PatientSource(Anatomy.of("body", Image(array, grid), NAMES))


def _moved(*shifts: tuple[str, tuple[float, float, float]]) -> dict[str, list[Place]]:
    """ORGANS with some of them elsewhere."""
    by = dict(shifts)
    return {n: [(tuple(np.add(at, by.get(n, (0, 0, 0)))), half) for at, half in o] for n, o in ORGANS.items()}


def _key(name: str, side: int = 0) -> StructureKey:
    return NUMBER[structure_of(name)], side


@pytest.fixture(scope="module")
def own() -> PatientSource:
    return _body(ORGANS, oblique_grid((46, 60, 66)), MIDDLE)


@pytest.fixture(scope="module")
def scan() -> Tensor:
    """(3, D, H, W) LPS mm of voxels of 4 mm around MIDDLE."""
    shape = (46, 36, 42)
    grid = Grid(shape, (4.0,) * 3, MIDDLE - (np.array(shape[::-1]) - 1) * 2.0, np.eye(3))
    return to_tensor(np.moveaxis(grid.points(), -1, 0))


def _array(points: Tensor) -> np.ndarray:
    """(3, ...) -> (..., 3), float64."""
    return np.moveaxis(points.double().numpy(), 0, -1)


@pytest.mark.parametrize("other", [False, True])
def test_centres_sides_and_radius(own: PatientSource, other: bool) -> None:
    found = _body(ORGANS, _other_grid(), MIDDLE + AWAY).structures if other else find_structures(own.anatomy)
    middle = MIDDLE + AWAY if other else MIDDLE
    sides = {"kidney_left": 1, "right kidney": -1}
    assert found.keys() == {_key(name, sides.get(name, 0)) for name in ORGANS}  # lungs of one label are on both sides
    for name, places in ORGANS.items():
        if name != "lungs":
            structure = found[_key(name, sides.get(name, 0))]
            assert np.allclose(structure.centre, middle + places[0][0], atol=2.5), name
            assert max(places[0][1]) - 4 < structure.radius_mm < max(places[0][1]) + 14, name
    assert np.allclose(found[_key("lungs")].centre, middle + [3.0, 0, 62], atol=3.0)


def test_a_structure_has_the_codes_of_its_layers(own: PatientSource) -> None:
    for (number, side), structure in own.structures.items():
        layers = [own.anatomy.layers[code] for code in structure.codes]
        assert {layer.structure for layer in layers} == {number}
        if number == NUMBER["kidney"]:
            assert [layer.label for layer in layers] == 2 * ["kidney_left" if side > 0 else "right kidney"]
            assert [layer.material for layer in layers] == ["kidney", "medulla"]


def test_only_what_is_paired_has_a_side() -> None:
    """A spleen is left of the middle in everyone; a rib is right or left."""
    grid = Grid((20, 20, 40), (4.0,) * 3, MIDDLE, np.eye(3))
    array = np.zeros(grid.shape, np.uint8)
    for label, i in ((1, 36), (2, 2), (3, 36), (4, 20)):
        array[4 * label : 4 * label + 3, 4:9, i - 2 : i + 3] = label
    names = {1: "spleen", 2: "rib_right_7", 3: "rib_left_7", 4: "vertebrae_T9"}
    found = find_structures(Anatomy.of("x", Image(array, grid), names))
    assert found.keys() == {_key("spleen"), _key("rib", -1), _key("rib", 1), _key("vertebrae_T9")}


def test_the_largest_of_a_structures_codes_comes_first() -> None:
    """An exchanged organ is named as that: a heart, not the appendage that has the lower number."""
    grid = Grid((30, 30, 30), (4.0,) * 3, MIDDLE, np.eye(3))
    array = np.zeros(grid.shape, np.uint8)
    array[4:10, 4:10, 4:10], array[10:26, 4:26, 4:26] = 1, 2
    found = Anatomy.of("x", Image(array, grid), {1: "atrial_appendage_left", 2: "heart"})
    structure = find_structures(found)[_key("heart")]
    assert [found.layers[code].label for code in structure.codes][:2] == ["heart", "heart"]
    assert {found.layers[code].label for code in structure.codes} == {"heart", "atrial_appendage_left"}
    assert len(structure.codes) == 4


def _ending(below: float) -> PatientSource:
    """The body in a map, stored from head to foot, that ends `below` mm under the liver's top."""
    shape, spacing = (50, 50, 56), np.array([3.2, 4.0, 3.0])
    start = MIDDLE + [-88.0, 98.0, 36.0 - below]
    return _body(ORGANS, Grid(shape, spacing, start, np.diag([1.0, -1.0, -1.0])), MIDDLE)


def test_what_a_maps_end_cuts_is_not_lent(own: PatientSource) -> None:
    def cut(source: PatientSource) -> set[StructureKey]:
        return {key for key, structure in source.structures.items() if not structure.complete}

    assert cut(own) == set()
    assert cut(_ending(2.0)) == {_key("spleen")}  # the liver is just touched
    lender = _ending(18.0)
    assert cut(lender) == {_key("liver"), _key("spleen"), _key("stomach")}
    patient = RandomOrgans.draw(own, Healthy())
    taken = [patient.exchange_one(lender, Fixed(n)).exchanges[0].own for n in range(4)]
    names = [own.anatomy.layers[structure.codes[0]].label for structure in taken]
    assert names == ["right kidney", "kidney_left", "pancreas", "bladder"]


def _far_apart(
    moved: np.ndarray,
) -> tuple[dict[StructureKey, SidedStructure], dict[StructureKey, SidedStructure], np.ndarray]:
    """Seven parts 300 mm from each other; in the other anatomy, elsewhere as a whole, the first is moved."""
    here = np.array([[300.0 * n, 20.0 * n, -300.0 * n] for n in range(7)])
    there = here + AWAY
    there[0] += moved
    make = [{(n + 1, 0): SidedStructure((n,), middle, 30.0) for n, middle in enumerate(m)} for m in (here, there)]
    return (*make, here)


def _lattice(middle: np.ndarray, spacing: float = 3.0, size: int = 31) -> Tensor:
    grid = Grid((size,) * 3, (spacing,) * 3, middle - spacing * (size - 1) / 2, np.eye(3))
    return to_tensor(np.moveaxis(grid.points(), -1, 0))


@pytest.mark.parametrize("share", [1.0, 0.4, -0.6])
def test_how_far_a_lone_structure_moves(share: float) -> None:
    """At its new place everything but itself and staying weighs nothing: 1 / (1 + STAY_WEIGHT) of the way."""
    moved = np.array([24.0, -18.0, 12.0])
    own, other, here = _far_apart(moved)
    points = _lattice(here[0] + share * moved)
    found = rearrange_structures(points, own, other, share)
    middle = found[:, 15, 15, 15].double().numpy()
    assert np.allclose(middle, here[0] + share * moved * (1 - 1 / (1 + STAY_WEIGHT)), atol=0.5)
    assert points[:, 15, 15, 15].tolist() == pytest.approx(list(here[0] + share * moved))  # the input stays


def test_no_structure_moves_farther_than_the_farthest() -> None:
    moved = np.array([0.0, 3 * MOST_SHIFT_MM, 0.0])
    own, other, here = _far_apart(moved)
    found = rearrange_structures(_lattice(here[0] + [0, MOST_SHIFT_MM, 0]), own, other, 1.0)
    assert np.allclose(found[:, 15, 15, 15], here[0] + [0, MOST_SHIFT_MM * (1 - 1 / (1 + STAY_WEIGHT)), 0], atol=0.6)


def test_far_from_what_moves_nothing_does() -> None:
    own, other, here = _far_apart(np.array([30.0, 0, 0]))
    for place in (here[0] - [250, 0, 0], here[3], here[6] + [0, 250, 0]):
        points = _lattice(place, size=9)
        assert float((rearrange_structures(points, own, other, 1.0) - points).abs().max()) < 0.05


def test_too_little_in_common_or_no_share_changes_nothing() -> None:
    own, other, here = _far_apart(np.array([30.0, 0, 0]))
    points = _lattice(here[0])
    assert torch.equal(rearrange_structures(points, own, other, 0.0), points)
    few = {key: structure for key, structure in other.items() if key[0] <= 5}
    assert torch.equal(rearrange_structures(points, own, few, 1.0), points)
    sided = {(number, 1): structure for (number, _), structure in other.items()}
    assert torch.equal(rearrange_structures(points, own, sided, 1.0), points)
    cut = {key: dataclasses.replace(structure, complete=key[0] > 2) for key, structure in other.items()}
    assert torch.equal(rearrange_structures(points, own, cut, 1.0), points)
    assert torch.equal(rearrange_structures(points, cut, other, 1.0), points)
    enough = {key: structure for key, structure in other.items() if key[0] <= 6}
    assert not torch.equal(rearrange_structures(points, own, enough, 1.0), points)


UP, DOWN = (4.0, -3.0, 20.0), (-5.0, 6.0, -20.0)
SHIFTED = dict.fromkeys(("liver", "spleen", "stomach"), UP) | dict.fromkeys(("bladder", "vertebrae_L3"), DOWN)


def _middle_of(name: str, source: PatientSource, codes: Tensor, scan: Tensor) -> np.ndarray:
    """(3,) LPS mm of where an organ is seen."""
    here = torch.isin(codes, torch.tensor(source.structures[_key(name)].codes))
    return _array(scan)[here.numpy()].mean(0)


@pytest.mark.slow
def test_structures_come_nearer_to_where_the_other_anatomy_has_them(own: PatientSource, scan: Tensor) -> None:
    other = _body(_moved(*SHIFTED.items()), _other_grid(), MIDDLE + AWAY)
    assert own.structures.keys() == other.structures.keys()
    for share in (1.0, 0.5, -0.5):
        points = rearrange_structures(scan, own.structures, other.structures, share)
        codes = own.codes_at(points)
        for name, shift in SHIFTED.items():
            moved = _middle_of(name, own, codes, scan) - (MIDDLE + ORGANS[name][0][0])
            reached = moved @ np.array(shift) / np.dot(shift, shift)
            # neighbours that stay, or go the other way, hold it
            assert 0.2 < reached / share < 1.0, (name, share)
            assert np.linalg.norm(moved - reached * np.array(shift)) < 1.5, (name, share)
        field = points - scan
        slopes = [(field.diff(dim=dim) / 4.0).abs().max() for dim in (1, 2, 3)]
        assert 0.02 < float(max(slopes)) < 0.8  # smooth enough not to fold
    same = _body(ORGANS, _other_grid(), MIDDLE + AWAY)
    assert (
        float((rearrange_structures(scan, own.structures, same.structures, 1.0) - scan).abs().max()) < 3.0
    )  # as exact as the middles


class Fixed:
    """A generator that takes one entry of a list, and puts the organ where and as large as told."""

    def __init__(self, entry: int, scale: float = 1.0, aside: tuple[float, float, float] = (0, 0, 0)) -> None:
        self.entry, self.scale, self.aside = entry, scale, np.array(aside, float)

    def integers(self, *ends: int) -> int:
        return self.entry

    def normal(self, mean: float, deviation: float, size: int | None = None) -> float | np.ndarray:
        return float(np.log(self.scale)) if size is None else self.aside


class Healthy:
    """A generator that lets nothing be missing, and nothing be exchanged."""

    def random(self) -> float:
        return 1.0

    def integers(self, *ends: int) -> int:
        return 0


def _with(own: PatientSource, other: PatientSource, key: StructureKey, *how: object) -> RandomOrgans:
    common = [k for k in sorted(own.structures.keys() & other.structures.keys()) if k[0] in EXCHANGEABLE]
    return RandomOrgans.draw(own, Healthy()).exchange_one(other, Fixed(common.index(key), *how))


def _lender(
    name: str, half: tuple[float, float, float], shift: tuple[float, float, float] = (0, 0, 0)
) -> PatientSource:
    """The other body, in which an organ has another shape and place."""
    organs = ORGANS | {name: [(tuple(np.add(ORGANS[name][0][0], shift)), half)]}
    return _body(organs, _other_grid(), MIDDLE + AWAY)


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_an_exchanged_organ_has_the_others_shape_at_its_own_place(
    own: PatientSource, scan: Tensor, scale: float
) -> None:
    half, aside = (16.0, 22.0, 34.0), (6.0, -8.0, 4.0)
    other = _lender("liver", half, (-5.0, 4.0, 9.0))
    patient = _with(own, other, _key("liver"), scale, aside)
    codes = patient.codes_at(scan)
    before = own.codes_at(scan)
    number, points = len(own.anatomy.layers), _array(scan)
    middle = MIDDLE + ORGANS["liver"][0][0] - scale * np.array(aside)
    size = tuple(scale * np.array(half))
    foreign = (codes >= number).numpy()
    assert foreign[_within(points, middle, size, 5.0)].all()
    assert not foreign[~_within(points, middle, size, -5.0)].any()
    assert {other.anatomy.layers[code - number].label for code in codes[codes >= number].tolist()} == {"liver"}
    liver = torch.tensor(own.structures[_key("liver")].codes)
    assert torch.isin(before, liver).sum() > 1000
    assert not torch.isin(codes, liver).any()  # the own one is gone,
    gone = torch.isin(before, liver) & (codes < number)
    assert gone.sum() > 300 and not codes[gone].any()  # and what remains of its place shows what surrounds it
    rest = ~foreign & ~torch.isin(before, liver).numpy()
    assert torch.equal(codes[rest], before[rest])
    assert torch.equal(own.codes_at(scan), before)


def test_bones_stay_where_an_exchanged_organ_would_grow_into_them(own: PatientSource, scan: Tensor) -> None:
    half = (38.0, 15.0, 22.0)  # reaches over the first lumbar vertebra
    patient = _with(own, _lender("right kidney", half), _key("kidney_left", -1))
    codes, before = patient.codes_at(scan), own.codes_at(scan)
    bone = torch.isin(before, torch.tensor(own.structures[_key("vertebrae_L1")].codes)).numpy()
    points, place = _array(scan), MIDDLE + ORGANS["right kidney"][0][0]
    within = _within(points, place, half, 5.0)
    assert (bone & within).sum() > 20
    assert torch.equal(codes[bone], before[bone])
    assert (codes[within & ~bone] >= len(own.anatomy.layers)).all()
    left = torch.isin(before, torch.tensor(own.structures[_key("kidney_left", 1)].codes))
    assert torch.equal(codes[left], before[left])  # the other kidney is the own one


def test_an_exchanged_organ_is_named_as_the_own_one(own: PatientSource, scan: Tensor) -> None:
    """Structures and codes; its materials are those of its own layers."""
    other = _lender("kidney_left", (20.0, 22.0, 26.0))
    patient = _with(own, other, _key("kidney_left", 1))
    codes = patient.codes_at(scan)
    foreign = codes >= len(own.anatomy.layers)
    assert {own.anatomy.layers[c].label for c in patient.own_code[codes[foreign]].tolist()} == {"kidney_left"}
    assert set(patient.own_code[codes[foreign]].tolist()) == {own.structures[_key("kidney_left", 1)].codes[0]}
    assert set(patient.structure_of_code[codes[foreign]].tolist()) == {NUMBER["kidney"]}
    shown = {int(m) for m in patient.material_of_code[codes[foreign]]}
    assert shown == {MATERIAL_INDEX["kidney"], MATERIAL_INDEX["medulla"]}
    assert torch.equal(patient.own_code[: len(own.anatomy.layers)], torch.arange(len(own.anatomy.layers)))


@pytest.mark.slow
def test_the_last_of_two_exchanges_counts(own: PatientSource, scan: Tensor) -> None:
    first, second = _lender("liver", (30.0, 30.0, 30.0)), _lender("liver", (14.0, 16.0, 18.0))
    patient = _with(own, first, _key("liver"))
    common = [k for k in sorted(own.structures.keys() & second.structures.keys()) if k[0] in EXCHANGEABLE]
    patient = patient.exchange_one(second, Fixed(common.index(_key("liver"))))
    codes = patient.codes_at(scan)
    start = len(own.anatomy.layers) + len(first.anatomy.layers)
    assert not ((codes >= len(own.anatomy.layers)) & (codes < start)).any()
    points, place = _array(scan), MIDDLE + ORGANS["liver"][0][0]
    assert (codes[_within(points, place, (14.0, 16.0, 18.0), 5.0)] >= start).all()
    assert (codes >= start).sum() * 64.0 == pytest.approx(4 / 3 * np.pi * 14 * 16 * 18, rel=0.15)


def test_a_missing_organ_is_not_exchanged(own: PatientSource, scan: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ill(Healthy):
        def random(self) -> float:
            return 0.0

    monkeypatch.setattr(random_organs, "MAY_MISS", ("stomach",))
    other = _lender("stomach", (25.0, 25.0, 25.0))
    common = [k for k in sorted(own.structures.keys() & other.structures.keys()) if k[0] in EXCHANGEABLE]
    ill = RandomOrgans.draw(own, Ill())
    assert ill.exchange_one(other, Fixed(common.index(_key("stomach")))) is ill
    assert ill.exchange_one(other, Fixed(common.index(_key("liver")))) is not ill


def test_out_of_view_an_exchange_removes_only(own: PatientSource) -> None:
    patient = _with(own, _lender("liver", (20.0, 20.0, 20.0)), _key("liver"))
    points = _lattice(MIDDLE + ORGANS["vertebrae_L3"][0][0], 4.0, 9)
    assert torch.equal(patient.codes_at(points), own.codes_at(points))
    assert patient.codes_at(points).any()


@pytest.fixture(scope="module")
def lent() -> PatientSource:
    """A body to which two others lend."""
    source = _body(ORGANS, oblique_grid((46, 60, 66)), MIDDLE)
    source.others = [
        _lender("liver", (20.0, 34.0, 24.0)),
        _body(_moved(*SHIFTED.items()), _other_grid(), MIDDLE + AWAY),
    ]
    return source


@pytest.mark.slow
def test_a_seed_gives_the_same_voxels_with_others(lent: PatientSource, own: PatientSource) -> None:
    different = 0
    for seed in range(8):
        one, two, alone = (s.draw((16, 24, 24), seed) for s in (lent, lent, own))
        assert torch.equal(one.values, two.values) and torch.equal(one.structures, two.structures)
        assert torch.equal(one.codes, two.codes)
        different += not torch.equal(one.codes, alone.codes)
        assert int(one.codes.max()) < len(lent.anatomy.layers)
        assert torch.equal(one.structures, torch.where(one.structures > 0, lent.structure_of_code[one.codes], 0))
        assert (one.codes[one.values[1] == 0] == 0).all()
    assert different >= 4


def test_without_others_nothing_is_rearranged_or_exchanged(own: PatientSource, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object, **settings: object) -> None:
        raise AssertionError

    expected = [own.draw((16, 16, 16), seed) for seed in range(4)]
    monkeypatch.setattr(synthesis, "rearrange_structures", never)
    monkeypatch.setattr(random_organs, "OrganExchange", never)
    for seed, sample in enumerate(expected):
        assert torch.equal(own.draw((16, 16, 16), seed).values, sample.values)


@pytest.mark.slow
def test_labels_and_values_agree_about_an_exchanged_organ(
    own: PatientSource, scan: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As drawn into a whole scan: the lungs, because nothing around them is as dark."""
    monkeypatch.setattr(synthesis, "random_lesions", lambda points, rng: torch.zeros(points.shape[1:]))
    monkeypatch.setattr(random_organs, "EXCHANGEABLE", frozenset({NUMBER["lung"]}))
    monkeypatch.setattr(random_organs, "MOST_EXCHANGED", 1)
    monkeypatch.setattr(synthesis, "REARRANGED", 0.0)
    monkeypatch.setattr(synthesis, "random_pose", lambda frame, size, rng, noise: scan)
    source = _body(ORGANS, oblique_grid((46, 60, 66)), MIDDLE)
    balls = [((-32.0, 0.0, 62.0), (24.0, 24.0, 12.0)), ((33.0, 0.0, 62.0), (24.0, 24.0, 12.0))]
    source.others = [_body(ORGANS | {"lungs": balls}, _other_grid(), MIDDLE + AWAY)]
    sizes, points = [], _array(scan)
    for seed in range(6):
        sample = source.draw(tuple(scan.shape[1:]), seed)
        lung = (sample.structures == NUMBER["lung"]).numpy()
        seen = lung & (sample.values[1] > 0).numpy()
        away = np.linalg.norm(np.abs(points[seen] - MIDDLE - [0, 0, 62]) - [32.5, 0, 0], axis=-1)
        sizes.append(float(np.quantile(away, 0.98)))
        assert sample.values[0].numpy()[seen].mean() < -450  # voxels at its surface are half fat
        assert set(sample.codes[torch.as_tensor(seen)].tolist()) == set(source.structures[_key("lungs")].codes)
    assert min(sizes) < 18 < 21 < max(sizes)  # own balls in some, the other's flat ones in others
