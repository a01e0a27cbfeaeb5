"""What leads a registration besides the volumes: masks, segmentations that guide, landmarks to start from."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.io.landmark_init import start_from_points

from ..scene.points import pointPairs
from ..scene.segmentations import SegmentLabels, labelsFromSegmentation
from ..scene.volumes import imageFromVolume, itkTransformFromNode
from .selection import Selection


def startOf(selection: Selection, fixedGrid: Grid) -> Any:
    """What the run starts from: ITK's transform or a (4, 4) matrix, fixed to moving points in LPS mm; None: a search.

    Raises:
        InputError: there are too few pairs of points, or they fit no body.
    """
    if selection.initialTransform is not None:
        return itkTransformFromNode(selection.initialTransform, fixedGrid)
    if selection.fixedPoints is None or selection.movingPoints is None:
        return None
    pairs = pointPairs(selection.fixedPoints, selection.movingPoints, selection.ignored(selection.movingPoints))
    return start_from_points(pairs.fixed, pairs.moving)


def masksOf(selection: Selection, fixedGrid: Grid, movingGrid: Grid) -> dict[str, Image]:
    """The chosen masks, 1 inside, by the names that the worker knows; grids: of the two volumes, LPS mm.

    Raises:
        InputError: a mask is empty, or the segment is gone.
    """
    masks = {}
    for side, grid in (("fixed", fixedGrid), ("moving", movingGrid)):
        node = getattr(selection, f"{side}Mask")
        if node is not None:
            ignored = selection.ignored(node) if side == "moving" else None
            masks[f"{side}_mask"] = _mask(node, getattr(selection, f"{side}MaskSegment"), grid, ignored)
    return masks


def guidingLabels(
    fixed: SegmentLabels, moving: SegmentLabels, shared: tuple, fixedGrid: Grid, movingGrid: Grid
) -> dict[str, Image]:
    """The segments of both scans that are the same organ as one label map per scan, by the worker's names.

    Args:
        shared: from `segmentations.sharedLabels`; where segments overlap, the earlier one is kept.
        fixedGrid, movingGrid: of the two volumes, LPS mm.

    Raises:
        InputError: no organ is in both.
    """
    if not shared:
        names = ", ".join(segment.name for segment in fixed.segments[:3])
        others = ", ".join(segment.name for segment in moving.segments[:3])
        text = _(
            "No segment is in both segmentations ({fixed}; {moving}), so they cannot guide; give the same names to the "
            "same organs, or do not guide."
        )
        raise InputError(text.format(fixed=names, moving=others))
    return {
        "fixed_labels": _joined([labels.fixed for labels in shared], shared, fixedGrid),
        "moving_labels": _joined([labels.moving for labels in shared], shared, movingGrid),
    }


def _joined(images: list[Image], shared: tuple, grid: Grid) -> Image:
    """One label map of several; their labels are counted on."""
    if len(images) == 1:
        return images[0]
    whole, first = np.zeros(grid.shape, np.uint16), 0
    for image, labels in zip(images, shared, strict=True):
        array = image.resample(grid, labels=True).array.astype(np.uint16)
        array[array > 0] += first
        whole = np.where(whole > 0, whole, array)
        first += len(labels.pairs)
    return Image(whole, grid)


def _mask(node: slicer.vtkMRMLNode, segment: str, grid: Grid, ignored: slicer.vtkMRMLTransformNode | None) -> Image:
    if not node.IsA("vtkMRMLSegmentationNode"):
        image = imageFromVolume(node, ignored)
        inside = image.array > 0
        return _filled(Image(inside.astype(np.uint8), image.grid), node)
    labels = labelsFromSegmentation(node, None, ignored)
    wanted = [entry for entry in labels.segments if entry.layer is not None and segment in ("", entry.id)]
    if not wanted:
        text = _("{name}: the segment that should be the mask is gone or empty; choose another one.")
        raise InputError(text.format(name=node.GetName()))
    whole = None
    for layer in sorted({entry.layer for entry in wanted}):
        image = labels.images[layer]
        values = [entry.value for entry in wanted if entry.layer == layer]
        inside = Image(np.isin(image.array, values).astype(np.uint8), image.grid)
        if len({entry.layer for entry in wanted}) == 1:
            return _filled(inside, node)
        array = inside.resample(grid, labels=True).array
        whole = array if whole is None else np.maximum(whole, array)
    return _filled(Image(whole, grid), node)


def _filled(mask: Image, node: slicer.vtkMRMLNode) -> Image:
    if not mask.array.any():
        text = _("{name}: the mask is empty; draw something into it, or choose another one.")
        raise InputError(text.format(name=node.GetName()))
    return mask
