"""Linear results in the scene: node class, direction, hardening, inverse, maps, and the panel's choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers import clicks, samples
from helpers.mrml_geometry import RAS, slicer
from helpers.runs import Bench

pytestmark = pytest.mark.slow

INNER = samples.FIXED.centre + np.array([[5.0, -8, 6], [-9, 3, 7], [11, 6, -12], [0, 0, 0], [-4, -11, -8]])
LINEAR, GRID = "vtkMRMLLinearTransformNode", "vtkMRMLGridTransformNode"


def added(className: str, name: str = "Given") -> Any:
    return slicer.mrmlScene.AddNewNodeByClass(className, name)


def test_the_result_is_a_linear_transform_that_lays_moving_on_fixed(bench: Bench):
    """The bodies lie SHIFT apart, on oblique grids without a common axis."""
    clicks.choose(bench.ui.transformTypeComboBox, "rigid: shift and turn")
    assert bench.parameters.transformType == "rigid"
    bench.run()
    assert bench.status == ""
    node = bench.parameters.outputTransform
    assert node.GetClassName() == LINEAR
    assert node.GetName() == "Moving^Patient to Fixed^Patient"
    there = clicks.moved(node.GetTransformFromParent(), INNER)
    assert np.abs(there - INNER - samples.SHIFT).max() < 0.6
    roles = node.GetFixedNodeReferenceRole(), node.GetMovingNodeReferenceRole()
    moving = bench.nodes["movingVolume"]
    assert [node.GetNodeReference(role) for role in roles] == [bench.nodes["fixedVolume"], moving]
    assert moving.GetParentTransformNode() is node
    bounds, centre = [0.0] * 6, samples.MOVING.centre
    moving.GetRASBounds(bounds)
    middle = np.reshape(bounds, (3, 2)).mean(1) * RAS
    assert np.abs(middle - (centre - samples.SHIFT)).max() < 1.0
    assert "The middle of the body moves by" in bench.ui.verdictLabel.text
    assert "(rigid)" in bench.ui.verdictLabel.text


def test_hardening_moves_the_moving_volume_by_the_reported_matrix(bench: Bench):
    bench.choose(transformType="affine")
    bench.run()
    node, moving = bench.parameters.outputTransform, bench.nodes["movingVolume"]
    from PDDRegistrationLib.registration.job import reportOf

    matrix = np.array(reportOf(node)["linear"]["matrix"])
    expected = INNER @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs(clicks.moved(node.GetTransformFromParent(), INNER) - expected).max() < 1e-6
    corner = np.array(moving.GetOrigin()) * RAS
    moving.HardenTransform()
    hardened = np.array(moving.GetOrigin()) * RAS
    assert np.abs(matrix[:3, :3] @ hardened + matrix[:3, 3] - corner).max() < 1e-3
    assert np.abs(hardened - corner).max() > 5.0


def test_the_inverse_and_the_jacobian_go_with_it(bench: Bench):
    inverse = added(LINEAR, "Back")
    jacobian = bench.ui.outputJacobianSelector.addNode()
    bench.choose(transformType="similarity", outputInverse=inverse)
    bench.run()
    assert bench.status == ""
    forward = bench.parameters.outputTransform.GetTransformFromParent()
    there = clicks.moved(forward, INNER)
    assert np.abs(clicks.moved(inverse.GetTransformFromParent(), there) - INNER).max() < 1e-4
    edge = clicks.moved(forward, np.array([[0.0, 0, 0], [100.0, 0, 0]]))
    scale = np.linalg.norm(edge[1] - edge[0]) / 100.0
    assert slicer.util.arrayFromVolume(jacobian) == pytest.approx(scale**3, abs=1e-3)


def test_a_linear_result_has_maps_like_any_other(bench: Bench):
    """The displacement of a shift is its length, all over the fixed volume."""
    from PDDRegistrationLib.scene.placement import setRegistrationReferences
    from PDDRegistrationLib.scene.transforms import displacementsOf, linearTransformFromMatrix

    matrix = np.eye(4)
    matrix[:3, 3] = samples.SHIFT
    node = added(LINEAR)
    linearTransformFromMatrix(matrix, node)
    setRegistrationReferences(node, bench.nodes["fixedVolume"], bench.nodes["movingVolume"])
    field = displacementsOf(node)
    assert np.abs(field.array - samples.SHIFT).max() < 1e-4
    assert field.grid.contains(INNER).all()
    fixed = samples.FIXED.corners()
    span = field.grid.corners().max(0) - field.grid.corners().min(0)
    assert (span >= fixed.max(0) - fixed.min(0) - 1e-3).all()


def test_a_node_of_the_other_kind_is_kept_and_a_new_one_offered(bench: Bench):
    bench.run()
    grid = bench.parameters.outputTransform
    assert grid.GetClassName() == GRID
    bench.choose(transformType="rigid")
    assert bench.ui.applyButton.toolTip == f"{grid.GetName()} is no linear transform; choose another output."
    assert bench.ui.newTransformButton.visible
    clicks.click(bench.ui.newTransformButton)
    bench.run()
    assert bench.parameters.outputTransform.GetClassName() == LINEAR
    assert grid.GetScene() is not None
    bench.choose(outputTransform=None, transformType="deformable", outputInverse=added(LINEAR, "Back"))
    assert bench.ui.applyButton.toolTip == "Back is no grid transform; choose another output."
    assert not bench.ui.newTransformButton.visible


def test_the_panel_offers_every_type_and_mends_an_unknown_one(bench: Bench):
    from pddnet.core.linear import TRANSFORM_TYPES

    box = bench.ui.transformTypeComboBox
    assert [box.itemData(n) for n in range(box.count)] == list(TRANSFORM_TYPES)
    assert box.currentText == "deformable"
    assert bench.ui.advancedCollapsibleButton.enabled
    bench.choose(transformType="affine")
    assert box.currentText.startswith("affine")
    assert not bench.ui.advancedCollapsibleButton.enabled  # no stages to set
    bench.choose(transformType="elastic")
    assert (bench.parameters.transformType, box.currentText) == ("deformable", "deformable")
    assert "'elastic', which does not exist here" in bench.ui.statusLabel.text
