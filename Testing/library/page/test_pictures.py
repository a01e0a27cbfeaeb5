"""The pictures show both scans along the patient's planes: where they lie, and laid over each other."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Pillow

from helpers import samples
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.page import pictures, planes
from pddnet.page.pictures import Subject, check_matplotlib, draw


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Two oblique scans, the moving one flipped, and the true shift."""
    fixed, moving = samples.small_pair()
    return subject_of(fixed, moving)


def subject_of(fixed: Image, moving: Image, **more: Any) -> Subject:
    found = samples.fake_register()(fixed, moving)
    given = {"error": found.expected_error, "spread": found.uncertainty} | more
    return Subject(fixed, moving, found.to_sitk(), found.field, **given)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("view", planes.VIEWS)
def test_the_registered_scan_lies_on_the_fixed_one(subject: Subject, view: str) -> None:
    where = subject.fixed_plane(view)
    fixed = subject.grey(0, where)
    before, after = (subject.grey(1, where, transform) for transform in (None, subject.transform))
    assert likeness(fixed, after) > 0.9  # noise, sampled twice
    assert likeness(fixed, before) < 0.75


def test_the_grey_values_are_those_of_the_scan(subject: Subject) -> None:
    where = subject.fixed_plane("coronal")
    judge = sitk.Resample(
        subject.fixed.to_sitk(), where.size.tolist(), sitk.Transform(), sitk.sitkLinear, where.origin.tolist(),
        where.spacing.tolist(), where.direction.ravel().tolist(), -1024.0, sitk.sitkFloat64,
    )  # fmt: skip
    hu = sitk.GetArrayFromImage(judge)[0]
    assert np.abs(subject.grey(0, where) - np.clip((hu + 160) / 400, 0, 1)).max() < 2e-3  # whole HU


def test_the_planes_go_through_the_middle_of_what_both_scans_show(subject: Subject) -> None:
    assert np.linalg.norm(subject.focus - samples.FIXED.centre) < 3
    cut = Image(subject.moving.array[:8], samples.centred((8, 30, 28), (2.8, 3.1, 3.5), [0, 0, 0], np.eye(3)))
    elsewhere = Subject(subject.fixed, cut, subject.transform, subject.field)  # shares nothing
    assert np.allclose(elsewhere.focus, subject.focus, atol=3)


@pytest.mark.slow
def test_two_pictures_of_three_planes(subject: Subject) -> None:
    drawn = draw(subject)
    assert [picture.titles[-1] for picture in drawn] == ["Moving scan, registered", "Expected error (mm)"]
    low, high = subject.window
    tall = sum(float((high - low)[down]) for _, (down, _), _ in planes.VIEWS.values()) / float(max((high - low)[:2]))
    for picture in drawn:
        image = Pillow.open(io.BytesIO(picture.png))
        columns = len(picture.titles)
        assert image.width == pytest.approx(pictures.WIDTH_INCHES * pictures.DPI, abs=1)
        assert image.height == pytest.approx(tall * image.width / columns, rel=0.05)
        assert set(image.info) <= {"dpi"}  # nothing is told but the picture
    overlay = np.asarray(Pillow.open(io.BytesIO(drawn[1].png)).convert("RGB"), float)
    width = overlay.shape[1] // 4
    colourful = [np.ptp(overlay[:, n * width : (n + 1) * width], axis=-1).mean() for n in (0, 1)]
    assert colourful[1] < 0.25 * colourful[0]  # what agrees is grey


@pytest.mark.slow
def test_without_ct_the_spread_stands_for_the_error(subject: Subject) -> None:
    scans = [Image(scan.array.astype(np.float32) * 3 + 5000, scan.grid) for scan in (subject.fixed, subject.moving)]
    other = subject_of(*scans, error=None, hu=False)
    assert other.body.array.all()
    assert other.grey(0, other.fixed_plane("axial")).max() > 0.95
    assert draw(other)[1].titles[-1] == "Spread (mm)"
    unknown = draw(subject_of(*scans, error=None, spread=None, hu=False))[1]
    assert unknown.titles[-1] == "Grid of 20 mm"
    assert unknown.caption.endswith("bends it.")


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    check_matplotlib("--report-html")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"--report-html draws with matplotlib.*pip install matplotlib"):
        check_matplotlib("--report-html")


@pytest.mark.slow
def test_the_worker_makes_the_page_of_any_transform() -> None:
    """Also of a matrix, and where the maps are not known."""
    from pddnet.evaluation import report
    from pddnet.worker import page_task

    fixed, moving = samples.small_pair()
    found = samples.fake_register()(fixed, moving)
    told = report.registration_report(
        found, fixed, moving.grid, np.ones(found.field.grid.shape), seconds={"total": 1.0}
    )
    matrix = np.eye(4)
    matrix[:3, 3] = samples.SHIFT
    stages: list[str] = []
    answer = page_task.page(
        lambda _, stage: stages.append(stage), report=told, fixed=fixed, moving=moving, transform=matrix, title="A & B"
    )
    page = answer["file"].tobytes().decode("utf-8")
    assert "<h1>A &amp; B</h1>" in page
    assert "Expected error (mm)" not in page
    assert stages == ["draw"]
    answer = page_task.page(lambda *_: None, report=told, fixed=fixed, moving=moving, transform=matrix, pdf=True)
    assert answer["file"].tobytes().startswith(b"%PDF-")


@pytest.mark.slow
@pytest.mark.parametrize("intensity", ["auto", "hu"])
def test_the_page_takes_the_values_for_what_the_run_did(intensity: str) -> None:
    from pddnet.core.presets import find_preset
    from pddnet.evaluation import report
    from pddnet.run.provenance import settings
    from pddnet.run.registration import RunInputs
    from pddnet.worker import page_task

    fixed, moving = samples.small_pair()
    found = samples.fake_register()(fixed, moving)
    values = np.random.default_rng(0).normal(600, 300, fixed.array.shape).clip(0, 3000)
    odd = Image(values.astype(np.float32), fixed.grid)  # of which nobody knows whether it is HU
    inputs = RunInputs(odd, odd)
    inputs.bring_to_hu(find_preset("default"), "hu")
    told = report.registration_report(
        found, odd, odd.grid, np.ones(found.field.grid.shape), seconds={"total": 1.0},
        settings=settings(inputs, find_preset("default")) | ({} if intensity == "hu" else {"intensity": intensity}),
    )  # fmt: skip
    if intensity == "hu":
        page_task.drawn_page(told, odd, odd, found.field)
    else:
        with pytest.raises(InputError, match="intensity 'hu'"):
            page_task.drawn_page(told, odd, odd, found.field)
