"""The measure of 2-D registrations with a known truth: in a turned image, by a map whose inverse is known."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.planes_deformed import NOISE_HU, deformed, errors_mm
from helpers.planes import empty, points_of
from pddnet.core.plane import Plane

LIKE = empty((90, 70), 2.0, (-80.0, 40.0), degrees=-23)


def _scan() -> Plane:
    image = sitk.GetImageFromArray(20 * np.sin(points_of(LIKE)[..., 0] / 15) + 40)
    image.CopyInformation(LIKE)
    return Plane.from_sitk(image)


def test_points_come_back_by_the_inverse_of_the_truth_and_not_by_the_truth() -> None:
    truth = sitk.Euler2DTransform((-60.0, 60.0), 0.1, (5.0, -3.0))
    assert errors_mm(truth.GetInverse(), truth, _scan()).max() < 1e-9
    stayed = errors_mm(sitk.Transform(2, sitk.sitkIdentity), sitk.TranslationTransform(2, (3.0, -4.0)), _scan())
    assert stayed == pytest.approx(np.full(len(stayed), 5.0))
    assert len(stayed) == -(-70 * 90 // 37)


def test_a_deformed_slice_shows_the_slice_where_the_truth_leads() -> None:
    scan = _scan()
    moving, truth = deformed(scan, 6.0, 1)
    expected = sitk.GetArrayFromImage(sitk.Resample(scan.flat(), scan.flat(), truth, sitk.sitkLinear, -1000.0))
    difference = (moving.image.array[0] - expected)[expected > -900]
    assert difference.std() == pytest.approx(NOISE_HU, rel=0.05)
    assert abs(difference.mean()) < 1.0
    still, _ = deformed(scan, 0.0, 1)
    assert (still.image.array - scan.image.array).std() == pytest.approx(NOISE_HU, rel=0.05)
