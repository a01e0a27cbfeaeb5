"""The command's contract: what the outputs hold, what is printed, which code comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.samples import (
    FIXED,
    MOVING,
    SHIFT,
    SLOPE,
    ball,
    body,
    centred,
    direction,
    fake_register,
    labels,
    save,
    write_pair,
)
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.image import Image
from pddnet.errors import Cancelled

FAR = 1.5  # mm; well above rounding, well below SHIFT


def _register(pair: dict[str, str], folder: Path, *more: str) -> list[str]:
    return ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(folder / "T.h5"), *more]


@pytest.mark.parametrize("ending", [".h5", ".tfm", ".txt", ".mat", ".nii.gz", ".nrrd", ".mha"])
def test_the_transform_maps_fixed_to_moving_points(tmp_path: Path, calls: list[dict], ending: str) -> None:
    pair = write_pair(tmp_path)
    argv = ["register", "--fixed", pair["F"], "--moving", pair["M"], "--output-transform", str(tmp_path / f"T{ending}")]
    assert main(argv) == 0
    if ending in (".h5", ".tfm", ".txt", ".mat"):
        transform = sitk.ReadTransform(str(tmp_path / f"T{ending}"))
    else:
        image = sitk.ReadImage(str(tmp_path / f"T{ending}"), sitk.sitkVectorFloat64)
        transform = sitk.DisplacementFieldTransform(image)
    for corner in FIXED.corners() * 0.9 + FIXED.centre * 0.1:
        assert np.allclose(transform.TransformPoint(corner.tolist()), corner + SHIFT, atol=1e-3)


def test_every_output_holds_what_it_should(tmp_path: Path, calls: list[dict]) -> None:
    pair = write_pair(tmp_path)
    names = {"volume": "W.mha", "labels": "L.nrrd", "inverse": "V.nii.gz", "jacobian": "J.nii", "spread": "U.nii.gz"}
    names["error"] = "E.nii.gz"
    more = [word for name, file in names.items() for word in (f"--output-{name}", str(tmp_path / file))]
    more += ["--fixed-labels", pair["A"], "--moving-labels", pair["B"], "--report", str(tmp_path / "R.json")]
    assert main(_register(pair, tmp_path, *more)) == 0

    warped = sitk.ReadImage(str(tmp_path / "W.mha"))
    assert warped.GetPixelID() == sitk.sitkInt16
    assert warped.GetSize() == tuple(FIXED.size)
    fixed = sitk.ReadImage(pair["F"])
    assert np.allclose(warped.GetOrigin(), fixed.GetOrigin(), atol=1e-3)
    assert np.allclose(warped.GetDirection(), fixed.GetDirection(), atol=1e-5)
    for index in ((13, 11, 9), (8, 12, 6), (17, 9, 11)):  # the moving volume is a ramp: its value tells the place
        place = np.array(fixed.TransformIndexToPhysicalPoint(index)) + SHIFT
        assert abs(warped[index] - (place - FIXED.centre) @ SLOPE) < FAR

    moved = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "L.nrrd")))
    expected = labels(FIXED, FIXED.centre).array
    assert set(np.unique(moved)) == {0, 1, 3}
    assert (moved == expected).mean() > 0.97
    inverse = sitk.DisplacementFieldTransform(sitk.ReadImage(str(tmp_path / "V.nii.gz"), sitk.sitkVectorFloat64))
    middle = FIXED.centre + SHIFT
    assert np.allclose(inverse.TransformPoint(middle.tolist()), FIXED.centre, atol=0.01)
    jacobian = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "J.nii")))
    assert np.allclose(jacobian, 1, atol=1e-4)
    spread = sitk.ReadImage(str(tmp_path / "U.nii.gz"))
    assert np.allclose(sitk.GetArrayFromImage(spread), 1.5)
    assert np.allclose(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "E.nii.gz"))), 2.25)
    assert spread.GetSize() == sitk.ReadImage(str(tmp_path / "J.nii")).GetSize()


def test_the_report_and_the_table_say_what_came_out(tmp_path: Path, calls: list[dict], capsys) -> None:
    pair = write_pair(tmp_path)
    more = ["--fixed-labels", pair["A"], "--moving-labels", pair["B"], "--report", str(tmp_path / "R.json")]
    assert main(_register(pair, tmp_path, *more)) == 0
    text = (tmp_path / "R.json").read_text()
    report = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    assert report["verdict"] == {
        "status": "ok",
        "reasons": [],
        "risk": 0.25,
        "measures": {"overlap": None, "peak_ratio": 1.5},
    }
    assert list(report["seconds"]) == ["start", "read", "align", "deform", "write", "measure", "total"]
    assert report["seconds"]["align"] == 0.5
    assert report["device"] == "cpu"
    assert report["preset"] == "default"
    assert report["versions"]["SimpleITK"] == sitk.Version.VersionString()
    assert report["versions"]["torch"].startswith("2.")
    assert report["inverse_consistency_mm"] == 0.2
    assert report["jacobian"]["mean"] == pytest.approx(1, abs=1e-4)
    assert report["jacobian"]["folding_percent"] == 0
    assert report["grids"]["moving"]["size"] == [28, 30, 24]
    assert np.allclose(report["grids"]["fixed"]["direction"], FIXED.direction, atol=1e-5)
    *of_scans, of_run = report["warnings"]
    assert of_run == "from the run"
    assert of_scans[0] == f"{pair['F']}: no air is shown, the values lie between -343 and 343; they were taken as HU"
    assert of_scans[1].startswith(f"{pair['M']}: no air is shown")
    section = report["labels"]
    assert (section["guided"], section["before"]) == (False, "identity")
    assert [row["label"] for row in section["table"]] == [1, 3]
    small = section["table"][1]
    # a ball of radius 7 mm moved by |SHIFT| = 17.3 mm: no overlap, and surfaces about that far apart
    assert small["dice_before"] == 0
    assert small["dice_after"] > 0.8
    assert small["hd95_before"] == pytest.approx(np.linalg.norm(SHIFT), abs=4)
    assert small["hd95_after"] < 5  # a voxel of the fixed grid is 4 mm high
    rows = report["structures"]["table"]
    assert [row["name"] for row in rows] == ["left kidney", "colon", "liver", "bladder"]
    assert rows[0]["shift_mm"] == pytest.approx(np.sqrt(6**2 + 13**2 + 26**2))
    assert rows[0]["shift_lps_mm"] == [6.0, -13.0, 26.0]
    assert rows[0]["expected_error_mm"] == 14.5
    assert rows[3]["centre_lps_mm"] is None
    out, err = capsys.readouterr()
    assert err == ""
    assert "verdict   ok" in out
    assert "organs    left kidney astray by 3 cm; colon doubtful; 1 of 3 ok" in out
    assert f"3            0.000  {small['dice_after']:.3f}" in out
    assert "before: identity" in out
    assert "warning   from the run" in out
    assert "\r" not in out


def test_before_means_the_initial_transform_where_one_is_given(tmp_path: Path, calls: list[dict]) -> None:
    pair = write_pair(tmp_path)
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT.tolist()), str(tmp_path / "I.tfm"))
    more = ["--fixed-labels", pair["A"], "--moving-labels", pair["B"], "--report", str(tmp_path / "R.json")]
    assert main(_register(pair, tmp_path, *more, "--initial-transform", str(tmp_path / "I.tfm"))) == 0
    section = json.loads((tmp_path / "R.json").read_text())["labels"]
    assert section["before"] == "initial transform"
    assert section["table"][1]["dice_before"] > 0.8
    assert np.allclose(calls[0]["initial_transform"].TransformPoint((1, 2, 3)), SHIFT + [1, 2, 3])


def test_labels_reach_the_registration_only_when_they_may_guide(tmp_path: Path, calls: list[dict], capsys) -> None:
    pair = write_pair(tmp_path)
    more = ["--fixed-labels", pair["A"], "--moving-labels", pair["B"]]
    assert main(_register(pair, tmp_path, *more)) == 0
    assert "GUIDED" not in capsys.readouterr().out
    assert main(_register(pair, tmp_path, *more, "--guide-with-labels", "--report", str(tmp_path / "R.json"))) == 0
    assert "GUIDED" in capsys.readouterr().out
    assert json.loads((tmp_path / "R.json").read_text())["labels"]["guided"] is True
    assert calls[0]["fixed_labels"] is None
    assert calls[0]["moving_labels"] is None
    assert set(np.unique(calls[1]["moving_labels"].array)) == {0, 1, 3}


def test_settings_reach_the_registration(tmp_path: Path, calls: list[dict]) -> None:
    pair = write_pair(tmp_path)
    mask = save(Image(ball(MOVING, FIXED.centre, 20).astype(np.uint8), MOVING), tmp_path / "Q.nii.gz")
    more = ["--no-alignment", "--preset", "fast", "--device", "cpu", "--moving-mask", str(mask)]
    assert main(_register(pair, tmp_path, *more)) == 0
    call = calls[0]
    assert (call["align"], call["preset"].name, call["device"]) == (False, "fast", "cpu")
    assert call["fixed_mask"] is None
    assert np.array_equal(call["moving_mask"].array, ball(MOVING, FIXED.centre, 20))


def test_a_failed_verdict_is_code_3_with_all_outputs(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(pipeline, "register", fake_register("failed"))
    pair = write_pair(tmp_path)
    assert main(_register(pair, tmp_path, "--output-volume", str(tmp_path / "W.nii.gz"))) == 3
    out, err = capsys.readouterr()
    assert "verdict   failed\n          - the views hardly overlap" in out
    assert err == ""
    assert sitk.ReadTransform(str(tmp_path / "T.h5")).GetDimension() == 3
    assert sitk.ReadImage(str(tmp_path / "W.nii.gz")).GetSize() == tuple(FIXED.size)


@pytest.mark.parametrize(("error", "code"), [(Cancelled, 130), (KeyboardInterrupt, 130)])
def test_a_run_that_is_stopped_leaves_what_was_there(tmp_path: Path, monkeypatch, capsys, error, code: int) -> None:
    def register(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "register", register)
    pair = write_pair(tmp_path)
    (tmp_path / "T.h5").write_bytes(b"older result")
    files = sorted(tmp_path.iterdir())
    assert main(_register(pair, tmp_path)) == code
    assert capsys.readouterr().err == "pddnet: interrupted; nothing was written\n"
    assert sorted(tmp_path.iterdir()) == files
    assert (tmp_path / "T.h5").read_bytes() == b"older result"


def test_a_fault_of_the_program_is_one_line_too(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(pipeline, "register", lambda *_, **__: 1 / 0)
    assert main(_register(write_pair(tmp_path), tmp_path)) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ZeroDivisionError" in err
    assert not (tmp_path / "T.h5").exists()


def test_a_bar_on_a_terminal(tmp_path: Path, calls: list[dict], monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(_register(write_pair(tmp_path), tmp_path)) == 0
    out = capsys.readouterr().out
    assert "\r[" in out
    assert " 60 %  stage 1" in out


def _evaluate_transforms(folder: Path) -> dict[str, Path]:
    """One translation, T = SHIFT, as the transforms that programs write."""
    shift = SHIFT.tolist()
    affine = sitk.AffineTransform(3)
    affine.SetTranslation(shift)
    spline = sitk.BSplineTransform(3)
    spline.SetTransformDomainOrigin((FIXED.centre - 200).tolist())
    spline.SetTransformDomainPhysicalDimensions((400, 400, 400))
    spline.SetTransformDomainMeshSize((4, 4, 4))
    spline.SetParameters(np.repeat(shift, 7**3).tolist())
    half = sitk.TranslationTransform(3, (SHIFT / 2).tolist())
    grid = FIXED.isotropic(5.0, 60.0)
    image = sitk.GetImageFromArray(np.broadcast_to(SHIFT, (*grid.shape, 3)).astype(np.float64), isVector=True)
    image.SetOrigin(grid.origin.tolist())
    image.SetSpacing(grid.spacing.tolist())
    image.SetDirection(grid.direction.ravel().tolist())
    paths = {name: folder / name for name in ("a.txt", "b.h5", "c.h5", "d.mat", "e.nii.gz", "f.tfm")}
    sitk.WriteTransform(affine, str(paths["a.txt"]))
    sitk.WriteTransform(spline, str(paths["b.h5"]))
    sitk.WriteTransform(sitk.CompositeTransform([half, half]), str(paths["c.h5"]))
    sitk.WriteTransform(affine, str(paths["d.mat"]))
    sitk.WriteImage(image, str(paths["e.nii.gz"]))
    sitk.WriteTransform(sitk.TranslationTransform(3, shift), str(paths["f.tfm"]))
    return paths


def test_evaluate_measures_any_itk_transform(tmp_path: Path, capsys) -> None:
    pair = write_pair(tmp_path)
    error = np.array([3.0, 4.0, 0.0])
    points = {f"p{i}": FIXED.centre + [5 * i, -3 * i, 2 * i] for i in range(3)}
    for name, add in (("P.csv", np.zeros(3)), ("Q.csv", SHIFT + error)):
        rows = [f"{key},{','.join(str(v) for v in point + add)}" for key, point in points.items()]
        (tmp_path / name).write_text("\n".join(["name,x,y,z", *rows]))
    tail = ["--fixed-labels", pair["A"], "--moving-labels", pair["B"]]
    tail += ["--fixed-points", str(tmp_path / "P.csv"), "--moving-points", str(tmp_path / "Q.csv")]
    for name, path in _evaluate_transforms(tmp_path).items():
        json_path = tmp_path / f"{name}.json"
        assert main(["evaluate", "--transform", str(path), "--json", str(json_path), *tail]) == 0
        report = json.loads(json_path.read_text())
        tre = report["tre_mm"]
        for key in ("mean", "median", "max"):
            assert tre[key]["after"] == pytest.approx(5.0, abs=0.01), name
            assert tre[key]["before"] == pytest.approx(np.linalg.norm(SHIFT + error), abs=1e-6)
        assert [row["name"] for row in tre["points"]] == ["p0", "p1", "p2"]
        small = report["labels"]["table"][1]
        assert (small["label"], small["dice_before"]) == (3, 0)
        assert small["dice_after"] > 0.8, name
        assert report["labels"]["guided"] is None
    out = capsys.readouterr().out
    assert "label  Dice before" in out
    assert "median    16.2    5.0" in out


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import importlib, pkgutil, pddnet.files
for room in ("core", "io", "evaluation", "phantom", "worker", "cli"):
    package = importlib.import_module("pddnet." + room)
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name != "pddnet.cli.compare":  # it registers
            importlib.import_module(module.name)
from pddnet.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_without_torch_evaluate_works_and_register_says_what_is_missing(tmp_path: Path) -> None:
    pair = write_pair(tmp_path)
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT.tolist()), str(tmp_path / "T.tfm"))
    tail = ["--fixed-labels", pair["A"], "--moving-labels", pair["B"], "--transform", str(tmp_path / "T.tfm")]
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run([*command, "evaluate", *tail], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout.splitlines()[3].split()[2]) > 0.8  # Dice after, label 3
    argv = _register(pair, tmp_path)
    done = subprocess.run([*command, *argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install torch" in done.stderr


def test_version_and_help_come_without_the_heavy_modules() -> None:
    code = "import sys; from pddnet.cli.main import main; c = main(['--version']); print(c, 'SimpleITK' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    version, rest = done.stdout.splitlines()
    assert version.startswith("pddnet 0.")
    assert rest == "0 False"


def test_the_help_of_register_is_word_for_word_what_it_was(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """As at commit be3eb25, before the outputs came from a table; line breaks differ between Pythons."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["register", "--help"]) == 0
    before = (Path(__file__).parent / "register_help.txt").read_text("utf-8")
    assert capsys.readouterr().out.split() == before.split()


def test_the_process_leaves_at_once_with_its_code_and_all_that_it_printed() -> None:
    code = "import atexit; atexit.register(print, 'late'); from pddnet.__main__ import command; command()"
    for argv, expected in ((["--version"], (0, "pddnet 0.", "")), (["register"], (2, "", "pddnet: the following"))):
        done = subprocess.run(
            [sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == expected[0]
        assert done.stdout.startswith(expected[1])
        assert "late" not in done.stdout
        assert done.stderr.startswith(expected[2])


def test_a_volume_upon_itself_through_the_real_registration(tmp_path: Path) -> None:
    grid = centred((24, 28, 28), (4.0, 4.0, 4.0), np.array([10.0, -20, 30]), direction(3))
    path = str(save(body(grid), tmp_path / "scan.nii.gz"))
    code = main(["register", "--fixed", path, "--moving", path, "--output-transform", str(tmp_path / "T.h5")])
    assert code in (0, 3)  # so small a scan may be doubted
    transform = sitk.ReadTransform(str(tmp_path / "T.h5"))
    moved = [np.array(transform.TransformPoint(p.tolist())) - p for p in grid.points()[ball(grid, grid.centre, 15)]]
    assert np.median(np.linalg.norm(moved, axis=1)) < 2


@pytest.mark.slow
def test_labels_that_are_only_measured_leave_the_transform_bit_identical(tmp_path: Path) -> None:
    grid = centred((24, 28, 28), (4.0, 4.0, 4.0), np.array([10.0, -20, 30]), direction(3))
    fixed, moving = str(save(body(grid), tmp_path / "fixed.nii.gz")), str(tmp_path / "moving.nii.gz")
    shifted = centred((22, 27, 29), (4.5, 4.0, 4.0), np.array([25.0, -28, 41]), direction(5))
    save(body(shifted), Path(moving))
    labels = {}
    for name, g in (("A", grid), ("B", shifted)):
        image = Image(ball(g, g.centre + [8.0, 0, 0], 14).astype(np.uint8), g)
        labels[name] = str(save(image, tmp_path / f"{name}.nii.gz"))
    base = ["register", "--fixed", fixed, "--moving", moving, "--preset", "fast", "--output-transform"]
    measured = ["--fixed-labels", labels["A"], "--moving-labels", labels["B"]]
    fields = []
    for name, more in (("plain", []), ("measured", measured), ("guided", [*measured, "--guide-with-labels"])):
        assert main([*base, str(tmp_path / f"{name}.nii.gz"), *more]) in (0, 3)
        fields.append(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}.nii.gz"))))
    assert np.array_equal(fields[0], fields[1])
    assert np.abs(fields[0] - fields[2]).max() > 0.5


def test_settings_in_place_of_the_presets_reach_the_registration(tmp_path: Path, calls: list[dict]) -> None:
    pair = write_pair(tmp_path)
    more = ["--capture-range", "60", "--smoothness", "2", "--iterations", "5", "--one-way"]
    assert main(_register(pair, tmp_path, *more)) == 0
    preset = calls[0]["preset"]
    assert preset.name == "default (changed)"
    assert (preset.stages[0].capture_range_mm, preset.stages[0].iterations, preset.stages[0].both_ways) == (
        60,
        5,
        False,
    )
    assert not calls[0]["diffeomorphic"]
    assert main(_register(pair, tmp_path, "--control-spacing", "3")) == 2
    assert main(_register(pair, tmp_path, "--diffeomorphic")) == 0
    assert calls[1]["diffeomorphic"]


def test_a_run_starts_from_points(tmp_path: Path, calls: list[dict], capsys: pytest.CaptureFixture) -> None:
    """Their start is a transform: fixed points to moving ones."""
    pair = write_pair(tmp_path)
    places = FIXED.centre + np.array([[20.0, -15, 10], [-25, 5, 18], [3, 22, -30]])
    for name, points in (("P", places), ("Q", places + SHIFT)):
        rows = [f"{n},{x},{y},{z}" for n, (x, y, z) in enumerate(points)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["name,x,y,z", *rows]))
    points = ["--fixed-points", str(tmp_path / "P.csv"), "--moving-points", str(tmp_path / "Q.csv")]
    assert main(_register(pair, tmp_path, *points)) == 0
    start = calls[0]["initial_transform"]
    assert np.allclose(start.TransformPoint(FIXED.centre.tolist()), FIXED.centre + SHIFT, atol=1e-6)
    assert main(_register(pair, tmp_path, *points[:2])) == 2
    assert "--fixed-points and --moving-points belong together" in capsys.readouterr().err
    assert main(_register(pair, tmp_path, *points, "--no-alignment")) == 2
    assert "a run starts from points" in capsys.readouterr().err
