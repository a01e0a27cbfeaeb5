"""Segmentations to label maps and back: own geometry, layers, overlaps, nothing in a segment, surfaces only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vtk.util import numpy_support

from helpers.geometry import SHEARED, Waves, rotation
from helpers.mrml_geometry import (
    FIXED,
    GRIDS,
    RAS,
    add_grid,
    add_linear,
    add_volume,
    every_grid,
    from_world,
    ijk_to_ras,
    new_scene,
    noise,
    slicer,
    some_voxels,
    to_world,
    vtk,
    vtk_image,
    vtk_matrix,
    wide_grid,
)
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.evaluation.metrics import label_table
from PDDRegistrationLib.scene.segment_matching import matchSegments, sharedLabels
from PDDRegistrationLib.scene.segmentations import (
    Segment,
    SegmentLabels,
    labelsFromSegmentation,
    segmentationFromLabels,
)

BINARY = "Binary labelmap"
LIVER = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^10200004^Liver~^^~Anatomic codes - DICOM master list~^^~^^"
)
KIDNEY = LIVER.replace("10200004^Liver", "64033007^Kidney")
LEFT, RIGHT = (KIDNEY.replace("~^^~A", f"~SCT^{code}~A") for code in ("7771000^Left", "24028007^Right"))
TISSUE = LIVER.replace("123037004^Anatomical Structure", "85756007^Tissue").replace("10200004^Liver", "85756007^Tissue")


def add_segmentation(scene, layers, name: str = "organs", start=(0, 0, 0)):
    """A segmentation from [(array, grid, {id: (name, value, terminology)})], one item per layer."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentation = node.GetSegmentation()
    for array, grid, segments in layers:
        image = vtk_image(array, slicer.vtkOrientedImageData)
        image.SetGeometryFromImageToWorldMatrix(vtk_matrix(ijk_to_ras(grid)))
        for number, (key, (title, value, terminology)) in enumerate(segments.items()):
            segment = slicer.vtkSegment()
            segment.SetName(title)
            segment.SetColor(0.1, 0.2 + 0.1 * number, 0.9)
            segment.SetTag("TerminologyEntry", terminology)
            segment.SetTag("Remark", f"of {title}")
            segment.SetLabelValue(value)
            segment.AddRepresentation(BINARY, image)
            segmentation.AddSegment(segment, key)
    node.CreateDefaultDisplayNodes()
    return node


def two_layers(grid: Grid, inner: Grid):
    """Liver, kidney and an empty segment in one layer; a tumour that overlaps the liver, on a cropped other grid."""
    organs = np.random.default_rng(0).choice(np.array([0, 1, 7], np.uint8), grid.shape)
    tumour = np.random.default_rng(1).choice(np.array([0, 2], np.uint8), inner.shape)
    return [
        (organs, grid, {"l": ("Liver", 1, LIVER), "k": ("Left kidney", 7, LEFT), "e": ("Empty", 9, TISSUE)}),
        (tumour, inner, {"t": ("Tumour", 2, TISSUE)}),
    ]


def layer_array(node, number: int) -> np.ndarray:
    data = node.GetSegmentation().GetLayerDataObject(number, BINARY)
    return numpy_support.vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])


def segment_value(node, key: str, point: np.ndarray) -> bool:
    """Whether a segment holds an LPS world point, by MRML alone; nearest voxel."""
    segmentation = node.GetSegmentation()
    data = segmentation.GetSegment(key).GetRepresentation(BINARY)
    matrix = vtk.vtkMatrix4x4()
    data.GetWorldToImageMatrix(matrix)
    local = from_world(node, RAS * np.asarray(point))[0]
    index = [round(c) for c in matrix.MultiplyPoint((*local, 1.0))[:3]]
    extent = data.GetExtent()
    if not all(extent[2 * a] <= index[a] <= extent[2 * a + 1] for a in range(3)):
        return False
    return data.GetScalarComponentAsDouble(*index, 0) == segmentation.GetSegment(key).GetLabelValue()


# From the node


@every_grid
def test_layers_are_where_mrml_has_them(grid):
    """Two layers on grids of their own, under a linear parent."""
    scene = new_scene()
    node = add_segmentation(scene, two_layers(grid, FIXED["permuted oblique"]))
    node.SetAndObserveTransformNodeID(add_linear(scene, 1.2 * rotation(-31, 12, 55), (7, -13, 29)).GetID())
    before = node.GetMTime(), node.GetSegmentation().GetMTime()
    labels = labelsFromSegmentation(node)
    assert (node.GetMTime(), node.GetSegmentation().GetMTime()) == before
    assert [(s.id, s.name, s.layer, s.value) for s in labels.segments] == [
        ("l", "Liver", 0, 1), ("k", "Left kidney", 0, 7), ("e", "Empty", 0, 9), ("t", "Tumour", 1, 2),
    ]  # fmt: skip
    assert [s.terminology for s in labels.segments] == [LIVER, LEFT, TISSUE, TISSUE]
    for segment in labels.segments:
        image = labels.images[segment.layer]
        for i, j, k in some_voxels(image.array.shape, 15).tolist():
            point = image.grid.index_to_point([i, j, k])
            assert (image.array[k, j, i] == segment.value) == segment_value(node, segment.id, point)
    for number, image in enumerate(labels.images):
        assert np.shares_memory(image.array, layer_array(node, number)) and not image.array.flags.writeable


def test_a_cropped_extent_that_does_not_begin_at_zero():
    scene = new_scene()
    grid = GRIDS["left-handed oblique"]
    node = add_segmentation(scene, two_layers(grid, FIXED["oblique"])[:1])
    data = node.GetSegmentation().GetLayerDataObject(0, BINARY)
    low = np.array([-4, 6, 3])
    data.SetExtent([int(v) for a, n in zip(low, grid.size, strict=True) for v in (a, a + n - 1)])
    image = labelsFromSegmentation(node).images[0]
    assert np.allclose(image.grid.origin, grid.index_to_point(low))
    for i, j, k in some_voxels(grid.shape).tolist():
        point = grid.index_to_point(low + [i, j, k])
        assert (image.array[k, j, i] == 7) == segment_value(node, "k", point)


@pytest.mark.parametrize("kind", ["shear", "from parent", "to parent"])
def test_labels_never_mix_under_a_parent_that_bends(kind):
    scene = new_scene()
    grid = GRIDS["permuted oblique"]
    node = add_segmentation(scene, two_layers(grid, GRIDS["oblique"]))
    if kind == "shear":
        parent = add_linear(scene, np.array([[1, 0.2, 0], [0, 1, 0.35], [0.1, 0, 1.0]]), (7, -13, 29))
    else:
        parent = add_grid(scene, Waves().displacement, wide_grid(), to_parent=kind == "to parent")
    node.SetAndObserveTransformNodeID(parent.GetID())
    labels = labelsFromSegmentation(node)
    for segment, values in zip(labels.segments, [{0, 1, 7}] * 3 + [{0, 2}], strict=True):
        image = labels.images[segment.layer]
        assert image.array.dtype == np.uint8 and set(np.unique(image.array)) == values
        own = (grid, GRIDS["oblique"])[segment.layer]
        points = image.grid.index_to_point(some_voxels(image.array.shape, 120))
        index = own.point_to_index(RAS * from_world(node, RAS * points))
        clear = (np.abs(index - np.rint(index)) < 0.45).all(axis=1)  # VTK inverts to 0.01 mm
        assert clear.sum() > 40
        for point, (i, j, k) in zip(
            points[clear], np.rint(image.grid.point_to_index(points[clear])).astype(int), strict=True
        ):
            assert (image.array[k, j, i] == segment.value) == segment_value(node, segment.id, point)


def test_segments_without_voxels_are_kept_by_name():
    scene = new_scene()
    node = add_segmentation(scene, two_layers(GRIDS["oblique"], FIXED["oblique"]))
    empty = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "empty")
    for key in ("a", "b"):
        empty.GetSegmentation().AddEmptySegment(key, key.upper())
    labels = labelsFromSegmentation(empty)
    assert labels.images == ()
    assert [(s.id, s.name, s.layer) for s in labels.segments] == [("a", "A", None), ("b", "B", None)]
    assert labelsFromSegmentation(scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "no segments")).segments == ()
    segment = slicer.vtkSegment()
    segment.SetName("nothing at all")
    node.GetSegmentation().AddSegment(segment, "n")
    last = labelsFromSegmentation(node).segments[-1]
    assert (last.name, last.layer) == ("nothing at all", None)


def add_spheres(scene, **spheres):
    """Closed surfaces only: name=(centre RAS, radius), or None for an empty one."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    for name, sphere in spheres.items():
        source = vtk.vtkSphereSource()
        segment = slicer.vtkSegment()
        segment.SetName(name)
        if sphere is not None:
            source.SetCenter(*sphere[0])
            source.SetRadius(sphere[1])
            source.SetThetaResolution(48)
            source.SetPhiResolution(48)
            source.Update()
        segment.AddRepresentation("Closed surface", source.GetOutput() if sphere else vtk.vtkPolyData())
        node.GetSegmentation().AddSegment(segment, name)
    return node


def centre_and_volume(labels: SegmentLabels, key: str) -> tuple[np.ndarray, float]:
    """LPS mm and mm^3 of a segment."""
    segment = next(s for s in labels.segments if s.id == key)
    image = labels.images[segment.layer]
    index = np.argwhere(image.array == segment.value)[:, ::-1]
    return image.grid.index_to_point(index).mean(axis=0), len(index) * float(image.grid.spacing.prod())


@pytest.mark.parametrize("parent", [None, "linear", "from parent"])
def test_surfaces_become_label_maps_in_a_copy(parent):
    scene = new_scene()
    grid = Grid((40, 44, 48), [2.0, 2.2, 2.5], [-20, -130, 70], GRIDS["left-handed oblique"].direction)
    volume = add_volume(scene, noise(grid.shape), grid)
    centre = RAS * grid.centre
    node = add_spheres(scene, big=(centre, 25.0), inside=(centre + [8, -5, 3], 9.0), empty=None)
    if parent == "linear":
        node.SetAndObserveTransformNodeID(add_linear(scene, rotation(-31, 12, 55), (7, -13, 29)).GetID())
    elif parent:
        node.SetAndObserveTransformNodeID(add_grid(scene, Waves(2.0).displacement, wide_grid(12.0, 150.0)).GetID())
    labels = labelsFromSegmentation(node, referenceVolume=volume)
    assert not node.GetSegmentation().ContainsRepresentation(BINARY)
    assert [s.name for s in labels.segments] == ["big", "inside", "empty"]
    for key, offset, radius in (("big", [0, 0, 0], 25.0), ("inside", [8, -5, 3], 9.0)):
        found, size = centre_and_volume(labels, key)
        assert np.allclose(
            found, RAS * to_world(node, centre + offset)[0], atol=1.5 if parent == "from parent" else 0.8
        )  # a bent ball's middle moves
        assert size == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.12 if parent == "from parent" else 0.05)
    empty = labels.segments[-1]
    assert empty.layer is None or not (labels.images[empty.layer].array == empty.value).any()
    assert np.allclose(labels.images[0].grid.spacing, grid.spacing)
    if parent is None:
        index = grid.point_to_index(labels.images[0].grid.origin)
        assert np.allclose(index, np.rint(index), atol=1e-4), "the volume's own voxels"


@pytest.mark.slow
def test_surfaces_without_a_volume():
    scene = new_scene()
    labels = labelsFromSegmentation(add_spheres(scene, ball=((12, -40, 30), 20.0)))
    found, size = centre_and_volume(labels, "ball")
    assert np.allclose(found, [-12, 40, 30], atol=0.3)
    assert size == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.03)


def test_ignoring_the_result_it_is_shown_under():
    scene = new_scene()
    node = add_segmentation(scene, two_layers(GRIDS["oblique"], FIXED["oblique"]))
    before = labelsFromSegmentation(node).images[0]
    result = add_grid(scene, lambda points: SHEARED(points) - points, wide_grid())
    node.SetAndObserveTransformNodeID(result.GetID())
    assert labelsFromSegmentation(node, ignoring=result).images[0].grid.same_as(before.grid)
    assert not labelsFromSegmentation(node).images[0].grid.same_as(before.grid)


def test_a_geometry_that_is_no_grid_is_named():
    scene = new_scene()
    node = add_segmentation(scene, two_layers(GRIDS["oblique"], FIXED["oblique"]), "flat organs")
    node.SetAndObserveTransformNodeID(add_linear(scene, np.diag([1.0, 1.0, 0.0])).GetID())
    with pytest.raises(InputError, match="flat organs: "):
        labelsFromSegmentation(node)


# To the node


@every_grid
def test_the_output_has_everything_of_the_input(grid):
    scene = new_scene()
    node = add_segmentation(scene, two_layers(grid, FIXED["permuted oblique"]))
    nothing = slicer.vtkSegment()
    nothing.SetName("Nothing at all")
    node.GetSegmentation().AddSegment(nothing, "n")
    display = node.GetDisplayNode()
    display.SetSegmentVisibility("k", False)
    display.SetSegmentOpacity2DFill("l", 0.25)
    display.SetOpacity3D(0.75)
    volume = add_volume(scene, noise((9, 9, 9)), FIXED["coronal"], "fixed")
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "warped")
    output.SetAndObserveTransformNodeID(add_linear(scene, np.eye(3), (1, 2, 3)).GetID())
    output.GetSegmentation().AddEmptySegment("old", "old")
    before = node.GetMTime(), node.GetSegmentation().GetMTime()
    segmentationFromLabels(labelsFromSegmentation(node), output, node, volume)
    assert (node.GetMTime(), node.GetSegmentation().GetMTime()) == before
    assert output.GetParentTransformNode() is None
    ours, theirs = output.GetSegmentation(), node.GetSegmentation()
    keys = [ours.GetNthSegmentID(n) for n in range(ours.GetNumberOfSegments())]
    assert keys == ["l", "k", "e", "t", "n"]
    for key in keys:
        mine, yours = ours.GetSegment(key), theirs.GetSegment(key)
        assert mine is not yours
        assert (mine.GetName(), mine.GetColor()) == (yours.GetName(), yours.GetColor())
        for tag in ("TerminologyEntry", "Remark"):
            values = vtk.reference(""), vtk.reference("")
            assert mine.GetTag(tag, values[0]) == yours.GetTag(tag, values[1]) and values[0] == values[1]
    shown = output.GetDisplayNode()
    assert shown is not display
    assert not shown.GetSegmentVisibility("k") and shown.GetSegmentVisibility("l")
    assert shown.GetSegmentOpacity2DFill("l") == 0.25 and shown.GetOpacity3D() == 0.75
    reference = output.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())
    assert reference is volume
    geometry = ours.GetConversionParameter(slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName())
    assert geometry
    for array, own, segments in two_layers(grid, FIXED["permuted oblique"]):
        for key, (_, value, _) in segments.items():
            for i, j, k in some_voxels(own.shape, 15).tolist():
                assert segment_value(output, key, own.index_to_point([i, j, k])) == (array[k, j, i] == value)
    again = labelsFromSegmentation(output)
    assert [(s.name, s.layer) for s in again.segments] == [
        ("Liver", 0), ("Left kidney", 0), ("Empty", 0), ("Tumour", 1), ("Nothing at all", None),
    ]  # fmt: skip
    assert len(again.images) == 2


def test_changed_label_maps_come_out_on_their_new_grid():
    scene = new_scene()
    node = add_segmentation(scene, two_layers(GRIDS["oblique"], GRIDS["coronal"]))
    target = FIXED["left-handed oblique"]
    labels = labelsFromSegmentation(node)
    images = tuple(image.resample(target, SHEARED.sitk(), labels=True) for image in labels.images)
    moved = replace(labels, images=images)
    assert moved.segments == labels.segments
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "warped")
    segmentationFromLabels(moved, output, node)
    for key in ("l", "k", "t"):
        seen = 0
        for index in some_voxels(target.shape, 60):
            point = target.index_to_point(index)
            source = (GRIDS["oblique"] if key != "t" else GRIDS["coronal"]).point_to_index(SHEARED(point))
            if np.abs(source - np.rint(source)).max() < 0.45:
                assert segment_value(output, key, point) == segment_value(node, key, SHEARED(point))
                seen += segment_value(output, key, point)
        assert seen > 0


# Matching


def segment(key: str, name: str, terminology: str = "", layer: int | None = 0, value: int = 1) -> Segment:
    return Segment(key, name, terminology, layer, value)


def matched(fixed: list[Segment], moving: list[Segment]):
    result = matchSegments(fixed, moving)
    left = [s.id for s in result.unmatchedFixed], [s.id for s in result.unmatchedMoving]
    return [(p.fixed.id, p.moving.id, p.how) for p in result.pairs], *left


def test_by_name_without_case_and_outer_spaces_then_by_terminology():
    fixed = [segment("1", "Niere links", LEFT), segment("2", " LIVER "), segment("3", "spleen"), segment("4", "Änder")]
    moving = [
        segment("a", "liver", KIDNEY),
        segment("b", "kidney_left", LEFT),
        segment("c", "änder"),
        segment("d", "x"),
    ]
    assert matched(fixed, moving) == (
        [("1", "b", "terminology"), ("2", "a", "name"), ("4", "c", "name")], ["3"], ["d"],
    )  # fmt: skip


def test_the_name_counts_more_than_the_terminology_and_nothing_is_used_twice():
    fixed = [segment("1", "mine", LIVER), segment("2", "liver"), segment("3", "Liver")]
    moving = [segment("a", "liver", LIVER)]
    assert matched(fixed, moving) == ([("2", "a", "name")], ["1", "3"], [])


def test_sides_are_told_apart_and_what_is_ambiguous_is_left():
    assert matched([segment("1", "A", LEFT)], [segment("a", "B", RIGHT)])[0] == []
    assert matched([segment("1", "A", LEFT), segment("2", "B", LEFT)], [segment("a", "C", LEFT)])[0] == []
    assert matched([segment("1", "A", LEFT)], [segment("a", "C", RIGHT), segment("b", "D", LEFT)])[0] == [
        ("1", "b", "terminology")
    ]


def test_tissue_says_nothing_and_texts_are_no_codes():
    assert matched([segment("1", "Segment_1", TISSUE)], [segment("a", "Tumour", TISSUE)])[0] == []
    assert matched([segment("1", "A")], [segment("a", "B")])[0] == []
    other_words = LIVER.replace("^Liver", "^Leber").replace("3D Slicer General Anatomy list", "my list")
    assert len(matched([segment("1", "A", LIVER)], [segment("a", "B", other_words)])[0]) == 1


def test_overlapping_segments_are_all_measured():
    """Dice of every pair, from label_table on the shared maps, against masks by hand."""
    grid = GRIDS["left-handed oblique"]
    random = np.random.default_rng(2)

    def maps(seed_layers):
        return tuple(Image(random.choice(np.array([0, *values], np.uint8), grid.shape), grid) for values in seed_layers)

    fixed = SegmentLabels(maps([(1, 2), (1,)]), (
        segment("1", "liver", value=1), segment("2", "spleen", value=2), segment("3", "tumour", layer=1),
        segment("4", "empty", layer=None), segment("5", "fixed only", layer=1, value=200),
    ))  # fmt: skip
    moving = SegmentLabels(maps([(4, 9), (3, 250)]), (
        segment("a", "tumour", value=9), segment("b", "Liver", layer=1, value=250),
        segment("c", "spleen", layer=1, value=3), segment("d", "empty"), segment("e", "other", value=4),
    ))  # fmt: skip
    groups = sharedLabels(fixed, moving)
    assert [[pair.fixed.name for pair in group.pairs] for group in groups] == [["liver", "spleen"], ["tumour"]]
    found = {}
    for group in groups:
        rows = label_table(group.fixed, group.moving, group.moving)
        found |= {group.pairs[row["label"] - 1].fixed.name: row["dice_after"] for row in rows}
    by_hand = {"liver": (0, 1, 1, 250), "spleen": (0, 2, 1, 3), "tumour": (1, 1, 0, 9)}
    assert set(found) == set(by_hand)
    for name, (fixed_layer, fixed_value, moving_layer, moving_value) in by_hand.items():
        a = fixed.images[fixed_layer].array == fixed_value
        b = moving.images[moving_layer].array == moving_value
        assert found[name] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
