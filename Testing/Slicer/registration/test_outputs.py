"""Every output is known wherever it must be: the table, the selection, the parameter node, the panel and the worker."""

from __future__ import annotations

import inspect
import xml.etree.ElementTree as ET
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from helpers.paths import LIBRARY
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.linear import TRANSFORM_TYPES

if TYPE_CHECKING:
    from host.host import Host

UI = LIBRARY / "Resources" / "UI" / "PDDRegistration.ui"


@pytest.fixture(autouse=True)
def host(running_host: Host) -> Host:
    return running_host


def selectors() -> dict[str, dict[str, str]]:
    """The properties of the output selectors in the .ui file, by the widget's name."""
    found = {}
    for widget in ET.parse(UI).getroot().iter("widget"):
        if widget.get("name", "").startswith("output") and widget.get("class") == "qMRMLNodeComboBox":
            texts = {p.get("name", ""): "".join(p.itertext()).strip() for p in widget.findall("property")}
            found[widget.get("name", "")] = texts
    return found


def test_table_selection_parameters_and_panel_have_the_same_outputs() -> None:
    from PDDRegistrationLib.registration.outputs import OUTPUT_FIELDS, OUTPUTS, OutputNodes, nodeClassOf
    from PDDRegistrationLib.registration.parameters import RegistrationParameters

    assert tuple(field.name for field in fields(OutputNodes)) == OUTPUT_FIELDS
    assert tuple(name for name in RegistrationParameters.allParameters if name.startswith("output")) == OUTPUT_FIELDS
    assert set(selectors()) == {f"{name}Selector" for name in OUTPUT_FIELDS}
    for output in OUTPUTS:
        widget = selectors()[f"{output.field}Selector"]
        assert widget["SlicerParameterName"] == output.field
        kinds = dict.fromkeys(nodeClassOf(output, kind) for kind in TRANSFORM_TYPES)
        assert widget["nodeTypes"] == "".join(kinds)
        assert widget["baseName"] == output.nameWithoutInputs


def test_selection_and_parameters_have_the_same_nodes() -> None:
    from PDDRegistrationLib.registration.parameters import RegistrationParameters
    from PDDRegistrationLib.registration.selection import NODES

    settings = ("fixedMaskSegment", "movingMaskSegment", "guide", "preset", "device", "transformType")
    settings = (*settings, "intensity", "diffeomorphic")
    advanced = ("captureRange", "controlSpacing", "smoothness", "optimisationSteps", "inverseConsistency")
    assert set(RegistrationParameters.allParameters) == {*NODES, *settings, *advanced}  # scenes store these names


def test_the_worker_accepts_what_each_output_asks_for() -> None:
    import slicer

    from pddnet.run.outputs import OUTPUTS as COMPUTED
    from pddnet.worker.tasks import register
    from PDDRegistrationLib.registration.outputs import OUTPUTS, MovingScan
    from PDDRegistrationLib.registration.selection import Selection
    from PDDRegistrationLib.scene.segmentations import SegmentLabels

    on_request = {output.answer for output in COMPUTED if output.on_request}
    accepted = {*inspect.signature(register).parameters, *on_request}
    image = Image(np.zeros((2, 3, 4), np.int16), Grid((2, 3, 4), np.ones(3), np.zeros(3), np.eye(3)))
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    moving = MovingScan(Selection(volume, volume), image, SegmentLabels((image,), ()))
    requests: dict[str, Any] = {output.field: output.request(moving) for output in OUTPUTS}
    assert {field: list(request) for field, request in requests.items()} == {
        "outputTransform": [],
        "outputVolume": ["warp"],
        "outputSegmentation": ["warp_labels"],
        "outputInverse": ["inverse"],
        "outputJacobian": ["jacobian"],
        "outputSpread": [],
        "outputError": [],
    }
    assert all(set(request) <= accepted for request in requests.values())
    assert requests["outputVolume"]["warp"]["volume"] is image
    assert requests["outputSegmentation"]["warp_labels"]["0"] is image
