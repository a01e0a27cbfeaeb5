"""Linear results: their projection, their numbers, and ITK's transforms of them, on maps without any symmetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import grids, node_points, rotation, sitk_points
from pddnet.core.affine import Affine
from pddnet.core.linear import TRANSFORM_TYPES, LinearTransform, check_transform_type, projected
from pddnet.errors import InputError

TURN = rotation(11.0, -7.0, 19.0)
CENTRE = np.array([31.0, -72.0, 115.0])
SHEARED = Affine(TURN @ np.array([[1.1, 0.05, 0.0], [0.05, 1.1, 0.02], [0.0, 0.02, 1.1]]), np.array([7.0, -13.0, 29.0]))
POINTS = CENTRE + np.array([[0.0, 0, 0], [100, 0, 0], [0, 90, 0], [0, 0, -120], [40, -50, 60]])
LINEAR = TRANSFORM_TYPES[1:]


def _result(kind: str) -> LinearTransform:
    return LinearTransform(projected(SHEARED, kind, CENTRE), kind, CENTRE)


@pytest.mark.parametrize("kind", LINEAR)
def test_the_projection_keeps_the_centre_and_is_of_its_kind(kind: str) -> None:
    """A rotation times a symmetric matrix has this rotation for its nearest one."""
    found = projected(SHEARED, kind, CENTRE)
    assert found.points(CENTRE) == pytest.approx(SHEARED.points(CENTRE))
    stretch = np.linalg.det(SHEARED.matrix) ** (1 / 3)
    expected = {"rigid": TURN, "similarity": TURN * stretch, "affine": SHEARED.matrix}[kind]
    assert found.matrix == pytest.approx(expected, abs=1e-12)


def test_the_projection_never_mirrors() -> None:
    found = projected(Affine(TURN @ np.diag([1.0, 1.0, -0.1]), np.zeros(3)), "rigid", CENTRE)
    assert np.linalg.det(found.matrix) == pytest.approx(1.0)
    assert found.matrix == pytest.approx(TURN, abs=1e-12)


@pytest.mark.parametrize("kind", LINEAR)
def test_itk_moves_points_alike(kind: str, tmp_path: Path) -> None:
    result = _result(kind)
    expected = POINTS @ result.matrix[:3, :3].T + result.matrix[:3, 3]
    assert sitk_points(result.to_sitk(), POINTS) == pytest.approx(expected, abs=1e-9)
    assert sitk_points(result.inverse.to_sitk(), expected) == pytest.approx(POINTS, abs=1e-9)
    names = {"rigid": "Euler3DTransform", "similarity": "Similarity3DTransform", "affine": "AffineTransform"}
    for ending in (".tfm", ".txt", ".h5", ".mat"):
        sitk.WriteTransform(result.to_sitk(), str(tmp_path / f"t{ending}"))
        read = sitk.ReadTransform(str(tmp_path / f"t{ending}"))
        assert read.GetName() == names[kind]
        assert sitk_points(read, POINTS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", grids())
def test_its_samples_are_its_displacements(name: str) -> None:
    grid, result = grids()[name], _result("affine")
    points = node_points(grid)
    expected = points @ SHEARED.matrix.T + SHEARED.shift - points
    assert result.sampled(grid).array == pytest.approx(expected, abs=1e-4)


def test_its_numbers() -> None:
    angle = np.degrees(np.arccos((np.trace(TURN) - 1) / 2))
    for kind, scale in (("rigid", 1.0), ("similarity", np.cbrt(np.linalg.det(SHEARED.matrix)))):
        result = _result(kind)
        assert result.rotation_degrees == pytest.approx(angle)
        assert result.scaling == pytest.approx(scale)
        assert result.translation_mm == pytest.approx(SHEARED.points(CENTRE) - CENTRE)
    assert LinearTransform(Affine.identity(), "rigid", CENTRE).rotation_degrees == 0.0
    half = LinearTransform(Affine(np.diag([1.0, -1.0, -1.0]), np.zeros(3)), "rigid", CENTRE)
    assert half.rotation_degrees == pytest.approx(180.0)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="no transform type 'elastic'; choose one of deformable, rigid"):
        check_transform_type("elastic")
