"""Two small scans in a scene, with organs and landmarks, and transforms between them by other programs' classes.

The worker of these tests cannot load torch, so that all of it works without. Oracles are formulas and SimpleITK.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import mrml_geometry as mrml
from helpers import samples, worker_programs
from helpers.geometry import Affine, node_points, rotation, sitk_image, sitk_points
from helpers.mrml_geometry import RAS, slicer
from pddnet.core.grid import Grid
from pddnet.core.image import Image

FIXED, MOVING, SHIFT = samples.FIXED, samples.MOVING, samples.SHIFT
ORGANS = ("liver", "spleen")
NUDGE = np.array([3.0, 4.0, 0.0])  # mm, planted error of the moving landmarks
LANDMARKS = FIXED.centre + np.array([[0.0, 0, 0], [8, -6, 4], [-5, 9, -7]])
AFFINE = Affine(rotation(4, -6, 8) @ np.diag([1.05, 0.97, 1.1]), SHIFT, FIXED.centre)
WIDE = FIXED.isotropic(8.0, 90.0)


def waves(points: np.ndarray) -> np.ndarray:
    """Displacements in mm, no two axes alike, without folds."""
    x, y, z = np.moveaxis((points - FIXED.centre) / 25.0, -1, 0)
    return SHIFT + 3.0 * np.stack([np.sin(y + 0.3), np.cos(z - 0.5), np.sin(x) * np.cos(y)], axis=-1)


def displacement_field() -> sitk.DisplacementFieldTransform:
    """As ANTs writes its warps."""
    return sitk.DisplacementFieldTransform(sitk_image(waves(node_points(WIDE)), WIDE))


def bspline() -> sitk.BSplineTransform:
    """As Elastix and BRAINS write theirs; oblique control points."""
    lattice = FIXED.isotropic(20.0, 120.0)
    values = waves(node_points(lattice))
    return sitk.BSplineTransform([sitk_image(np.ascontiguousarray(values[..., c]), lattice) for c in range(3)], 3)


def composite() -> sitk.CompositeTransform:
    """A B-spline and then an affine map, as Elastix combines them."""
    small = Affine(rotation(2, 3, -4), np.array([1.0, -2, 1]), FIXED.centre + SHIFT)
    return sitk.CompositeTransform([small.sitk(), bspline()])  # the last is applied first


FOREIGN = {
    "affine": (AFFINE.sitk, ".tfm"),
    "bspline": (bspline, ".h5"),
    "displacement field": (displacement_field, ".h5"),
    "composite": (composite, ".h5"),
}


@dataclass
class MeasureScene:
    """The nodes by their names in `MeasureSelection`; `images` are the organs as label maps, LPS."""

    nodes: dict[str, Any]
    images: dict[str, Image]
    places: dict[str, np.ndarray] = field(default_factory=dict)

    def selection(self, transform: Any, *names: str, **others: Any) -> Any:
        """A selection with these nodes only (all if none are named)."""
        from PDDRegistrationLib.measure.selection import MeasureSelection

        return MeasureSelection(transform, **{name: self.nodes[name] for name in names or self.nodes}, **others)


def fill(truth: sitk.Transform | None = None) -> MeasureScene:
    """Put two scans into the scene of which the moving one is the fixed one under `truth` (default: SHIFT)."""
    truth = truth or sitk.TranslationTransform(3, SHIFT.tolist())
    scan, organs = samples.body(FIXED), samples.labels(FIXED, FIXED.centre)
    back = inverse_on(MOVING, truth)
    moving = Image.from_sitk(sitk.Resample(scan.to_sitk(), _blank(MOVING), back, sitk.sitkLinear, -1000.0))
    moved = Image.from_sitk(sitk.Resample(organs.to_sitk(), _blank(MOVING), back, sitk.sitkNearestNeighbor, 0))
    places = {"fixed": LANDMARKS, "moving": sitk_points(truth, LANDMARKS) + NUDGE}
    nodes = {
        "fixedVolume": mrml.add_volume(slicer.mrmlScene, scan.array, FIXED, "Fixed"),
        "movingVolume": mrml.add_volume(slicer.mrmlScene, moving.array, MOVING, "Moving"),
        "fixedSegmentation": add_segmentation(organs, "Fixed organs", dict(zip((1, 3), ORGANS, strict=True))),
        "movingSegmentation": add_segmentation(moved, "Moving organs", dict(zip((1, 3), ORGANS, strict=True))),
        "fixedPoints": add_points(places["fixed"], ("a", "b", "c"), "F"),
        "movingPoints": add_points(places["moving"][::-1], ("c", "b", "a"), "M"),
    }
    return MeasureScene(nodes, {"fixed": organs, "moving": moved}, places)


def inverse_on(grid: Grid, transform: sitk.Transform) -> sitk.Transform:
    """ITK's own inverse, or its iterative one over a wide grid."""
    if transform.IsLinear():
        return transform.GetInverse()
    wide = grid.isotropic(4.0, 60.0)
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, wide.size.tolist(), wide.origin.tolist(), wide.spacing.tolist(),
        wide.direction.ravel().tolist(),
    )  # fmt: skip
    return sitk.DisplacementFieldTransform(sitk.InvertDisplacementField(field, maximumNumberOfIterations=30))


def add_segmentation(labels: Image, name: str, names: dict[int, str]) -> Any:
    """A segmentation node with a segment for each label, by the Segmentations module's logic."""
    volume = mrml.add_volume(slicer.mrmlScene, labels.array, labels.grid, "labels", "vtkMRMLLabelMapVolumeNode")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(volume, node)
    slicer.mrmlScene.RemoveNode(volume)
    segmentation = node.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        segment.SetName(names[segment.GetLabelValue()])
    return node


def add_points(places: np.ndarray, labels: tuple[str, ...], name: str) -> Any:
    """A point list, places in LPS mm."""
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for place, label in zip(np.asarray(places) * RAS, labels, strict=True):
        node.AddControlPoint(vtk.vtkVector3d(*place.tolist()), label)
    return node


def load(transform: sitk.Transform, path: Path) -> Any:
    """A transform written by SimpleITK and read by Slicer."""
    sitk.WriteTransform(transform, str(path))
    return slicer.util.loadTransform(str(path))


def itk_overlap(
    fixed: Image, moving: Image, transform: sitk.Transform | None, values: tuple[int, ...] = (1, 3)
) -> dict[int, dict[str, float]]:
    """Dice, HD95, ASD and Hausdorff distance (mm) by label value, by SimpleITK's filters alone, on the fixed grid."""
    known = fixed.to_sitk()
    identity = sitk.Transform(3, sitk.sitkIdentity)
    warped = sitk.Resample(moving.to_sitk(), known, transform or identity, sitk.sitkNearestNeighbor, 0)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(known, warped)
    found = {}
    for value in values:
        found[value] = {"dice": overlap.GetDiceCoefficient(value)}
        distances = [_distances(known == value, warped == value), _distances(warped == value, known == value)]
        if all(each.size for each in distances):
            found[value]["hd95"] = max(np.percentile(each, 95) for each in distances)
            found[value]["asd"] = np.concatenate(distances).mean()
            hausdorff = sitk.HausdorffDistanceImageFilter()
            hausdorff.Execute(known == value, warped == value)
            found[value]["hausdorff"] = hausdorff.GetHausdorffDistance()
    return found


def _distances(a: sitk.Image, b: sitk.Image) -> np.ndarray:
    """From the surface voxels of a to those of b, by a distance map in mm."""
    here, there = (sitk.LabelContour(mask, False) for mask in (a, b))
    if not sitk.GetArrayViewFromImage(there).any():
        return np.empty(0)
    away = sitk.SignedMaurerDistanceMap(there, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.abs(sitk.GetArrayFromImage(away)[sitk.GetArrayFromImage(here) > 0])


def _blank(grid: Grid) -> sitk.Image:
    return Image(np.zeros(grid.shape, np.int16), grid).to_sitk()


@contextmanager
def torchless_worker(folder: Path) -> Iterator[Any]:
    """A worker whose Python finds a torch that cannot be imported."""
    from PDDRegistrationLib.worker.client import Worker

    (folder / "torch.py").write_text("raise ImportError('not here')")
    temporary = folder / "temporary"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        worker = Worker(worker_programs.make_launcher(folder / "bin"), worker_programs.LIBRARY, temporary)
        yield worker
        worker.stop()
    assert list(temporary.iterdir()) == []
