"""Transforms and volumes keep with what they were made, and how far to trust them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pddnet import __version__
from pddnet.io.weights_file import BUNDLED_SHA256

if TYPE_CHECKING:
    from helpers.runs import Bench

NODES = {
    "outputTransform": "vtkMRMLGridTransformNode",
    "outputVolume": "vtkMRMLScalarVolumeNode",
    "outputSegmentation": "vtkMRMLSegmentationNode",
    "outputInverse": "vtkMRMLGridTransformNode",
    "outputSpread": "vtkMRMLScalarVolumeNode",
}


def provenance(node: Any) -> dict[str, str | None]:
    from PDDRegistrationLib.scene.provenance import ATTRIBUTES

    return {key: node.GetAttribute(attribute) for key, attribute in ATTRIBUTES.items()}


def copy_of(scene: Any) -> Any:
    """What another scene reads of the text that this one writes."""
    import slicer

    copy = slicer.vtkMRMLScene()
    scene.SetSaveToXMLString(1)
    try:
        scene.Commit()
    finally:
        scene.SetSaveToXMLString(0)  # else it writes no file from now on
    copy.SetLoadFromXMLString(1)
    copy.SetSceneXMLString(scene.GetSceneXMLString())
    copy.Import()
    return copy


@pytest.mark.slow
def test_every_output_knows_its_origin_also_from_a_file(bench: Bench) -> None:
    import slicer

    from PDDRegistrationLib.registration.job import reportOf
    from PDDRegistrationLib.scene.apply_to import hardenedCopy, inverseOf

    outputs = {name: slicer.mrmlScene.AddNewNodeByClass(kind, name) for name, kind in NODES.items()}
    outputs["outputVolume"].SetAttribute("PDDRegistration.Preset", "of an earlier run")
    bench.choose(**outputs)
    bench.run()
    assert bench.status == ""
    report = reportOf(outputs["outputTransform"])
    expected = {
        "version": __version__,
        "preset": "fast",
        "weights": json.dumps(report["weights"]),
        "status": report["verdict"]["status"],
        "risk": json.dumps(report["verdict"]["risk"]),
        "reasons": json.dumps(report["verdict"]["reasons"]),
        "inputs": json.dumps({name: node.GetName() for name, node in bench.nodes.items()}),
    }
    assert set(report["weights"].items()) <= set(BUNDLED_SHA256.items())
    assert all(provenance(node) == expected for node in outputs.values())
    assert all(set(provenance(node).values()) == {None} for node in bench.nodes.values())
    transform = outputs["outputTransform"]
    assert provenance(inverseOf(transform)) == expected
    assert provenance(hardenedCopy(bench.nodes["movingVolume"], transform)) == expected
    assert provenance(copy_of(slicer.mrmlScene).GetFirstNodeByName("outputVolume")) == expected


def test_a_copy_under_a_foreign_transform_claims_nothing() -> None:
    from helpers import mrml_geometry as mrml
    from PDDRegistrationLib.scene.apply_to import hardenedCopy
    from PDDRegistrationLib.scene.provenance import setProvenance

    scene, grid = mrml.new_scene(), mrml.FIXED["left-handed oblique"]
    volume = mrml.add_volume(scene, mrml.ramp_array(grid), grid, "warped")
    origin: dict[str, Any] = {"version": "0", "preset": "mind", "weights": {}, "status": "ok", "risk": 0.25}
    setProvenance(volume, origin | {"reasons": ["é"], "inputs": {}})
    assert (provenance(volume)["risk"], json.loads(provenance(volume)["reasons"] or "")) == ("0.25", ["é"])
    foreign = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "foreign")
    copy = hardenedCopy(volume, foreign)
    assert set(provenance(copy).values()) == {None}
    assert np.isclose(copy.GetSpacing(), volume.GetSpacing()).all()
