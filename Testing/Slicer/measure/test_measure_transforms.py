"""Transforms as Elastix, ANTs and BRAINS write them, loaded by Slicer and measured where torch cannot be imported."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from helpers import measure_scene
from helpers import mrml_geometry as mrml
from helpers.geometry import node_points, rotation
from helpers.measure_scene import FIXED, FOREIGN, NUDGE, SHIFT
from helpers.mrml_geometry import slicer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_transform_is_measured_as_simpleitk_measures_it(host, worker, tmp_path: Path, kind: str):
    from PDDRegistrationLib.measure.measurement import measure

    make, suffix = FOREIGN[kind]
    itk = make()
    scene = measure_scene.fill(itk)
    node = measure_scene.load(itk, tmp_path / f"t{suffix}")
    findings = measure(worker, scene.selection(node)).findings
    rows = {row["name"]: row for row in findings.organs}
    for side, transform in (("before", None), ("after", itk)):
        expected = measure_scene.itk_overlap(scene.images["fixed"], scene.images["moving"], transform)
        for name, value in zip(measure_scene.ORGANS, (1, 3), strict=True):
            for measure_name in ("dice", "hd95", "asd"):
                found, known = rows[name][f"{measure_name}_{side}"], expected[value].get(measure_name)
                assert found == (known if known is None else pytest.approx(known, rel=0.02, abs=0.03)), (name, side)
            assert known is None or rows[name][f"hd95_{side}"] <= expected[value]["hausdorff"] + 1e-3
    assert rows["liver"]["dice_after"] > 0.85 > 0.7 > rows["liver"]["dice_before"]
    tre = {row["name"]: row for row in findings.tre["points"]}
    for name, place, there in zip("abc", scene.places["fixed"], scene.places["moving"], strict=True):
        assert tre[name]["before"] == pytest.approx(np.linalg.norm(place - there), abs=1e-6)
        assert tre[name]["after"] == pytest.approx(np.linalg.norm(NUDGE), abs=0.02)
    assert findings.jacobian["folding_percent"] == 0
    if kind == "affine":
        assert findings.jacobian["mean"] == pytest.approx(np.linalg.det(measure_scene.AFFINE.matrix), abs=1e-3)
        assert findings.inverseError["inverse"] == "exact"
    else:
        assert findings.inverseError["inverse"] == "numerical"
        assert 0.5 < findings.jacobian["min"] < findings.jacobian["max"] < 2.0
    assert findings.inverseError["max"] < 0.3
    assert findings.similarity["after"] > findings.similarity["before"] + 0.2


@pytest.mark.parametrize("kind", ["translation", "to parent", "under another"])
def test_however_the_node_holds_it_the_direction_is_from_the_fixed_to_the_moving_scan(host, worker, kind: str):
    """A node of our own, one that is stored the other way round, and one that lies under another transform."""
    from PDDRegistrationLib.measure.measurement import measure

    scene = measure_scene.fill()
    back = -SHIFT * mrml.RAS
    if kind == "translation":
        node = mrml.add_linear(slicer.mrmlScene, np.eye(3), back)
    elif kind == "to parent":
        constant = lambda points: np.broadcast_to(-SHIFT, points.shape)  # noqa: E731
        node = mrml.add_grid(slicer.mrmlScene, constant, measure_scene.WIDE, to_parent=True)
    else:
        above = mrml.add_linear(slicer.mrmlScene, np.eye(3), back - [3.0, 0, 0])
        node = mrml.add_linear(slicer.mrmlScene, np.eye(3), [3.0, 0, 0], parent=above)
    findings = measure(worker, scene.selection(node)).findings
    assert findings.tre["mean"]["after"] == pytest.approx(5.0, abs=0.02)
    assert findings.tre["mean"]["before"] == pytest.approx(np.linalg.norm(SHIFT + NUDGE), abs=1e-6)


@pytest.mark.parametrize("parents", ["tilt", "nonlinear"])
def test_parents_that_are_no_registration_count_before_and_after(host, worker, parents: str):
    """All things of the moving scan lie under a transform that belongs to it, as a gantry tilt does."""
    from PDDRegistrationLib.measure.measurement import measure

    scene = measure_scene.fill()
    if parents == "tilt":
        own = mrml.add_linear(slicer.mrmlScene, rotation(0, 0, 20), [30.0, 10, -20])
    else:
        own = mrml.add_grid(
            slicer.mrmlScene, lambda p: measure_scene.waves(p) - SHIFT, measure_scene.MOVING.isotropic(8.0, 90.0)
        )
    for name in ("movingVolume", "movingSegmentation", "movingPoints"):
        scene.nodes[name].SetAndObserveTransformNodeID(own.GetID())
    transform = mrml.add_linear(slicer.mrmlScene, np.eye(3), -SHIFT * mrml.RAS, name="registration")
    findings = measure(worker, scene.selection(transform)).findings
    world = []
    for number in range(3):
        place = [0.0] * 3
        scene.nodes["movingPoints"].GetNthControlPointPositionWorld(number, place)
        world.append(np.array(place) * mrml.RAS)
    by_name = dict(zip("cba", world, strict=True))
    for row, place in zip(findings.tre["points"], scene.places["fixed"], strict=True):
        assert row["before"] == pytest.approx(np.linalg.norm(place - by_name[row["name"]]), abs=1e-4)
        assert row["after"] == pytest.approx(np.linalg.norm(place + SHIFT - by_name[row["name"]]), abs=1e-4)


@pytest.mark.parametrize("parent", ["the transform itself", "another result", "a copy under the transform"])
def test_what_already_lies_under_a_registration_is_measured_as_if_it_did_not(host, worker, parent: str):
    from PDDRegistrationLib.measure.measurement import measure
    from PDDRegistrationLib.scene.placement import placeUnder

    scene = measure_scene.fill()
    moving = [scene.nodes[name] for name in ("movingVolume", "movingSegmentation", "movingPoints")]
    transform = mrml.add_linear(slicer.mrmlScene, rotation(3, 2, 1), -SHIFT * mrml.RAS, name="measured")
    if parent == "a copy under the transform":
        tilt = mrml.add_linear(slicer.mrmlScene, rotation(0, 0, 5), [4.0, -3, 2])
        for node in moving:
            node.SetAndObserveTransformNodeID(tilt.GetID())
    expected = measure(worker, scene.selection(transform)).findings
    other = mrml.add_linear(slicer.mrmlScene, rotation(0, 30, 0), [50.0, 0, 0], name="other result")
    known = (other,) if parent == "the transform itself" else (transform, other)
    for result in known:  # as BRAINS leaves them: without our attribute; others leave nothing at all
        result.SetNodeReferenceID(result.GetMovingNodeReferenceRole(), moving[0].GetID())
    for node in moving:
        if parent == "a copy under the transform":
            placeUnder(node, transform)
            assert node.GetParentTransformNode() is not transform
        else:
            node.SetAndObserveTransformNodeID((other if parent == "another result" else transform).GetID())
    found = measure(worker, scene.selection(transform)).findings
    assert found.organs == expected.organs
    assert found.similarity == expected.similarity
    for row, known in zip(found.tre["points"], expected.tre["points"], strict=True):
        assert (row["before"], row["after"]) == pytest.approx((known["before"], known["after"]), abs=1e-6)


def test_two_transforms_are_each_others_inverse_or_not(host, worker):
    from PDDRegistrationLib.measure.measurement import measure

    scene = measure_scene.fill()
    forward = mrml.add_linear(slicer.mrmlScene, np.eye(3), -SHIFT * mrml.RAS, name="forward")
    wrong = mrml.add_linear(slicer.mrmlScene, np.eye(3), (SHIFT + [1.0, -2, 2]) * mrml.RAS, name="backward")
    error = measure(worker, scene.selection(forward, "fixedVolume", inverse=wrong)).findings.inverseError
    assert error["inverse"] == "given"
    assert [error[key] for key in ("mean", "p95", "max")] == pytest.approx([3.0] * 3, abs=1e-6)


def test_folding_of_a_foreign_field_is_found(host, worker, tmp_path: Path):
    """Space turns back behind a plane through the body's centre."""
    import SimpleITK as sitk

    from PDDRegistrationLib.measure.measurement import measure

    points = node_points(FIXED.isotropic(3.0, 60.0))
    field = np.zeros(points.shape)
    field[..., 1] = -2 * np.maximum(points[..., 1] - FIXED.centre[1], 0)
    itk = sitk.DisplacementFieldTransform(measure_scene.sitk_image(field, FIXED.isotropic(3.0, 60.0)))
    scene = measure_scene.fill()
    findings = measure(worker, scene.selection(measure_scene.load(itk, tmp_path / "f.h5"), "fixedVolume")).findings
    assert findings.jacobian["folding_percent"] == pytest.approx(50, abs=5)
    assert findings.jacobian["min"] == pytest.approx(-1, abs=1e-3)
    assert findings.inverseError["max"] > 10
    assert (findings.organs, findings.tre, findings.similarity) == ([], None, None)
