"""Slicer's .seg.nrrd: segments matched by name, overlapping ones read layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING, SHIFT, ball, fake_register, labels, ramp, save
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io.label_layers import LabelLayers, free_number, match_names, read_label_layers, renumbered
from pddnet.io.segment_headers import Segment, read_segments
from pddnet.io.volumes import read_labels, read_mask

Named = list[tuple[str, int, int]]  # name, layer, value


def _write(path: Path, layers: list[np.ndarray], grid: Grid, segments: Named) -> Path:
    """As Slicer writes it: a scalar image, or one with a component for each layer."""
    array = layers[0] if len(layers) == 1 else np.stack(layers, axis=-1)
    image = sitk.GetImageFromArray(array.astype(np.uint8), isVector=len(layers) > 1)
    image.CopyInformation(Image(layers[0], grid).to_sitk())
    for n, (name, layer, value) in enumerate(segments):
        for key, content in (("ID", f"Segment_{n + 1}"), ("Name", name), ("Layer", layer), ("LabelValue", value)):
            image.SetMetaData(f"Segment{n}_{key}", str(content))
    sitk.WriteImage(image, str(path), True)
    return path


def _parts(grid: Grid, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A ball and a smaller one within it, (D, H, W) bool; they overlap."""
    return ball(grid, centre, 18), ball(grid, centre + [6, 4, -5], 7)


FIXED_PARTS = _parts(FIXED, FIXED.centre)
MOVING_PARTS = _parts(MOVING, FIXED.centre + SHIFT)


def _row(out: str, label: int) -> list[str]:
    return next(line for line in out.splitlines() if line.startswith(f"{label} ")).split()


def _flat(parts: tuple[np.ndarray, np.ndarray], large: int, small: int) -> np.ndarray:
    return np.where(parts[1], small, parts[0] * large).astype(np.uint8)


def _pair(folder: Path) -> list[str]:
    """The same two segments with their numbers exchanged."""
    a = _write(folder / "A.seg.nrrd", [_flat(FIXED_PARTS, 1, 2)], FIXED, [("Liver", 0, 1), ("spleen", 0, 2)])
    b = _write(folder / "B.seg.nrrd", [_flat(MOVING_PARTS, 2, 1)], MOVING, [("Spleen", 0, 1), ("liver ", 0, 2)])
    return ["--fixed-labels", str(a), "--moving-labels", str(b)]


def test_segments_are_matched_by_name_and_that_is_said(tmp_path: Path, capsys) -> None:
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT.tolist()), str(tmp_path / "T.tfm"))
    maps = _pair(tmp_path)
    assert main(["evaluate", "--transform", str(tmp_path / "T.tfm"), *maps]) == 0
    out = capsys.readouterr().out
    assert float(_row(out, 1)[2]) > 0.85  # by number 0: the large ball against the small one
    assert float(_row(out, 2)[2]) > 0.7
    text = f"{maps[3]}: its segments were matched by name, and numbered as in {maps[1]}: 2 Spleen, 1 liver"
    assert f"warning   {text}" in out


def test_register_matches_by_name_too_and_writes_the_fixed_numbers(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(pipeline, "register", fake_register())
    fixed, moving = save(ramp(FIXED), tmp_path / "F.nii.gz"), save(ramp(MOVING), tmp_path / "M.nii.gz")
    scans = ["--fixed", str(fixed), "--moving", str(moving), "--output-transform", str(tmp_path / "T.h5")]
    written = tmp_path / "L.nii.gz"
    assert main(["register", *scans, *_pair(tmp_path), "--output-labels", str(written)]) == 0
    out = capsys.readouterr().out
    assert float(_row(out, 1)[2]) > 0.85
    assert "its segments were matched by name" in out
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(written)))
    assert (array == 1).sum() > 5 * (array == 2).sum() > 0


def test_overlapping_segments_are_read_and_measured_layer_by_layer(tmp_path: Path, capsys) -> None:
    names = [("liver", 0, 1), ("tumour", 1, 1)]
    a = _write(tmp_path / "A.seg.nrrd", list(FIXED_PARTS), FIXED, names)
    b = _write(tmp_path / "B.seg.nrrd", list(MOVING_PARTS[::-1]), MOVING, [("tumour", 0, 1), ("liver", 1, 1)])
    found, warnings = read_label_layers(a)
    assert warnings == []
    assert found.names == {1: "liver", 2: "tumour"}
    assert [sorted(np.unique(layer.array)) for layer in found.layers] == [[0, 1], [0, 2]]
    assert np.array_equal(found.layers[0].array > 0, FIXED_PARTS[0])
    assert np.array_equal(found.layers[1].array > 0, FIXED_PARTS[1])
    assert found.layers[0].grid.same_as(FIXED, 0.01)
    assert np.array_equal(found.flat.array, _flat(FIXED_PARTS, 1, 2))
    assert np.array_equal(read_mask(a, FIXED)[0].array, FIXED_PARTS[0] | FIXED_PARTS[1])
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT.tolist()), str(tmp_path / "T.tfm"))
    transform = ["--transform", str(tmp_path / "T.tfm")]
    assert main(["evaluate", *transform, "--fixed-labels", str(a), "--moving-labels", str(b)]) == 0
    out = capsys.readouterr().out
    whole = [Image(part.astype(np.uint8), grid) for part, grid in ((FIXED_PARTS[0], FIXED), (MOVING_PARTS[0], MOVING))]
    warped = whole[1].resample(FIXED, sitk.TranslationTransform(3, SHIFT.tolist()), labels=True).array
    expected = 2 * (warped & whole[0].array).sum() / (warped.sum() + whole[0].array.sum())
    assert float(_row(out, 1)[2]) == pytest.approx(expected, abs=6e-4)
    assert float(_row(out, 2)[2]) > 0.7
    with pytest.raises(InputError, match=r"its segments overlap \(2 layers\)"):
        read_labels(a)


def test_a_header_that_names_more_layers_than_there_are_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "A.seg.nrrd", [FIXED_PARTS[0]], FIXED, [("liver", 0, 1), ("tumour", 1, 1)])
    with pytest.raises(InputError, match="names 2 layers of segments, which are not there"):
        read_label_layers(path)


def test_names_that_are_the_same_number_need_no_word(tmp_path: Path) -> None:
    names = [("liver", 0, 1), ("spleen", 0, 2)]
    a = read_label_layers(_write(tmp_path / "A.seg.nrrd", [_flat(FIXED_PARTS, 1, 2)], FIXED, names))[0]
    assert match_names(a, a, ("a", "b")) == (a, a, [])
    plain = read_label_layers(save(labels(FIXED, FIXED.centre), tmp_path / "B.nii.gz"))[0]
    assert plain.names == {}
    assert match_names(a, plain, ("a", "b")) == (a, plain, [])


def test_segments_without_a_partner_get_numbers_of_their_own(tmp_path: Path) -> None:
    flat = _flat(FIXED_PARTS, 1, 2)
    a = read_label_layers(_write(tmp_path / "A.seg.nrrd", [flat], FIXED, [("liver", 0, 1), ("spleen", 0, 2)]))[0]
    b = read_label_layers(_write(tmp_path / "B.seg.nrrd", [flat], FIXED, [("kidney", 0, 1), ("liver", 0, 2)]))[0]
    _, moving, warnings = match_names(a, b, ("a", "b"))
    assert moving.names == {3: "kidney", 1: "liver"}
    assert np.array_equal(moving.flat.array, np.where(flat == 2, 1, np.where(flat == 1, 3, 0)))
    assert warnings == ["b: its segments were matched by name, and numbered as in a: 1 liver"]
    c = read_label_layers(_write(tmp_path / "C.seg.nrrd", [flat], FIXED, [("lung", 0, 1), ("heart", 0, 2)]))[0]
    _, moving, warnings = match_names(a, c, ("a", "c"))
    assert warnings == ["a and c: the label maps have no segment name in common"]
    assert set(np.unique(moving.flat.array)) == {0, 3, 4}
    twice = read_label_layers(_write(tmp_path / "D.seg.nrrd", [flat], FIXED, [("lung", 0, 1), ("Lung", 0, 2)]))[0]
    with pytest.raises(InputError, match="d: 2 segments have the name 'lung'; rename them"):
        match_names(a, twice, ("a", "d"))


def test_old_files_have_a_layer_for_every_segment(tmp_path: Path) -> None:
    path = tmp_path / "old.seg.nrrd"
    image = sitk.GetImageFromArray(np.stack(FIXED_PARTS, axis=-1).astype(np.uint8), isVector=True)
    for n, name in enumerate(("liver", "tumour")):
        image.SetMetaData(f"Segment{n}_Name", name)
    sitk.WriteImage(image, str(path))
    assert read_segments(path) == [Segment("liver", 0, 1), Segment("tumour", 1, 1)]
    assert read_segments(save(ramp(FIXED), tmp_path / "F.nrrd")) == []


def test_labels_that_are_not_named_become_background() -> None:
    grid = Grid((1, 2, 2), (1, 1, 1), (0, 0, 0), np.eye(3))
    found = renumbered(Image(np.array([[[0, 1], [2, 7]]], np.uint8), grid), {1: 5, 7: 300})
    assert found.array.tolist() == [[[0, 5], [0, 300]]]


def test_the_largest_number_twice_takes_the_least_that_is_free(tmp_path: Path) -> None:
    assert free_number({2, 9}, "a.nrrd") == 10
    assert free_number({1, 2, 65535}, "a.nrrd") == 3
    with pytest.raises(InputError, match=r"a\.nrrd: all 65535 label numbers are taken"):
        free_number(range(1, 65536), "a.nrrd")
    largest = Image(np.full(FIXED.shape, 65535, np.uint16), FIXED)
    layers = [LabelLayers((largest,), {65535: name}) for name in "ab"]
    _, moving, _ = match_names(*layers, ("A", "B"))
    assert moving.names == {1: "b"}
    assert (moving.flat.array == 1).all()
