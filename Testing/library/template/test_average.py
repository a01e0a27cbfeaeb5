"""Means and standard deviations, sharpness, and the mean of scans whose mean is known by a formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import anatomy
from helpers.samples import FIXED, MOVING, ramp, save
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.template.average import Member, Placed, Settings, average, on_mean_shape, read_hu, read_scan, shape_of
from pddnet.template.moments import Moments, edge_strength, sharpened

SETTINGS = Settings(spacing_mm=2.5)


def _silent(share: float, name: str) -> None:
    pass


def test_mean_and_deviation_are_those_of_the_values_that_are_known() -> None:
    rng = np.random.default_rng(4)
    volumes = rng.normal(1e3, 2, (6, 3, 4, 5)).astype(np.float32)
    volumes[rng.random(volumes.shape) < 0.3] = np.nan
    volumes[:5, 0, 0, 0] = np.nan  # one value only
    volumes[:, 0, 0, 1] = np.nan  # none
    found = Moments((3, 4, 5))
    for volume in volumes:
        found.add(volume)
    known = np.isfinite(volumes).sum(0)
    assert np.array_equal(found.count, known)
    many = known > 1
    assert np.allclose(found.mean[many], np.nanmean(volumes[:, many], axis=0), atol=1e-3)
    assert np.allclose(found.deviation[many], np.nanstd(volumes[:, many], axis=0, ddof=1), atol=1e-2)
    assert not found.deviation[~many].any() and found.mean[0, 0, 1] == 0


def test_the_sharpness_of_a_ramp_is_its_slope() -> None:
    """HU per mm, on an oblique, left-handed, anisotropic grid; what is no soft tissue has no slope."""
    slope = np.array([1.0, -2.0, 0.5])
    ramp = Image(((MOVING.points() - MOVING.centre) @ slope).astype(np.float32), MOVING)
    body = np.zeros(MOVING.shape, bool)
    body[10:14, 12:18, 12:16] = True
    assert edge_strength(ramp, body) == pytest.approx(np.linalg.norm(slope), rel=1e-4)
    assert edge_strength(Image(ramp.array + 5000, MOVING), body) == 0


def test_sharpening_steepens_an_edge_and_leaves_the_rest() -> None:
    """A blurred step of 100 HU along x; far from it, and where nothing is shown, nothing changes."""
    distance = (FIXED.points() - FIXED.centre) @ FIXED.direction[:, 0]
    step = (50 * np.tanh(distance / 5)).astype(np.float32)
    step[:, :, -1] = -1024
    found = sharpened(Image(step, FIXED)).array
    assert np.abs(found[:, :, 0] - step[:, :, 0]).max() < 0.5
    assert (found[:, :, -1] == -1024).all() and found[:, :, :-1].min() > -80
    middle = slice(FIXED.shape[2] // 2 - 2, FIXED.shape[2] // 2 + 2)
    before, after = (np.gradient(each, axis=2)[:, :, middle].mean() for each in (step, found))
    assert 1.15 < after / before < 2


def _placed(folder: Path) -> list[Placed]:
    """All scans, with their true maps from the first one."""
    found = []
    for number, path in enumerate(anatomy.write_scans(folder)):
        ratio = anatomy.SCALES[number] / anatomy.SCALES[0]
        shift = anatomy.SHIFTS[number] - ratio * anatomy.SHIFTS[0]
        transform = folder / f"t{number}.tfm"
        sitk.WriteTransform(sitk.AffineTransform(np.diag(ratio).ravel().tolist(), shift.tolist()), str(transform))
        found.append(Placed(Member(f"s{number}", path), transform if number else None))
    return found


def test_the_mean_is_the_anatomy_at_the_mean_place_and_scale(tmp_path: Path) -> None:
    placed = _placed(tmp_path)
    found = average(read_hu(placed[0].member.scan, SETTINGS), placed, SETTINGS, _silent)
    points = anatomy.mean_points(found.image.grid)
    inside = np.linalg.norm(points, axis=-1) < anatomy.RADIUS_MM - 6
    error = found.image.array[inside] - anatomy.hu(points[inside])
    assert inside.sum() > 2000 and np.abs(error).mean() < 3 and abs(error.mean()) < 1
    wrong = anatomy.hu(points[inside] + [2.0, 0, 0])  # the test sees 2 mm
    assert np.abs(found.image.array[inside] - wrong).mean() > 6
    assert found.body[inside].all() and found.spread_hu < 60
    assert found.shape.least_determinant > 0.5


def test_where_few_scans_show_anything_the_mean_shows_nothing(tmp_path: Path) -> None:
    """One scan of three lacks a half: there two show something, at its ends perhaps one."""
    placed = _placed(tmp_path)
    scan = read_hu(placed[1].member.scan, SETTINGS)
    padded = scan.array.copy()
    padded[:, :, : padded.shape[2] // 2] = -2000  # the scanner's padding
    save(Image(padded, scan.grid), placed[1].member.scan)
    two = placed[:2]
    fixed = read_hu(two[0].member.scan, SETTINGS)
    shape = shape_of(fixed, two, SETTINGS)
    values = [image.array for _, _, image in on_mean_shape(two, fixed, shape, SETTINGS)]
    assert 0.3 < np.isfinite(values[1]).sum() / np.isfinite(values[0]).sum() < 0.8
    three = average(fixed, placed, SETTINGS, _silent)
    known = sum(np.isfinite(image.array) for _, _, image in on_mean_shape(placed, fixed, three.shape, SETTINGS))
    assert (three.image.array[known <= 1] == -1024).all() and (three.image.array[known >= 2] > -1100).all()


def test_a_scan_is_read_no_finer_than_the_mean(tmp_path: Path) -> None:
    path = save(ramp(FIXED), tmp_path / "s.nii.gz")
    assert read_scan(path, Settings(6.0, "hu")).grid.shape == (18, 11, 13)  # voxels of 3, 2.5 and 4 mm along i, j, k
    assert read_scan(path, Settings(2.0, "hu")).grid.shape == FIXED.shape


def test_one_scan_has_no_mean(tmp_path: Path) -> None:
    placed = _placed(tmp_path)[:1]
    with pytest.raises(InputError, match="1 scan is left to average"):
        average(read_hu(placed[0].member.scan, SETTINGS), placed, SETTINGS, _silent)
