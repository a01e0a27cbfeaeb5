"""`pddnet compare`: its numbers on boxes computed by hand, its pairs, configurations and table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.trunk import NAMES, write_case
from pddnet import ablation
from pddnet.ablation import (
    Case,
    columns,
    compare,
    configurations,
    find_configurations,
    pairs,
    read_cases,
    structure_table,
    table,
)
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, find_preset
from pddnet.errors import Cancelled, InputError

GRID = Grid((40, 44, 48), (2.0, 2.0, 2.0), (-60, 30, -900), np.eye(3))
SHIFT = np.array([10.0, -6.0, 4.0])  # mm, LPS: fixed -> moving; 5, -3 and 2 voxels
BOX = 10  # voxels along every edge


def _box(array: np.ndarray, corner: tuple[int, int, int], label: int) -> None:
    i, j, k = corner
    array[k : k + BOX, j : j + BOX, i : i + BOX] = label


def _case(name: str, shift: tuple[int, int, int] = (0, 0, 0), labels: tuple[int, ...] = (1, 2)) -> Case:
    """Two boxes, moved by whole voxels along i, j, k, and two landmarks moved with them."""
    array = np.zeros(GRID.shape, np.uint8)
    for label, corner in zip(labels, ((12, 12, 12), (28, 26, 24)), strict=False):
        _box(array, tuple(np.add(corner, shift)), label)
    points = {"a": GRID.origin + 30.0 + np.multiply(shift, 2.0), "b": GRID.origin + 50.0 + np.multiply(shift, 2.0)}
    return Case(name, Image(array.astype(np.int16) * 50, GRID), Image(array, GRID), points)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], list[str]]:
    """Makes every registration find a translation; returns the presets it was called with."""

    def set_shift(shift: np.ndarray) -> list:
        called = []

        def register(fixed: Image, moving: Image, preset: object, weights: object = None) -> object:
            called.append((preset, weights))
            grid = fixed.grid.isotropic(4.0, 16.0)
            array = np.broadcast_to(np.asarray(shift, np.float32), (*grid.shape, 3)).copy()

            class Result:
                field = DisplacementField(array, grid)

            return Result()

        monkeypatch.setattr(ablation, "register", register)
        return called

    return set_shift


def _compare(couples: list[tuple[Case, Case]], presets: dict) -> dict[str, list[dict[str, float]]]:
    """The numbers of pairs that can all be measured."""
    return compare(couples, presets, lambda share, text: None, pytest.fail)[1]


def test_before_a_known_shift_by_hand() -> None:
    row = _compare([(_case("f"), _case("m", (5, -3, 2)))], {"before": None})["before"][0]
    overlap = (5 * 7 * 8) / BOX**3
    assert row["dice"] == pytest.approx(100 * overlap)
    assert row["dice30"] == pytest.approx(100 * overlap)
    assert row["tre"] == pytest.approx(math.sqrt(100 + 36 + 16))
    assert all(math.isnan(row[name]) for name in ("jacobian_std", "folding", "seconds"))
    assert list(row) == ["dice", "dice30", "hd95", "asd", "tre", "lcc", "jacobian_std", "sdlogj", "folding", "seconds"]


def test_the_distance_of_surfaces_by_hand() -> None:
    """Boxes moved along one axis: a fifth of either surface lies the whole shift from the other."""
    row = _compare([(_case("f"), _case("m", (0, 0, 4)))], {"before": None})["before"][0]
    assert row["hd95"] == pytest.approx(8.0)
    assert row["dice"] == pytest.approx(60.0)


def test_the_right_translation_leaves_nothing(moves: Callable) -> None:
    called = moves(SHIFT)
    preset = find_preset("fast")
    row = _compare([(_case("f"), _case("m", (5, -3, 2)))], {"full": preset})["full"][0]
    assert called == [(preset, None)]
    compare([(_case("f"), _case("m"))], {"full": preset}, lambda share, text: None, pytest.fail, Path("w.npz"))
    assert called[1] == (preset, Path("w.npz"))
    assert (row["dice"], row["dice30"], row["hd95"], row["folding"]) == (100, 100, 0, 0)
    assert row["tre"] == pytest.approx(0, abs=1e-4)
    assert row["jacobian_std"] == pytest.approx(0, abs=1e-5)
    assert row["seconds"] >= 0


def test_the_opposite_translation_is_worse_than_none(moves: Callable) -> None:
    moves(-SHIFT)
    row = _compare([(_case("f"), _case("m", (5, -3, 2)))], {"full": find_preset("fast")})["full"][0]
    assert row["dice"] == 0
    assert row["tre"] == pytest.approx(2 * math.sqrt(152), abs=1e-3)


def test_a_structure_that_was_moved_out_of_view_counts_as_lost(moves: Callable) -> None:
    moves(np.array([0, 0, 46.0]))  # the second box, at most 34 voxels up, is looked for beyond the scan's end
    fixed, moving = _case("f"), _case("m")
    row = _compare([(fixed, moving)], {"full": find_preset("fast")})["full"][0]
    assert row["dice"] == 0
    moves(np.array([36.0, 0, 0]))
    lost = _case("m", labels=(1,))
    _box(lost.labels.array, (38, 26, 24), 2)  # found at 20, 26, 24; and box 1 beyond the left end
    _box(lost.labels.array, (12, 12, 12), 0)
    _box(lost.labels.array, (0, 0, 0), 1)
    row = _compare([(fixed, lost)], {"full": find_preset("fast")})["full"][0]
    assert row["dice"] == pytest.approx((0 + 100 * 0.2) / 2)
    assert row["dice30"] == 0
    assert row["hd95"] == pytest.approx(16.0)  # of the one that is there


def test_only_what_both_scans_hold_is_measured() -> None:
    fixed, moving = _case("f", labels=(1, 2)), _case("m", labels=(1, 3))
    row = _compare([(fixed, moving)], {"before": None})["before"][0]
    assert row["dice"] == 100
    nothing = _compare([(fixed, _case("m", labels=(7, 8)))], {"before": None})["before"][0]
    assert math.isnan(nothing["dice"]) and math.isnan(nothing["dice30"])
    alone = replace(moving, landmarks={"c": np.zeros(3)})
    assert math.isnan(_compare([(fixed, alone)], {"before": None})["before"][0]["tre"])


def test_what_is_unknown_in_either_scan_is_not_measured() -> None:
    fixed = replace(_case("f"), names={1: "liver", 2: "spleen", 9: "unknown"})
    moving = replace(_case("m", shift=(5, 0, 0)), names={1: "liver", 2: "spleen", 9: "unknown"})
    assert _compare([(fixed, moving)], {"before": None})["before"][0]["dice"] == pytest.approx(50)
    array = fixed.labels.array.copy()
    array[:, :, :17] = np.where(array[:, :, :17] == 1, 9, array[:, :, :17])  # the half that the moving box has left
    doubtful = replace(fixed, labels=Image(array, GRID))
    row = _compare([(doubtful, moving)], {"before": None})["before"][0]
    assert row["dice"] == pytest.approx((200 * 5 / (5 + 10) + 50) / 2)
    array = moving.labels.array.copy()
    array[:, :, 22:27] = np.where(array[:, :, 22:27] == 1, 9, array[:, :, 22:27])
    row = _compare([(doubtful, replace(moving, labels=Image(array, GRID)))], {"before": None})["before"][0]
    assert row["dice"] == pytest.approx((100 + 50) / 2)


def test_one_structure_has_a_table_of_its_own_and_nan_where_a_pair_does_not_show_it() -> None:
    names = {1: "liver", 2: "spleen"}
    fixed, moving = replace(_case("f"), names=names), replace(_case("m", (0, 0, 4)), names=names)
    _box(moving.labels.array, (12, 12, 16), 0)
    _box(moving.labels.array, (12, 12, 12), 1)  # the liver did not move
    alone = replace(_case("alone", labels=(2,)), names={2: "liver"})
    alone.labels.array[alone.labels.array > 0] = 2
    found = compare(
        [(fixed, moving), (fixed, alone)], {"before": None}, lambda share, text: None, pytest.fail,
        structures=["spleen", "liver"],
    )  # fmt: skip
    assert list(found.structures) == ["spleen", "liver"]
    spleen, liver = (found.structures[name]["before"] for name in ("spleen", "liver"))
    assert (spleen[0]["dice"], liver[0]["dice"]) == pytest.approx((60.0, 100.0))
    assert spleen[0]["hd95"] == pytest.approx(8.0)
    assert math.isnan(spleen[1]["dice"])
    assert liver[1]["dice"] == pytest.approx(100.0)
    assert found.rows["before"][0]["dice"] == pytest.approx(80.0)
    lines = structure_table(found.structures["liver"]).splitlines()
    assert lines[0] == "| | Dice % | HD95 mm | ASD mm |"
    assert lines[2] == "| before | 100.0 ± 0.0 | 0.0 ± 0.0 | 0.00 ± 0.00 |"
    with pytest.raises(InputError, match="no scan has a structure 'kidney'; choose from liver, spleen"):
        compare([(fixed, moving)], {"before": None}, lambda share, text: None, pytest.fail, structures=["kidney"])


def test_a_structure_of_which_nothing_is_known_is_named_and_not_measured() -> None:
    """The fixed spleen lies where the moving scan says "unknown", the moving one where the fixed scan does."""
    names = {1: "liver", 2: "spleen", 9: "unknown"}
    fixed, moving = replace(_case("f"), names=names), replace(_case("m"), names=names)
    array = moving.labels.array.copy()
    array[array == 2] = 9
    _box(array, (28, 2, 2), 2)  # there the fixed scan is doubtful
    moving = replace(moving, labels=Image(array, GRID))
    array = fixed.labels.array.copy()
    _box(array, (28, 2, 2), 9)
    doubtful = replace(fixed, labels=Image(array, GRID))
    told: list[str] = []
    found = compare([(doubtful, moving), (fixed, moving)], {"before": None}, lambda share, text: None, told.append)
    assert found.measured == ["f / m", "f / m"]
    assert told == ["f / m, before: 'unknown' covers spleen; not measured there"]
    assert found.left_out == {"f / m, before": "'unknown' covers spleen"}
    assert (found.rows["before"][0]["dice"], found.rows["before"][0]["hd95"]) == (100, 0)  # of the liver alone
    # where the moving spleen lies on what is known to be something else, it is found wanting, without a distance
    assert (found.rows["before"][1]["dice"], found.rows["before"][1]["hd95"]) == (50, 0)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ValueError("singular | matrix"), "internal fault, ValueError: singular | matrix"),
        (MemoryError(), "the memory of this machine does not suffice"),
        (RuntimeError("cuDNN"), "internal fault, RuntimeError: cuDNN"),
    ],
)
def test_whatever_fails_in_a_pair_is_named_and_the_others_stand(
    moves: Callable, monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: str
) -> None:
    moves(SHIFT)
    works, cases = ablation.register, [_case("a"), _case("b", (5, -3, 2)), _case("c")]

    def register(fixed: Image, *more: object, **settings: object) -> object:
        if fixed is cases[1].image:
            raise fault
        return works(fixed, *more, **settings)

    monkeypatch.setattr(ablation, "register", register)
    told: list[str] = []
    both = {"before": None, "full": find_preset("fast")}
    found = compare(pairs(cases, 3), both, lambda share, text: None, told.append)
    assert found.measured == ["a / b", "c / a"]
    assert told == [f"b / c: {reason}; the pair is left out"]
    assert found.left_out == {"b / c": f"full: {reason}"}
    assert [len(rows) for rows in found.rows.values()] == [2, 2]
    cell = reason.replace("|", r"\|")
    assert (
        table(found.rows, found.left_out).splitlines()[-1]
        == f"| b / c | not measured: full: {cell} | | | | | | | | | |"
    )
    monkeypatch.setenv("PDDNET_TRACEBACK", "1")
    with pytest.raises(type(fault)):
        compare(pairs(cases, 3), both, lambda share, text: None, told.append)


def test_a_comparison_that_is_cancelled_ends(moves: Callable) -> None:
    def report(share: float, text: str) -> None:
        raise Cancelled("now")

    with pytest.raises(Cancelled):
        compare([(_case("f"), _case("m"))], {"before": None}, report, pytest.fail)


def test_structures_are_matched_by_name_where_there_are_names() -> None:
    """Every label map numbers its structures in its own way."""
    fixed = replace(_case("f", labels=(1, 2)), names={1: "liver", 2: "spleen", 3: "aorta"})
    moving = replace(_case("m", labels=(2, 5)), names={2: "liver", 5: "spleen", 1: "colon"})
    assert _compare([(fixed, moving)], {"before": None})["before"][0]["dice"] == 100
    nameless = replace(moving, names={})
    assert _compare([(fixed, nameless)], {"before": None})["before"][0]["dice"] == 0  # label 2 by number


def test_pairs_in_order() -> None:
    cases = [_case(name) for name in "abc"]
    names = [f.name + m.name for f, m in pairs(cases, None)]
    assert names == ["ab", "bc", "ca", "ac", "ba", "cb"]
    assert [f.name + m.name for f, m in pairs(cases, 4)] == names[:4]
    assert len(pairs([_case(str(n)) for n in range(5)], None)) == 20


def test_progress_names_the_pair_and_the_configuration(moves: Callable) -> None:
    moves(SHIFT)
    told = []
    both = {"before": None, "full": find_preset("fast")}
    couples = pairs([_case("a"), _case("b")], None)
    measured, rows, *_ = compare(couples, both, lambda share, text: told.append((share, text)), pytest.fail)
    assert measured == ["a / b", "b / a"]
    assert told == [(0, "a / b: before"), (0.25, "a / b: full"), (0.5, "b / a: before"), (0.75, "b / a: full")]
    assert [len(found) for found in rows.values()] == [2, 2]


def test_a_pair_that_cannot_be_registered_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def register(fixed: Image, moving: Image, preset: object, weights: object = None) -> object:
        if fixed is bad.image:
            raise InputError("the scans do not overlap")
        grid = fixed.grid.isotropic(4.0, 16.0)
        return type("Result", (), {"field": DisplacementField(np.zeros((*grid.shape, 3), np.float32), grid)})

    cases = [_case("a"), _case("b", (5, -3, 2)), _case("c", (0, 0, 4))]
    bad = cases[1]
    monkeypatch.setattr(ablation, "register", register)
    both = {"before": None, "full": find_preset("fast")}
    told: list[str] = []
    measured, rows, left_out, _ = compare(pairs(cases, 4), both, lambda share, text: None, told.append)
    assert told == ["b / c: the scans do not overlap; the pair is left out"]
    assert measured == ["a / b", "c / a", "a / c"]
    assert left_out == {"b / c": "full: the scans do not overlap"}
    # row for row the same pairs, also in what was measured before the fault
    for found in rows.values():
        assert [row["dice"] for row in found] == pytest.approx([28, 60, 60])
    with pytest.raises(InputError, match="none of the 1 pairs"):
        compare([(bad, cases[0])], both, lambda share, text: None, told.append)
    assert len(told) == 2


def test_the_table() -> None:
    row = dict.fromkeys((column.key for column in columns()), math.nan)
    rows = {
        "before": [row | {"dice": 20.0}, row | {"dice": 30.0}],
        "full": [row | {"dice": 80.0, "folding": 0.123, "tre": 3.14}, row | {"dice": 84.0, "folding": 0.125}],
    }
    assert table(rows).splitlines() == [
        "| | Dice % | Dice30 % | HD95 mm | ASD mm | TRE mm | LCC | std J | std log J | folds % | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        "| before | 25.0 ± 5.0 | - | - | - | - | - | - | - | - | - |",
        "| full | 82.0 ± 2.0 | - | - | - | 3.1 ± 0.0 | - | - | - | 0.12 ± 0.00 | - |",
    ]


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_configuration_lacks_what_it_says_and_nothing_else(name: str) -> None:
    preset = replace(PRESETS[name], semantic=2.0)
    found = configurations(preset)
    assert found.pop("before") is None
    assert found.pop("full") == preset
    assert found.pop("alignment alone") == replace(preset, stages=(), refinement=None, one_patient=None)
    plain = preset.one_patient and replace(preset.one_patient, levels=())
    unrefined = replace(preset, refinement=None, one_patient=plain) if preset.refinement else None
    assert found.pop("no refinement", None) == unrefined
    assert found.pop("no mean field") == replace(preset, regularised=False)
    assert found.pop("MIND alone") == replace(preset, semantic=0.0)
    assert found.pop("structures alone") == replace(preset, mind=False, one_patient=None)
    assert found.pop("preset mind") == PRESETS["mind"]
    one = found.pop("one stage", None)
    assert (one is not None) == (len(preset.stages) > 1)
    if one is not None:
        assert one.stages == preset.stages[:1]
        assert replace(one, stages=preset.stages, one_patient=preset.one_patient) == preset
    for part, change in (("no optimisation", {"iterations": 0}), ("one direction", {"both_ways": False})):
        changed = tuple(replace(stage, **change) for stage in preset.stages)
        detail = preset.one_patient and replace(
            preset.one_patient, stages=tuple(replace(stage, **change) for stage in preset.one_patient.stages)
        )
        if (changed, detail) == (preset.stages, preset.one_patient):
            continue  # the row would repeat "full"
        assert found.pop(part) == replace(preset, stages=changed, one_patient=detail)
    assert found == {}
    assert not {"MIND alone", "structures alone", "preset mind"} & configurations(replace(preset, semantic=0.0)).keys()


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("followup", {"one stage", "no refinement"}),
        ("breathing", {"one stage", "no refinement"}),
        ("fast", {"one direction", "one stage", "no refinement"}),
        ("default", set()),
    ],
)
def test_rows_that_would_repeat_the_whole_are_left_out(name: str, absent: set[str]) -> None:
    """A preset for one patient has no stages but those by detail, and `fast` registers one direction anyway."""
    found = configurations(PRESETS[name])
    assert configurations(PRESETS["default"]).keys() - found.keys() == absent
    assert [row for row, each in found.items() if each == PRESETS[name]] == ["full"]


def test_configurations_by_name() -> None:
    assert list(find_configurations("default", ["full", "before"])) == ["full", "before"]
    assert list(find_configurations("default", None)) == list(configurations(PRESETS["default"]))
    with pytest.raises(InputError, match="no configuration 'fulll'; choose from before"):
        find_configurations("default", ["full", "fulll"])
    with pytest.raises(InputError, match="no configuration 'one stage'; choose from before"):
        find_configurations("followup", ["one stage"])
    with pytest.raises(InputError, match="no preset 'fastest'"):
        find_configurations("fastest", None)


def test_cases_from_a_folder(tmp_path: Path) -> None:
    write_case(tmp_path, "b")
    with pytest.raises(InputError, match="fewer than two"):
        read_cases(tmp_path)
    case = write_case(tmp_path, "a")
    write_case(tmp_path, ".part-x")  # one that is still being written
    (case / "landmarks.csv").write_text("name,x,y,z\nhilum,1,-2,3.5\n")
    (case / "labels.json").write_text('{"2": "hepar"}')
    found = read_cases(tmp_path)
    assert [c.name for c in found] == ["a", "b"]
    assert [c.names for c in found] == [{2: "hepar"}, NAMES]
    assert found[0].landmarks["hilum"].tolist() == [1, -2, 3.5]
    assert found[1].landmarks == {}
    assert found[0].labels.grid.same_as(found[0].image.grid)
    (case / "labels.json").write_text("[]")
    with pytest.raises(InputError, match=r"a.labels\.json"):
        read_cases(tmp_path)
    (case / "labels.json").write_text(json.dumps(NAMES))
    (case / "labels.nii.gz").unlink()
    with pytest.raises(InputError, match=r"a.labels\.nii\.gz"):
        read_cases(tmp_path)
    with pytest.raises(InputError, match="none"):
        read_cases(tmp_path / "none")
    assert sitk.ReadImage(str(tmp_path / "b" / "labels.nii.gz")).GetDimension() == 3
