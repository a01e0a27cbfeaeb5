"""Bad input: exit code 2, one line that says which file, what is wrong and what to do; nothing written or changed."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.paths import environment
from helpers.samples import FIXED, MOVING, SHIFT, fake_register, labels, ramp, save, write_pair
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io.validation import check_volume
from pddnet.io.volumes import read_volume


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch, capfd) -> Callable[..., str]:
    """Run the command, expect it to refuse before it registers anything, and return its one line."""
    monkeypatch.setattr(pipeline, "register", lambda *_, **__: pytest.fail("the registration was started"))

    def run(*argv: object) -> str:
        before = _digests(tmp_path)
        code = main([str(word) for word in argv])
        err = capfd.readouterr().err
        assert code == 2, err
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        assert err.startswith("pddnet: ")
        assert _digests(tmp_path) == before
        return err

    return run


# ---- files that are no volume fit to be registered ----------------------------------------------------------------


def _bytes(path: Path, change: Callable[[bytearray], bytearray]) -> Path:
    path.write_bytes(change(bytearray(path.read_bytes())))
    return path


def _nifti_spacing(value: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = save(ramp(MOVING), folder / "bad.nii")
        return _bytes(path, lambda raw: raw[:88] + struct.pack("<f", value) + raw[92:])  # pixdim[3]

    return make


def _text_spacing(ending: str, old: bytes, new: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        grid = Grid(MOVING.shape, (1, 2, 3), (0, 0, 0), np.eye(3))
        path = save(ramp(grid), folder / f"bad{ending}")
        assert old in path.read_bytes()
        return _bytes(path, lambda raw: raw.replace(old, new))

    return make


def _truncated(ending: str, share: float = 0.6) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        return _bytes(save(ramp(MOVING), folder / f"bad{ending}"), lambda raw: raw[: int(len(raw) * share)])

    return make


def _content(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _array(array: np.ndarray, *, vector: bool = False, name: str = "bad.nii.gz") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(folder / name))
        return folder / name

    return make


def _sheared_nifti(folder: Path) -> Path:
    path = save(ramp(MOVING), folder / "bad.nii")
    rows = struct.pack("<12f", 3, 0, 1.5, 0, 0, 3, 0, 0, 0, 0, 3, 0)
    return _bytes(path, lambda raw: raw[:252] + struct.pack("<hh", 0, 1) + raw[256:280] + rows + raw[328:])


def _folder_without_dicom(folder: Path) -> Path:
    (folder / "notes").mkdir()
    (folder / "notes" / "read me.txt").write_text("no slices here")
    return folder / "notes"


def _small(folder: Path) -> Path:
    return save(ramp(Grid((10, 10, 10), (1.2, 1.2, 1.2), (0, 0, 0), np.eye(3))), folder / "bad.nii.gz")


SIZE = (6, 20, 20)
NOISE = np.random.default_rng(0).integers(-1000, 1000, SIZE).astype(np.float32)
BAD_VOLUMES = {
    "missing": (lambda folder: folder / "bad.nii.gz", "no such file"),
    "empty file": (_content("bad.nii.gz", b""), "is empty (0 bytes)"),
    "text": (_content("bad.nii.gz", b"this is not an image" * 50), "damaged|format that can be read"),
    "text named so": (_content("bad.txt", b"hello"), "format that can be read"),
    "damaged gzip": (_content("bad.nii.gz", b"\x1f\x8b" + b"\x00" * 500), "damaged"),
    "truncated .nii": (_truncated(".nii"), "truncated"),
    "truncated .nii.gz": (_truncated(".nii.gz"), "truncated"),
    "last byte missing": (_truncated(".nii.gz", 0.9999), "truncated"),
    "truncated header": (_truncated(".nii", 0.005), "truncated|format"),
    "truncated .mha": (_truncated(".mha"), "truncated"),
    "truncated .nrrd": (_truncated(".nrrd"), "truncated"),
    "folder": (_folder_without_dicom, "no DICOM series"),
    "2-D": (_array(NOISE[0]), "single slice"),
    "2-D picture": (_array(NOISE[0].clip(0, 255).astype(np.uint8), name="bad.png"), "single slice"),
    "single slice": (_array(NOISE[:1]), "single slice"),
    "4-D": (_array(np.stack([NOISE, NOISE])), "4-D"),
    "vector": (_array(np.stack([NOISE] * 3, -1), vector=True), "3 values per voxel"),
    "complex": (_array(NOISE.astype(np.complex64)), "complex"),
    "constant": (_array(np.full((20, 20, 20), 7, np.int16)), "same value (7)"),
    "all NaN": (_array(np.full((20, 20, 20), np.nan, np.float32)), "no voxel has a finite value"),
    "all infinite": (_array(np.full((20, 20, 20), np.inf), name="bad.mha"), "no voxel has a finite value"),
    "too small": (_small, "12 x 12 x 12 mm"),
    "NIfTI spacing 0": (_nifti_spacing(0.0), "not positive"),
    "NIfTI spacing < 0": (_nifti_spacing(-3.5), "not positive"),
    "NIfTI spacing NaN": (_nifti_spacing(np.nan), "not positive"),
    "MetaImage spacing 0": (_text_spacing(".mha", b"Spacing = 1 2 3", b"Spacing = 0 2 3"), "not positive"),
    "MetaImage spacing < 0": (_text_spacing(".mha", b"Spacing = 1 2 3", b"Spacing = 1 2 -3"), "not positive"),
    "NRRD spacing 0": (_text_spacing(".nrrd", b"(0,2,0)", b"(0,0,0)"), "not positive"),
    "NRRD sheared": (_text_spacing(".nrrd", b"(0,2,0)", b"(1,2,0)"), "not orthogonal"),
    "MetaImage sheared": (_text_spacing(".mha", b"Matrix = 1 0 0 0 1 0", b"Matrix = 1 0 0 1 1 0"), "not orthogonal"),
    "MetaImage singular": (_text_spacing(".mha", b"Matrix = 1 0 0 0 1 0", b"Matrix = 1 0 0 1 0 0"), "not orthogonal"),
    "NIfTI sheared": (_sheared_nifti, "not orthogonal"),
}


@pytest.mark.parametrize("case", BAD_VOLUMES)
@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_a_volume_that_cannot_be_registered(tmp_path: Path, refuse, case: str, side: str) -> None:
    make, what = BAD_VOLUMES[case]
    bad, good = make(tmp_path), save(ramp(FIXED), tmp_path / "good.nii.gz")
    pair = {"fixed": good, "moving": good, side: bad}
    line = refuse(
        "register", "--fixed", pair["fixed"], "--moving", pair["moving"], "--output-transform", tmp_path / "T.h5"
    )
    assert line.startswith(f"pddnet: {bad}: ")
    assert any(part in line for part in what.split("|")), line
    assert "; " in line  # what to do


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission(tmp_path: Path, refuse) -> None:
    pair = write_pair(tmp_path)
    os.chmod(pair["F"], 0)
    with pytest.raises(InputError, match="permissions"):
        read_volume(pair["F"])


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch) -> None:
    path = save(ramp(FIXED), tmp_path / "f.nii")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match=r"f\.nii: the file may not be read \(Permission denied\)"):
        read_volume(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_few_non_finite_voxels_become_air(tmp_path: Path, ending: str, kind: type) -> None:
    clean = ramp(FIXED, kind)  # from about -240 to 240: no HU of air
    clean = Image(np.where(clean.array < -150, kind(-1000), clean.array), FIXED)
    array = clean.array.copy()
    for index, value in (((9, 10, 11), np.nan), ((2, 3, 4), np.inf), ((17, 21, 25), -np.inf)):
        array[index] = value
    path = save(Image(array, FIXED), tmp_path / f"n{ending}")
    image, warnings = read_volume(path)
    assert warnings == [f"{path}: 3 NaN or infinite voxels (0.029 %) were replaced by -1024"]
    assert image.array.dtype == kind
    assert [image.array[index] for index in ((9, 10, 11), (2, 3, 4), (17, 21, 25))] == [-1024] * 3
    finite = np.isfinite(array)
    assert np.array_equal(image.array[finite], array[finite])


def test_check_volume_leaves_its_input_alone_and_fills_with_the_minimum_where_there_is_no_air() -> None:
    array = np.random.default_rng(0).uniform(5, 100, FIXED.shape).astype(np.float32)
    array[0, 0, 0] = np.nan
    array[1, 1, 1] = 3
    before = array.copy()
    image, warnings = check_volume(Image(array, FIXED), "moving volume")
    assert image.array[0, 0, 0] == 3
    assert warnings[0].startswith("moving volume: 1 NaN or infinite voxels")
    assert np.array_equal(array, before, equal_nan=True)
    clean = ramp(FIXED)
    assert check_volume(clean, "x") == (clean, [])


def test_check_volume_refuses_what_is_smaller_than_the_control_point_spacing() -> None:
    image = ramp(Grid((10, 30, 30), (2.0, 2.0, 2.0), (0, 0, 0), np.eye(3)))
    assert check_volume(image, "x", smallest=20)[1] == []
    with pytest.raises(InputError, match="60 x 60 x 20 mm large; it must measure at least 21 mm"):
        check_volume(image, "x", smallest=21)
    with pytest.raises(InputError, match="0 voxels"):
        check_volume(Image(np.zeros((0, 3, 3)), Grid((0, 3, 3), (1, 1, 1), (0, 0, 0), np.eye(3))), "x")


# ---- settings ---------------------------------------------------------------------------------------------------


def test_settings_that_make_no_sense(tmp_path: Path, refuse) -> None:
    pair = write_pair(tmp_path)
    good = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", tmp_path / "T.h5"]
    assert "there is no preset 'quick'" in refuse(*good, "--preset", "quick")
    assert "there is no device 'tpu'" in refuse(*good, "--device", "tpu")
    assert "--fixed-labels needs --moving-labels" in refuse(*good, "--fixed-labels", pair["A"])
    assert "--output-labels needs --moving-labels" in refuse(*good, "--output-labels", tmp_path / "L.nii.gz")
    assert "--moving-labels alone" in refuse(*good, "--moving-labels", pair["B"])
    assert "--guide-with-labels needs" in refuse(*good, "--guide-with-labels")
    assert "not allowed with" in refuse(*good, "--no-alignment", "--initial-transform", pair["A"])
    assert "unrecognized arguments: --sped" in refuse(*good, "--sped")
    assert "--output-transform" in refuse(*good[:-2])
    assert "invalid choice: 'regster'" in refuse("regster")
    assert "arguments are required" in refuse()
    assert "nothing to measure" in refuse("evaluate", "--transform", pair["F"])
    assert "belong together" in refuse("evaluate", "--transform", pair["F"], "--fixed-labels", pair["A"])


def test_cuda_asked_for_and_absent(tmp_path: Path, refuse, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    pair = write_pair(tmp_path)
    good = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", tmp_path / "T.h5"]
    assert "finds no such GPU; choose auto or cpu" in refuse(*good, "--device", "cuda")


def test_scans_apart_without_alignment(tmp_path: Path, refuse, monkeypatch) -> None:
    away = Grid(MOVING.shape, MOVING.spacing, MOVING.origin + 400, MOVING.direction)
    fixed, moving = save(ramp(FIXED), tmp_path / "f.nii.gz"), save(ramp(away), tmp_path / "m.nii.gz")
    sitk.WriteTransform(sitk.TranslationTransform(3, (-400.0, -400, -400)), str(tmp_path / "wrong.tfm"))
    sitk.WriteTransform(sitk.TranslationTransform(3, (400.0, 400, 400)), str(tmp_path / "right.tfm"))
    good = ["register", "--fixed", fixed, "--moving", moving, "--output-transform", tmp_path / "T.h5"]
    assert "do not overlap in space" in refuse(*good, "--no-alignment")
    assert "under the initial transform" in refuse(*good, "--initial-transform", tmp_path / "wrong.tfm")
    monkeypatch.setattr(pipeline, "register", fake_register())
    assert main([str(word) for word in good]) == 0  # the alignment brings them together
    assert main([str(word) for word in [*good, "--initial-transform", tmp_path / "right.tfm"]]) == 0


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("I.tfm", b"no transform", "cannot be read as a 3-D transform"),
        ("I.h5", b"\x89HDF\r\n\x1a\n" + b"\x00" * 90, "cannot be read as a 3-D transform"),
        ("I.tfm", b"", "is empty"),
        (
            "I.tfm",
            b"#Insight Transform File V1.0\nTransform: TranslationTransform_double_3_3\nParameters: 1 2",
            "truncated",
        ),
        ("I.nii.gz", None, "cannot be read as a 3-D transform|values per voxel|displacement"),
        ("I.tfm", None, "2-D"),
    ],
)
def test_a_bad_initial_transform(tmp_path: Path, refuse, name: str, content: bytes | None, what: str) -> None:
    pair, path = write_pair(tmp_path), tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name == "I.nii.gz":
        save(ramp(FIXED), path)  # a volume, no displacements
    else:
        sitk.WriteTransform(sitk.TranslationTransform(2, (1, 2)), str(path))
    good = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", tmp_path / "T.h5"]
    line = refuse(*good, "--initial-transform", path)
    assert str(path) in line
    assert any(part in line for part in what.split("|")), line


def test_bad_labels(tmp_path: Path, refuse, monkeypatch, capfd) -> None:
    pair = write_pair(tmp_path)
    good = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(tmp_path / "T.h5")]
    assert "this is no label map" in refuse(*good, "--fixed-labels", pair["A"], "--moving-labels", pair["M"])
    empty = str(save(Image(np.zeros(MOVING.shape, np.uint8), MOVING), tmp_path / "empty.nii.gz"))
    other = str(save(labels(FIXED, FIXED.centre + SHIFT), tmp_path / "other.nii.gz"))  # the moving labels, fixed grid
    monkeypatch.setattr(pipeline, "register", fake_register())
    assert main([*good, "--fixed-labels", pair["A"], "--moving-labels", empty]) == 0
    out = capfd.readouterr().out
    assert f"warning   {empty}: the label map is empty" in out
    assert "3                -      -" in out
    assert main([*good, "--fixed-labels", pair["A"], "--moving-labels", other]) == 0
    out = capfd.readouterr().out
    assert "the label map lies on another grid than its scan; it was resampled" in out
    row = next(line for line in out.splitlines() if line.startswith("3 "))
    assert float(row.split()[2]) > 0.6


# ---- outputs ----------------------------------------------------------------------------------------------------


def test_outputs_that_cannot_be(tmp_path: Path, refuse) -> None:
    pair = write_pair(tmp_path)
    inputs = ["register", "--fixed", pair["F"], "--moving", pair["M"]]
    assert "does not exist; create it first" in refuse(*inputs, "--output-transform", tmp_path / "no" / "T.h5")
    assert "unknown file extension" in refuse(*inputs, "--output-transform", tmp_path / "T.foo")
    assert "unknown file extension" in refuse(*inputs, "--output-transform", tmp_path / "T.mhd")
    assert "unknown file extension" in refuse(*inputs, "--output-transform", tmp_path / ".h5")
    assert "would overwrite the input" in refuse(*inputs, "--output-transform", pair["M"])
    good = [*inputs, "--output-transform", tmp_path / "T.h5"]
    assert "unknown file extension" in refuse(*good, "--output-volume", tmp_path / "W.h5")
    assert "unknown file extension" in refuse(*good, "--report", tmp_path / "R.txt")
    assert "two outputs" in refuse(*good, "--output-inverse", tmp_path / "." / "T.h5")
    error = ("--output-error", tmp_path / "E.nii.gz", "--preset", "multimodal")
    assert "--output-error is known of CT only; leave it out" in refuse(*good, *error)
    (tmp_path / "dir.nii.gz").mkdir()
    assert "is a folder" in refuse(*good, "--output-volume", tmp_path / "dir.nii.gz")
    (tmp_path / "link.nii.gz").symlink_to(pair["F"])
    assert "would overwrite the input" in refuse(*good, "--output-volume", tmp_path / "link.nii.gz")
    (tmp_path / "hard.nii.gz").hardlink_to(pair["M"])
    assert "would overwrite the input" in refuse(*good, "--output-volume", tmp_path / "hard.nii.gz")
    labelled = ["--moving-labels", pair["B"], "--fixed-labels", pair["A"]]
    assert "would overwrite the input" in refuse(*good, *labelled, "--output-labels", pair["B"])
    line = refuse("evaluate", "--transform", pair["F"], *labelled, "--json", tmp_path / "no" / "R.json")
    assert "does not exist" in line


def _unwritable(folder: Path) -> Path:
    if os.geteuid() != 0:
        folder.mkdir()
        folder.chmod(0o500)
        return folder
    return Path("/proc/self")  # not even the superuser may write there


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
def test_an_output_folder_that_cannot_be_written(tmp_path: Path, refuse) -> None:
    pair = write_pair(tmp_path)
    place = _unwritable(tmp_path / "locked")
    line = refuse("register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", place / "T.h5")
    assert "the output folder cannot be written" in line


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from helpers.samples import FIXED
from pddnet.errors import InputError
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.io.atomic_outputs import IMAGES, TRANSFORMS, OutputFiles

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
random = np.random.default_rng(0)
volume = Image(random.uniform(size=FIXED.shape).astype(np.float32), FIXED)
field = DisplacementField(random.uniform(size=(*FIXED.shape, 3)).astype(np.float32), FIXED)
for kind, endings in (("image", IMAGES), ("field", TRANSFORMS)):
    for ending in endings:
        try:
            with OutputFiles({"x": (Path(sys.argv[1]) / f"x{ending}", endings)}) as outputs:
                outputs.write_image("x", volume) if kind == "image" else outputs.write_field("x", field)
                outputs.commit()
            print("WRITTEN", kind, ending)
        except InputError as error:
            print("refused", error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_no_writer_leaves_a_truncated_file_on_a_full_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment())
    lines = done.stdout.splitlines()
    assert len(lines) == 4 + 9
    assert all(line.startswith(f"refused {tmp_path}") for line in lines), done.stdout
    assert all("free space on that disk" in line for line in lines)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_up_during_the_last_output(tmp_path: Path, monkeypatch, capfd) -> None:
    pair, write = write_pair(tmp_path), sitk.WriteImage

    def full(image: sitk.Image, path: str, *settings: object) -> None:
        write(image, path, *settings)
        if "spread" in path:
            os.truncate(path, os.path.getsize(path) - 9)  # what ITK does silently when the disk is full

    monkeypatch.setattr(pipeline, "register", fake_register())
    monkeypatch.setattr(sitk, "WriteImage", full)
    (tmp_path / "W.nii.gz").write_bytes(b"an older result")
    before = _digests(tmp_path)
    argv = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(tmp_path / "T.h5")]
    argv += ["--output-volume", str(tmp_path / "W.nii.gz"), "--output-spread", str(tmp_path / "U.nii.gz")]
    assert main(argv) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "U.nii.gz: it could not be written completely; free space" in err
    assert _digests(tmp_path) == before
