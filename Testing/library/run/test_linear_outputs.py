"""What a run writes and answers where a linear transform was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import samples
from helpers.geometry import rotation, sitk_points
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.affine import Affine
from pddnet.core.image import Image
from pddnet.core.linear import LinearTransform
from pddnet.core.result import Registration, Verdict
from pddnet.worker import tasks

CENTRE = samples.FIXED.centre
TURN = rotation(3.0, -5.0, 4.0)
MATRICES = {
    "rigid": TURN,
    "similarity": 1.05 * TURN,
    "affine": TURN @ np.array([[1.1, 0.1, 0], [0, 0.95, 0], [0, 0, 1]]),
}
POINTS = CENTRE + np.array([[0.0, 0, 0], [20, -9, 4], [-8, 14, -19], [5, 6, 25]])
NAMES = {"rigid": "Euler3DTransform", "similarity": "Similarity3DTransform", "affine": "AffineTransform"}


def _linear(kind: str) -> LinearTransform:
    matrix = MATRICES[kind]
    return LinearTransform(Affine(matrix, CENTRE + samples.SHIFT - matrix @ CENTRE), kind, CENTRE)


def _expected(kind: str) -> np.ndarray:
    return (POINTS - CENTRE) @ MATRICES[kind].T + CENTRE + samples.SHIFT


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the registration that finds `_linear`."""

    def register(fixed: Image, moving: Image, preset: Any, *, transform_type: str, **_: Any) -> Registration:
        linear, grid = _linear(transform_type), fixed.grid.isotropic(4.0, 30.0)
        spread, verdict = Image(np.zeros(grid.shape, np.float32), grid), Verdict("ok", (), 0.1, {"similarity": 0.9})
        return Registration(
            linear.sampled(grid), spread, verdict, fixed.grid, "default", "cpu", {"align": 1.0}, None, linear=linear
        )

    monkeypatch.setattr(pipeline, "register", register)


def _run(folder: Path, kind: str, *more: str) -> dict[str, Any]:
    """Register by the command, with all outputs; return the report."""
    pair = samples.write_pair(folder)
    scans = ["--fixed", pair["F"], "--moving", pair["M"], "--fixed-labels", pair["A"], "--moving-labels", pair["B"]]
    outputs = {"volume": "W.nii.gz", "labels": "L.nii.gz", "jacobian": "J.nii.gz", "spread": "U.nii.gz"}
    paths = [part for key, name in outputs.items() for part in (f"--output-{key}", str(folder / name))]
    report = ["--report", str(folder / "R.json")]
    assert main(["register", *scans, "--transform-type", kind, *paths, *report, *more]) == 0
    return json.loads((folder / "R.json").read_text())


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("ending", [".tfm", ".h5", ".txt", ".mat"])
def test_transform_files_hold_itks_linear_transform(tmp_path: Path, kind: str, ending: str) -> None:
    paths = [str(tmp_path / f"{name}{ending}") for name in "TV"]
    _run(tmp_path, kind, "--output-transform", paths[0], "--output-inverse", paths[1])
    forward, inverse = (sitk.ReadTransform(path) for path in paths)
    assert forward.GetName() == inverse.GetName() == NAMES[kind]
    assert sitk_points(forward, POINTS) == pytest.approx(_expected(kind), abs=1e-5)
    assert sitk_points(inverse, _expected(kind)) == pytest.approx(POINTS, abs=1e-5)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_volume_files_hold_its_samples(tmp_path: Path, ending: str) -> None:
    paths = [str(tmp_path / f"{name}{ending}") for name in "TV"]
    _run(tmp_path, "affine", "--output-transform", paths[0], "--output-inverse", paths[1])
    forward, inverse = (sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64)) for path in paths)
    assert sitk_points(forward, POINTS) == pytest.approx(_expected("affine"), abs=1e-3)
    assert sitk_points(inverse, _expected("affine")) == pytest.approx(POINTS, abs=1e-3)


def test_the_other_outputs_and_the_report_follow_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The moving ramp tells the place that each voxel was taken from."""
    report = _run(tmp_path, "similarity", "--output-transform", str(tmp_path / "T.tfm"))
    warped = Image.from_sitk(sitk.ReadImage(str(tmp_path / "W.nii.gz")))
    points = samples.FIXED.points()
    places = (points - CENTRE) @ MATRICES["similarity"].T + CENTRE + samples.SHIFT
    inside = (
        samples.MOVING.contains(places) & samples.MOVING.contains(places + 5.0) & samples.MOVING.contains(places - 5)
    )
    assert inside.mean() > 0.3
    assert np.abs(warped.array - (places - CENTRE) @ samples.SLOPE)[inside].max() < 1.5  # HU, of integers
    jacobian = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "J.nii.gz")))
    assert jacobian == pytest.approx(np.full(jacobian.shape, 1.05**3), abs=1e-3)
    assert report["transform_type"] == "similarity"
    assert np.array(report["linear"]["matrix"]) == pytest.approx(_linear("similarity").matrix)
    assert report["linear"]["translation_mm"] == pytest.approx(samples.SHIFT)
    assert report["linear"]["scale"] == pytest.approx(1.05)
    assert report["linear"]["centre_lps_mm"] == pytest.approx(CENTRE)
    assert report["jacobian"]["folding_percent"] == 0
    dice = {row["label"]: row["dice_after"] for row in report["labels"]["table"]}
    assert dice[1] > 0.9
    line = "linear    similarity: shift 7.0 -13.0 9.0 mm (LPS), turn 7.1 degrees, scale 1.050\n"
    assert line in capsys.readouterr().out


def test_the_worker_answers_with_the_matrix() -> None:
    scans = {"fixed": samples.ramp(samples.FIXED), "moving": samples.ramp(samples.MOVING)}
    done = tasks.register(lambda *_: None, **scans, transform_type="rigid", inverse=True)
    assert done["matrix"] == pytest.approx(_linear("rigid").matrix)
    assert done["inverse"].transform_points(_expected("rigid")) == pytest.approx(POINTS, abs=1e-3)
    assert done["field"].transform_points(POINTS) == pytest.approx(_expected("rigid"), abs=1e-3)
    assert done["report"]["inverse_residual_mm"] == 0


def test_an_unknown_type_is_refused_before_the_scans_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["register", "--fixed", "F", "--moving", "M", "--output-transform", "T.tfm", "--transform-type", "bent"]
    assert main(arguments) == 2
    assert "no transform type 'bent'; choose one of deformable, rigid, similarity, affine" in capsys.readouterr().err
