"""Read the inputs of a run besides the volumes: masks, guiding label maps, and an initial transform or landmarks."""

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
from ..scene.segment_matching import SharedLabels
from ..scene.segmentations import SegmentLabels, labelsFromSegmentation
from ..scene.transforms import itkTransformFromNode
from ..scene.volumes import imageFromVolume
from .selection import Selection


def startOf(selection: Selection, fixedGrid: Grid) -> Any:
    """Return the initial transform: ITK's or a (4, 4) matrix, fixed to moving, LPS mm; None: the run searches for one.

    Raises:
        InputError: there are too few pairs of points, or no plausible similarity transform fits them.
    """
    if selection.initialTransform is not None:
        return itkTransformFromNode(selection.initialTransform, fixedGrid)
    if not selection.startsFromPoints:
        return None
    pairs = pointPairs(selection.fixedPoints, selection.movingPoints, selection.ignored(selection.movingPoints))
    return start_from_points(pairs.fixed, pairs.moving)


def masksOf(selection: Selection, fixedGrid: Grid, movingGrid: Grid) -> dict[str, Image]:
    """Read the chosen masks, 1 inside, by the worker's names; fixedGrid, movingGrid: grids of the two volumes, LPS mm.

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
    fixed: SegmentLabels, moving: SegmentLabels, shared: tuple[SharedLabels, ...], fixedGrid: Grid, movingGrid: Grid
) -> dict[str, Image]:
    """Join the matched segments into one label map per scan, by the worker's names.

    Args:
        shared: from `segmentations.sharedLabels`; where segments overlap, the earlier one is kept.
        fixedGrid, movingGrid: grids of the two volumes, LPS mm.

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


def _joined(images: list[Image], shared: tuple[SharedLabels, ...], grid: Grid) -> Image:
    """Join several label maps into one; the labels of each follow those of the one before."""
    if len(images) == 1:
        return images[0]
    joined, offset = np.zeros(grid.shape, np.uint16), 0
    for image, labels in zip(images, shared, strict=True):
        array = image.resample(grid, labels=True).array.astype(np.uint16)
        array[array > 0] += offset
        joined = np.where(joined > 0, joined, array)
        offset += len(labels.pairs)
    return Image(joined, grid)


def _mask(node: slicer.vtkMRMLNode, segment: str, grid: Grid, ignored: slicer.vtkMRMLTransformNode | None) -> Image:
    if not node.IsA("vtkMRMLSegmentationNode"):
        image = imageFromVolume(node, ignored)
        return _filled(Image((image.array > 0).astype(np.uint8), image.grid), node)
    labels = labelsFromSegmentation(node, None, ignored)
    layers: dict[int, list[int]] = {}
    for entry in labels.segments:
        if entry.layer is not None and segment in ("", entry.id):
            layers.setdefault(entry.layer, []).append(entry.value)
    if not layers:
        text = _("{name}: the segment that should be the mask is gone or empty; choose another one.")
        raise InputError(text.format(name=node.GetName()))
    masks = [_insideOf(labels.images[layer], values) for layer, values in sorted(layers.items())]
    if len(masks) == 1:
        return _filled(masks[0], node)
    arrays = [mask.resample(grid, labels=True).array for mask in masks]
    return _filled(Image(np.maximum.reduce(arrays), grid), node)


def _insideOf(image: Image, values: list[int]) -> Image:
    """Return a mask that is 1 where the label map has one of the values."""
    return Image(np.isin(image.array, values).astype(np.uint8), image.grid)


def _filled(mask: Image, node: slicer.vtkMRMLNode) -> Image:
    if not mask.array.any():
        text = _("{name}: the mask is empty; draw something into it, or choose another one.")
        raise InputError(text.format(name=node.GetName()))
    return mask
