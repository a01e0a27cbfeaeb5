"""Jacobian, displacement and uncertainty as maps, and under the crosshair, against formulas."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest

from helpers import mrml_geometry as mrml
from helpers.compare_scene import make_pair
from helpers.geometry import Waves, grids
from helpers.mrml_geometry import RAS
from pddnet.core.image import Image

if TYPE_CHECKING:
    from host.host import Host

pytestmark = pytest.mark.slow

GRID = grids((28, 30, 33))["left-handed oblique"]
WAVES = Waves()
FOLD = 10.0  # mm: half the width of the slab in which space is turned inside out
TURNED = -2.5  # slope of the displacement there: determinant -1.5
MAGENTA = np.array([255, 0, 255])


def inner_points() -> np.ndarray:
    """(N, 3) LPS, between the voxels, away from the border."""
    index = np.random.default_rng(2).uniform(3, 24, (40, 3))
    return GRID.index_to_point(index)


def folding(points: np.ndarray) -> np.ndarray:
    """Displacement (RAS) along R: a slab |r| < FOLD folds, beside it nothing changes."""
    vectors = np.zeros_like(points)
    vectors[..., 0] = TURNED * np.clip(points[..., 0], -FOLD, FOLD)
    return vectors


@pytest.fixture
def overlays(host: Host):
    """`Overlays` of the waves on the oblique left-handed grid, and what they hand out."""
    import slicer

    from PDDRegistrationLib.compare.overlays import Overlays
    from PDDRegistrationLib.scene.transforms import gridTransformFromField

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "waves")
    gridTransformFromField(WAVES.field(GRID), node)
    uncertainty = Image(np.full((3, 4, 5), 2.5, np.float32), grids((3, 4, 5))["left-handed oblique"])
    expected = Image(uncertainty.array + 1, uncertainty.grid)
    overlays = Overlays(node, uncertainty, expected)
    yield overlays
    overlays.close()


def made(host: Host, overlays, kind: str):
    """The volume of a map, once it is ready."""
    ready: list = []
    overlays.request(kind, ready.append)
    assert host.waitUntil(lambda: bool(ready), 20)
    return ready[0]


@pytest.mark.parametrize("end", ["shown", "cancelled", "closed"])
def test_dropped_overlays_are_freed(host: Host, end: str):
    """A timer holds what it calls, as long as it is connected."""
    from PDDRegistrationLib.compare.overlays import Overlays

    overlays, ready = Overlays(make_pair(host).transform), []
    overlays.request("jacobian", ready.append)
    if end == "shown":
        assert host.waitUntil(lambda: bool(ready), 20)
    else:
        getattr(overlays, end.removesuffix("led").removesuffix("d"))()
    known = weakref.ref(overlays)
    del overlays
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("kind", ["jacobian", "displacement"])
def test_a_map_has_the_formulas_values_where_mrml_says_they_lie(host: Host, overlays, kind: str):
    import slicer

    volume = made(host, overlays, kind)
    array = slicer.util.arrayFromVolume(volume)
    index = mrml.some_voxels(array.shape, 60)
    index = index[((index > 1) & (index < np.array(array.shape[::-1]) - 2)).all(axis=1)]
    points = mrml.world_of_voxels(volume, index) * RAS
    formula = WAVES.determinant(points) if kind == "jacobian" else np.linalg.norm(WAVES.displacement(points), axis=-1)
    assert array[tuple(index.T[::-1])] == pytest.approx(formula, abs=0.02)
    assert np.ptp(formula) > 0.5


def test_the_steps_add_up_to_the_whole(host: Host, overlays):
    import slicer

    whole = WAVES.field(GRID).jacobian_determinant()
    assert slicer.util.arrayFromVolume(made(host, overlays, "jacobian")) == pytest.approx(whole, abs=1e-5)


def test_a_map_is_made_once_and_a_later_wish_replaces_an_earlier_one(host: Host, overlays):
    ready: list = []
    overlays.request("jacobian", ready.append)
    overlays.request("displacement", ready.append)
    host.processEvents(0.3)
    assert [volume.GetName() for volume in ready] == ["waves: Displacement (mm)"]
    assert made(host, overlays, "displacement") is ready[0]


def test_close_leaves_no_node(host: Host, overlays):
    import slicer

    nodes = slicer.mrmlScene.GetNumberOfNodes()
    for kind in overlays.kinds:
        made(host, overlays, kind)
    assert overlays.kinds == ["jacobian", "displacement", "uncertainty", "expectedError"]
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes + 4 * 4  # volume, display, colours, legend
    overlays.close()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_without_a_grid_there_is_a_reason(host: Host):
    import slicer

    from pddnet.errors import InputError
    from PDDRegistrationLib.compare.overlays import Overlays

    overlays = Overlays(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "rigid"))
    assert overlays.kinds == ["jacobian", "displacement"]
    with pytest.raises(InputError, match="rigid"):
        overlays.request("jacobian", lambda volume: None)


def test_folded_voxels_are_marked_and_only_these(host: Host):
    from PDDRegistrationLib.compare.comparison import Comparison
    from PDDRegistrationLib.compare.overlays import Overlays

    pair = make_pair(host, folding)
    pair.hideSegmentations()
    comparison, overlays = Comparison(*pair.nodes), Overlays(pair.transform)
    comparison.setBlend(1.0)
    comparison.setOverlay(made(host, overlays, "jacobian"))
    for r in (-8.5, -4, 0, 4, 8.5):
        assert pair.at(r, 3) == pytest.approx(MAGENTA, abs=2), r
    for r in (-24, -15, -12.5, 12.5, 15, 24):
        assert np.ptp(pair.at(r, 3)) < 40, r  # nothing happens: nearly grey, and dark
    comparison.setOverlay(None)
    assert np.ptp(pair.at(0, 3)) == 0
    overlays.close()
    comparison.close()


def test_more_displacement_is_brighter(host: Host):
    from PDDRegistrationLib.compare.comparison import Comparison
    from PDDRegistrationLib.compare.overlays import Overlays

    pair = make_pair(host, lambda points: np.abs(points[..., :1]) * [0.0, 0.3, 0.0])
    pair.hideSegmentations()
    comparison, overlays = Comparison(*pair.nodes), Overlays(pair.transform)
    comparison.setBlend(1.0)
    comparison.setOverlay(made(host, overlays, "displacement"))
    right, left = ([pair.at(side * r, 3).sum() for r in (1, 6, 12, 18, 24)] for side in (1, -1))
    assert right == sorted(right)
    assert right == pytest.approx(left, abs=12)
    assert right[-1] - right[0] > 150
    overlays.close()
    comparison.close()


def test_the_legend_stands_beside_the_map_and_goes_with_it(host: Host):
    from PDDRegistrationLib.compare.comparison import Comparison
    from PDDRegistrationLib.compare.overlays import Overlays

    pair = make_pair(host, folding)
    pair.hideSegmentations()
    comparison, overlays = Comparison(*pair.nodes), Overlays(pair.transform)
    comparison.setOverlay(made(host, overlays, "jacobian"))
    plain = host.viewImage("Red")
    overlays.showLegend("jacobian")
    changed = (host.viewImage("Red") != plain).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert len(rows) > 500
    assert columns.min() > plain.shape[1] / 2  # at the right
    overlays.showLegend(None)
    assert (host.viewImage("Red") == plain).all()
    overlays.close()
    comparison.close()


def test_without_colour_legends_there_is_the_map_alone(host: Host, overlays, monkeypatch: pytest.MonkeyPatch):
    import slicer

    monkeypatch.delattr(slicer, "vtkMRMLColorLegendDisplayNode")
    assert made(host, overlays, "jacobian").GetNumberOfDisplayNodes() == 1
    overlays.showLegend("jacobian")


def test_values_under_the_crosshair_are_the_formulas(host: Host, overlays):
    """In an oblique left-handed grid, between its voxels."""
    from PDDRegistrationLib.compare.probe import valuesAt

    for point in inner_points():
        values = valuesAt(overlays._transform, point * RAS)
        assert values.displacement == pytest.approx(WAVES.displacement(point) * RAS, abs=0.1)
        assert values.jacobian == pytest.approx(float(WAVES.determinant(point[None])[0]), abs=0.02)
        assert values.uncertainty is None


def test_the_determinant_of_an_affine_field_is_exact_also_with_parents(host: Host):
    import slicer

    from PDDRegistrationLib.compare.probe import valuesAt

    slopes = np.array([[0.1, 0.2, 0.0], [-0.3, 0.2, 0.1], [0.0, 0.1, -0.4]])
    node = mrml.add_grid(slicer.mrmlScene, lambda points: points @ slopes.T, GRID)
    exact = float(np.linalg.det(np.eye(3) + slopes))
    point = inner_points()[0] * RAS
    assert valuesAt(node, point).jacobian == pytest.approx(exact, abs=1e-4)
    parent = mrml.add_linear(slicer.mrmlScene, np.diag([1.0, 1.0, 0.5]))
    node.SetAndObserveTransformNodeID(parent.GetID())
    assert valuesAt(node, point * [1, 1, 0.5]).jacobian == pytest.approx(2 * exact, abs=1e-3)
    assert valuesAt(parent, point).jacobian == pytest.approx(2.0)


def test_the_uncertainty_is_interpolated_inside_its_grid_and_unknown_outside(host: Host, overlays):
    from PDDRegistrationLib.compare.probe import valuesAt

    ramp = Image(mrml.ramp_array(GRID), GRID)
    point = inner_points()[5] * RAS
    values = valuesAt(overlays._transform, point, ramp)
    assert values.uncertainty == pytest.approx(float(mrml.ramp(point)), abs=0.01)
    assert valuesAt(overlays._transform, point + 1000, ramp).uncertainty is None


def test_the_probe_speaks_when_the_crosshair_moves_until_it_is_closed(host: Host, overlays):
    import slicer

    from PDDRegistrationLib.compare.probe import Probe

    texts: list[str] = []
    maps = (Image(np.full(GRID.shape, value), GRID) for value in (2.5, 4.25))
    probe = Probe(overlays._transform, texts.append, *maps)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    point = inner_points()[7]
    crosshair.SetCursorPositionRAS((point * RAS).tolist())
    length, determinant = np.linalg.norm(WAVES.displacement(point)), float(WAVES.determinant(point[None])[0])
    number = float(texts[-1].split()[1])
    assert number == pytest.approx(length, abs=0.15)
    assert float(texts[-1].split("Jacobian ")[1].split(";")[0]) == pytest.approx(determinant, abs=0.03)
    assert texts[-1].endswith("spread 2.5 mm; expected error 4.2 mm")
    crosshair.SetCursorPositionInvalid()
    assert texts[-1] == ""
    probe.close()
    crosshair.SetCursorPositionRAS((point * RAS).tolist())
    assert texts[-1] == ""


def test_folding_is_said(host: Host):
    from helpers.compare_scene import grid_transform
    from PDDRegistrationLib.compare.probe import valuesAt, valuesText

    values = valuesAt(grid_transform(folding), np.array([3.0, 1.0, 2.0]))
    assert values.jacobian == pytest.approx(1 + TURNED)
    assert values.displacement == pytest.approx([3 * TURNED, 0, 0])
    assert valuesText(values) == "displacement 7.5 mm (R -7.5, A 0.0, S 0.0); Jacobian -1.50 (folded)"
