"""Patients as folders of files: whole or not at all, the same for a seed, labels and landmarks where they belong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.trunk import NAMES, write_anatomy
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io.landmarks import read_points
from pddnet.phantom import phantom, write
from pddnet.phantom.write import phantoms, write_patients
from pddnet.synthesis import anatomy, from_maps, patient
from pddnet.synthesis.from_maps import patients_from_maps

FILES = ["ct.nii.gz", "labels.json", "labels.nii.gz"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_maps, "EXTENT_MM", (160.0, 200.0))
    monkeypatch.setattr(from_maps, "HEIGHTS_MM", (120.0, 160.0))
    monkeypatch.setattr(anatomy, "HULL_SPACING_MM", 8.0)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    folder.mkdir()
    write_anatomy(folder)
    return folder


def _written(out: Path, count: int, seed: int, *, spacing: float, maps: Path | None = None, **settings) -> list[Path]:
    draw = patients_from_maps(maps, spacing) if maps else phantoms(spacing)
    return write_patients(out, draw, count, seed, **settings)


def _contents(folder: Path) -> dict[str, bytes]:
    arrays = {p: sitk.GetArrayFromImage(sitk.ReadImage(str(p))).tobytes() for p in folder.glob("*.nii.gz")}
    arrays |= {p: p.read_bytes() for p in folder.iterdir() if p not in arrays}
    return {path.name: content for path, content in arrays.items()}


def test_patients_from_a_map(maps: Path, tmp_path: Path) -> None:
    told = []
    folders = _written(
        tmp_path / "out", 3, 8, maps=maps, spacing=8.0, report=lambda share, text: told.append((share, text))
    )
    assert [folder.name for folder in folders] == ["patient_0008", "patient_0009", "patient_0010"]
    assert sorted(os.listdir(tmp_path / "out")) == [folder.name for folder in folders]
    assert told[0] == (0.0, "patient_0008") and told[-1] == (1.0, "done")
    structures = []
    for folder in folders:
        assert sorted(os.listdir(folder)) == FILES
        ct, labels = (sitk.ReadImage(str(folder / name)) for name in ("ct.nii.gz", "labels.nii.gz"))
        assert ct.GetSpacing() == labels.GetSpacing() == (8.0, 8.0, 8.0)
        assert ct.GetSize()[:2] == labels.GetSize()[:2] == (25, 20)
        assert 120 <= ct.GetSize()[2] * 8.0 <= 164
        assert ct.GetOrigin() == pytest.approx([-(n - 1) * 4.0 for n in ct.GetSize()])
        hu, label = sitk.GetArrayFromImage(ct), sitk.GetArrayFromImage(labels)
        assert hu.dtype == np.int16 and hu.min() == -1000 and hu.max() > 0
        names = {int(n): name for n, name in json.loads((folder / "labels.json").read_text()).items()}
        assert set(names.values()) == set(NAMES.values()) - {"a nameless thing"}
        assert set(np.unique(label)) <= {0, *names}
        structures.append({names[n] for n in np.unique(label) if n})
        lung = next(n for n, name in names.items() if "lung" in name)
        if (label == lung).sum() > 20:
            assert np.median(hu[label == lung]) < -500
    assert {"liver"} <= set.union(*structures)
    assert len({(folder / "ct.nii.gz").stat().st_size for folder in folders}) == 3


def test_a_number_means_one_name_in_the_patients_of_all_maps(maps: Path, tmp_path: Path) -> None:
    write_anatomy(maps, "other")
    here = {2: "liver", 3: "aorta", 5: "kidney_left", 6: "vertebrae_L1"}
    (maps / "other.json").write_text(json.dumps(here))
    one, two = _written(tmp_path / "out", 2, 8, maps=maps, spacing=8.0)
    numbers = {}
    for folder, names in ((one, set(here.values())), (two, set(NAMES.values()) - {"a nameless thing"})):
        found = json.loads((folder / "labels.json").read_text())
        assert set(found.values()) == names  # what its own map tells apart
        for number, name in found.items():
            assert numbers.setdefault(number, name) == name
        image = sitk.ReadImage(str(folder / "labels.nii.gz"))
        assert image.GetPixelID() == sitk.sitkUInt8
        assert set(np.unique(sitk.GetArrayFromImage(image)).tolist()) <= {0, *map(int, found)}
    assert sorted(numbers.values()) == sorted({*NAMES.values(), "aorta"} - {"a nameless thing"})
    assert {int(number) for number in numbers} == set(range(1, 7))


def test_more_names_than_a_byte_can_count(tmp_path: Path) -> None:
    """In two maps, because one holds no more than 254."""
    grid = Grid((14, 30, 30), (6.0,) * 3, (0, 0, 0), np.eye(3))
    array = np.zeros(grid.shape, np.uint8)
    for n in range(130):
        k, j, i = 4 * (n // 49), 4 * (n // 7 % 7), 4 * (n % 7)
        array[k : k + 4, j : j + 4, i : i + 4] = n + 1
    (tmp_path / "maps").mkdir()
    for name in ("a", "b"):
        sitk.WriteImage(Image(array, grid).to_sitk(), str(tmp_path / "maps" / f"{name}.nii.gz"))
        names = {n: f"{name} aorta {n:03d}" for n in range(1, 131)}
        (tmp_path / "maps" / f"{name}.json").write_text(json.dumps(names))
    last, first = _written(tmp_path / "out", 2, 1, maps=tmp_path / "maps", spacing=8.0)
    for folder, name, start in ((first, "a", 1), (last, "b", 131)):
        found = {int(n): text for n, text in json.loads((folder / "labels.json").read_text()).items()}
        assert found == {start + n: f"{name} aorta {n + 1:03d}" for n in range(130)}
        image = sitk.ReadImage(str(folder / "labels.nii.gz"))
        assert image.GetPixelID() == sitk.sitkUInt16
        shown = set(np.unique(sitk.GetArrayFromImage(image)).tolist()) - {0}
        assert len(shown) > 20 and shown <= found.keys()


def test_maps_of_a_folder_lend_to_each_other(maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("other", "third"):
        write_anatomy(maps, name)
    lent = []

    def noted(source: patient.PatientSource, *given: object) -> patient.Sample:
        lent.append((source.anatomy.name, sorted(other.anatomy.name for other in source.others)))
        return synthesise(source, *given)

    synthesise = patient.synthesise
    monkeypatch.setattr(from_maps, "synthesise", noted)
    _written(tmp_path / "out", 3, 0, maps=maps, spacing=10.0)
    assert lent == [("other", ["third", "trunk"]), ("third", ["other", "trunk"]), ("trunk", ["other", "third"])]


@pytest.mark.slow
@pytest.mark.parametrize("virtual", [False, True])
def test_a_seed_gives_the_same_files_and_what_exists_is_left_alone(maps: Path, tmp_path: Path, virtual: bool) -> None:
    settings = {"maps": None if virtual else maps, "spacing": 9.0}
    first = _written(tmp_path / "one", 1, 4, **settings)[0]
    (tmp_path / "two" / "patient_0003").mkdir(parents=True)
    (tmp_path / "two" / "patient_0003" / "mine.txt").write_text("left alone")
    _written(tmp_path / "two", 2, 3, **settings)
    assert _contents(tmp_path / "two" / "patient_0003") == {"mine.txt": b"left alone"}
    assert _contents(tmp_path / "two" / "patient_0004") == _contents(first)


@pytest.mark.slow
def test_virtual_patients_have_landmarks_within_the_scan(tmp_path: Path) -> None:
    folder = _written(tmp_path, 1, 4, spacing=9.0)[0]
    assert sorted(os.listdir(folder)) == sorted([*FILES, "landmarks.csv"])
    image = Image.from_sitk(sitk.ReadImage(str(folder / "ct.nii.gz")))
    points = read_points(folder / "landmarks.csv")
    assert len(points) >= 5
    assert image.grid.contains(np.array(list(points.values()))).all()
    body = phantom.virtual_patient(4, Grid((2, 2, 2), (50.0,) * 3, (0, 0, 0), np.eye(3))).landmarks
    for name, point in points.items():
        assert np.allclose(point, body[name], atol=0.01)
    names = {int(n): name for n, name in json.loads((folder / "labels.json").read_text()).items()}
    assert names == phantom.LABELS


def test_an_interrupted_patient_leaves_no_folder(maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image, count = sitk.WriteImage, iter(range(100))

    def interrupted(*given: object) -> None:
        write_image(*given)
        if next(count) == 2:  # the second patient's scan
            raise KeyboardInterrupt

    monkeypatch.setattr(write.sitk, "WriteImage", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _written(tmp_path / "out", 3, 1, maps=maps, spacing=10.0)
    assert os.listdir(tmp_path / "out") == ["patient_0001"]
    assert sorted(os.listdir(tmp_path / "out" / "patient_0001")) == FILES


def test_what_cannot_be_read_or_written(maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(InputError, match="no label map"):
            _written(tmp_path / "out", 1, 1, maps=folder, spacing=10.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        _written(tmp_path / "file", 1, 1, maps=maps, spacing=10.0)
    with pytest.raises(InputError, match="file"):
        _written(tmp_path / "file" / "below", 1, 1, maps=maps, spacing=10.0)

    def full(*given: object) -> None:
        raise RuntimeError("ITK: no space left")

    monkeypatch.setattr(write.sitk, "WriteImage", full)
    with pytest.raises(InputError, match=r"patient_0001.*disk"):
        _written(tmp_path / "out", 1, 1, maps=maps, spacing=10.0)
    assert os.listdir(tmp_path / "out") == []

    def denied(*given: object, **settings: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(write.tempfile, "mkdtemp", denied)
    with pytest.raises(InputError, match=r"patient_0001.*denied"):
        _written(tmp_path / "out", 1, 1, maps=maps, spacing=10.0)
