"""Transform files: what SimpleITK and Slicer's own MRML (slicer-core) make of what `DisplacementField.write` wrote.

Slicer works in RAS, files and pddnet in LPS. On load Slicer switches a grid transform to cubic interpolation; ITK and
pddnet stay linear. Hence two tolerances: after switching Slicer back to linear, and as loaded.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import geometry
from helpers.geometry import SHEARED, Waves
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.errors import InputError
from pddnet.io.transforms import check_field, load_transform, write_field

SAME = 2e-3  # mm: float32 values, and NIfTI's float32 header
CUBIC = 0.25  # mm: linear against cubic interpolation of Waves on nodes up to 4.3 mm apart
GRIDS = geometry.grids((20, 24, 28))
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
every_format = pytest.mark.parametrize("name", ["t.h5", "t.tfm", "t.nii.gz", "t.nrrd", "t.mha"])
RAS = np.array([-1.0, -1.0, 1.0])


def read(path: Path) -> sitk.Transform:
    """As a user of SimpleITK would."""
    if path.suffix in (".h5", ".tfm"):
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


class SlicerTransform:
    """A transform node that loaded a file; takes and gives LPS points."""

    def __init__(self, slicer, path: Path) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.node, storage = slicer.vtkMRMLTransformNode(), slicer.vtkMRMLTransformStorageNode()
        self.scene.AddNode(self.node)
        self.scene.AddNode(storage)
        storage.SetFileName(str(path))
        assert storage.ReadData(self.node), f"Slicer cannot read {path.name}"
        self.grid_transform = self.node.GetTransformFromParentAs("vtkOrientedGridTransform", False)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        transform = self.node.GetTransformFromParent()
        return np.array([transform.TransformPoint(point) for point in (points * RAS).tolist()]) * RAS

    def linear(self) -> SlicerTransform:
        self.grid_transform.SetInterpolationModeToLinear()
        return self


@pytest.fixture(scope="module")
def slicer():
    return pytest.importorskip("slicer", reason="slicer-core has no wheel for this machine or Python")


@every_format
@every_grid
def test_simpleitk_reads_what_was_written(name, grid, tmp_path):
    SHEARED.field(grid).write(tmp_path / name)
    points = geometry.inner_points(grid)
    assert np.allclose(geometry.sitk_points(read(tmp_path / name), points), SHEARED(points), atol=SAME)


@every_grid
def test_what_itk_wrote_is_read(grid, tmp_path):
    sitk.WriteTransform(geometry.sitk_field(SHEARED.field(grid)), str(tmp_path / "itk.h5"))
    points = geometry.inner_points(grid)
    field = DisplacementField.from_transform(sitk.ReadTransform(str(tmp_path / "itk.h5")), grid)
    assert np.allclose(field.transform_points(points), SHEARED(points), atol=SAME)


@every_grid
def test_slicer_moves_points_as_simpleitk_does(slicer, grid, tmp_path):
    """The file is read by Slicer's own storage node; fixed -> moving is its transform from the parent."""
    Waves().field(grid).write(tmp_path / "t.h5")
    loaded = SlicerTransform(slicer, tmp_path / "t.h5")
    points = geometry.inner_points(grid, margin=1)
    itk = geometry.sitk_points(read(tmp_path / "t.h5"), points)
    assert np.allclose(loaded(points), itk, atol=CUBIC)
    assert np.allclose(loaded(points), Waves()(points), atol=CUBIC)
    assert np.allclose(loaded.linear()(points), itk, atol=SAME)


@every_format
def test_slicer_reads_every_format(slicer, name, tmp_path):
    grid = GRIDS["left-handed oblique"]
    SHEARED.field(grid).write(tmp_path / name)
    points = geometry.inner_points(grid, margin=1)
    assert np.allclose(SlicerTransform(slicer, tmp_path / name)(points), SHEARED(points), atol=SAME)


@every_grid
def test_inside_at_the_border_and_far_outside(slicer, grid, tmp_path):
    """ITK and pddnet move nothing beyond half a voxel outside the grid; VTK goes on with the border's displacement."""
    field = Waves().field(grid)
    field.write(tmp_path / "t.h5")
    itk, vtk = read(tmp_path / "t.h5"), SlicerTransform(slicer, tmp_path / "t.h5").linear()
    for axis in range(3):
        last = grid.size[axis] - 1
        for border, sign in ((0.0, -1), (last, 1)):
            node = np.array([7.0, 9.0, 5.0])
            node[axis] = border
            step = np.zeros(3)
            step[axis] = sign
            moved = field.array[tuple(node[::-1].astype(int))]

            def shown(transform, index):
                point = np.atleast_2d(grid.index_to_point(index))
                return (transform(point) - point)[0]

            def by_itk(points):
                return geometry.sitk_points(itk, points)

            for near in (node, node + 0.45 * step):
                for transform in (by_itk, vtk, field.transform_points):
                    assert np.allclose(shown(transform, near), moved, atol=SAME)
            for far in (node + 0.55 * step, node + 300 / grid.spacing[axis] * step):
                assert np.allclose(shown(vtk, far), moved, atol=SAME)
                for transform in (by_itk, field.transform_points):
                    assert np.allclose(shown(transform, far), 0, atol=1e-6)


def test_slicer_shows_a_moving_volume_in_fixed_space(slicer, tmp_path):
    """From parent is fixed -> moving, so points of the moving scan (a markup under the node) go the other way."""
    grid = GRIDS["oblique"].isotropic(4.0, margin=40.0)
    SHEARED.field(grid).write(tmp_path / "t.h5")
    node = SlicerTransform(slicer, tmp_path / "t.h5").node
    fixed = geometry.inner_points(GRIDS["oblique"], count=5)
    to_parent = node.GetTransformToParent()
    shown = np.array([to_parent.TransformPoint(point) for point in (SHEARED(fixed) * RAS).tolist()]) * RAS
    assert np.allclose(shown, fixed, atol=0.02)  # VTK's InverseTolerance


def test_the_file_of_a_field_is_not_bigger_than_it_must_be(tmp_path):
    grid = Grid((40, 50, 60), [4, 4, 4], [0, 0, 0], np.eye(3))
    Waves().field(grid).write(tmp_path / "t.h5")
    assert (tmp_path / "t.h5").stat().st_size < 1.1 * 8 * 3 * 40 * 50 * 60


@every_format
def test_a_file_that_holds_another_field_is_refused(name, tmp_path):
    """The check that finds what a full disk has left: values that differ, or an image that ends too early."""
    grid = GRIDS["oblique"]
    path = tmp_path / name
    write_field(SHEARED.field(grid), path)
    check_field(path, SHEARED.field(grid))
    if path.suffix in (".h5", ".tfm"):
        with pytest.raises(InputError, match="differs"):
            check_field(path, Waves().field(grid))
    elif name.endswith(".nii.gz"):
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(InputError, match="truncated"):
            check_field(path, SHEARED.field(grid))


def test_a_file_that_does_not_fit_is_not_begun(tmp_path, monkeypatch):
    """HDF5 crashes when the disk is full, so the space is reserved before it writes."""

    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space"):
        write_field(SHEARED.field(GRIDS["oblique"]), tmp_path / "t.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dimension", [2, 3])
def test_kinds_that_simpleitk_does_not_know_are_read(tmp_path: Path, dimension: int) -> None:
    """It shows MatrixOffsetTransformBase as a composite that holds itself."""
    path = tmp_path / "t.tfm"
    affine = sitk.AffineTransform(dimension)
    affine.SetMatrix((1.1 * np.eye(dimension)).ravel().tolist())
    affine.SetTranslation([3.0, -4.0, 5.0][:dimension])
    sitk.WriteTransform(affine, str(path))
    path.write_text(path.read_text("utf-8").replace("AffineTransform", "MatrixOffsetTransformBase"), "utf-8")
    found, _ = load_transform(path, dimension)
    point = [10.0, 20.0, -7.0][:dimension]
    assert np.allclose(found.TransformPoint(point), affine.TransformPoint(point))
    flat = path.read_text("utf-8").replace("1.1", "0")
    path.write_text(flat, "utf-8")
    with pytest.raises(InputError, match="singular"):
        load_transform(path, dimension)
