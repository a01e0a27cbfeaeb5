"""Find guides: segmentations of both scans, of whatever module, guide the registration by one click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from helpers import samples
from helpers.paths import MODULE
from helpers.runs import add_segmentation, add_volume

if TYPE_CHECKING:
    from helpers.runs import Bench
    from host.host import Host

LIVER = "Segmentation category and type~SCT^123037004^Body structure~SCT^10200004^Liver~^^~Anatomic codes~^^~^^"


@pytest.fixture
def widget(host: Host) -> Any:
    """The module's widget with two CTs chosen."""
    images = samples.small_pair()
    volumes = [add_volume(image, name) for image, name in zip(images, ("CT of March", "CT of May"), strict=True)]
    widget = host.loadModule(MODULE)
    parameters = widget.logic.getParameterNode()
    parameters.fixedVolume, parameters.movingVolume = volumes
    return widget


def add(widget: Any, side: str, name: str, segments: tuple[str, str]) -> Any:
    """A segmentation that refers to a volume, as segmentors leave it; its name says nothing of that volume."""
    volume = getattr(widget.logic.getParameterNode(), f"{side}Volume")
    grid = samples.FIXED if side == "fixed" else samples.MOVING
    node = add_segmentation(samples.labels(grid, samples.FIXED.centre), name)
    for number, segment in enumerate(segments):
        node.GetSegmentation().GetNthSegment(number).SetName(segment)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node


def click(widget: Any) -> str:
    """Press Find guides; return what is said then."""
    widget.ui.findGuidesButton.click()
    return widget.ui.guideNote.text


def test_the_two_with_most_in_common_guide(widget: Any) -> None:
    add(widget, "fixed", "Tumour", ("tumour", "spleen"))
    add(widget, "moving", "Bones", ("skull", "femur"))
    fixed = add(widget, "fixed", "Segmentation", ("liver", "spleen"))
    moving = add(widget, "moving", "Segmentation_1", ("Spleen", "liver"))
    text = click(widget)
    parameters = widget.logic.getParameterNode()
    assert (parameters.fixedSegmentation, parameters.movingSegmentation, parameters.guide) == (fixed, moving, True)
    assert text == (
        "2 segments guide: those of Segmentation and Segmentation_1 alike. Their Dice is then guided, no evaluation."
    )
    assert widget.ui.guideCheckBox.checked
    widget.ui.guideCheckBox.checked = False
    assert widget.ui.guideNote.text == ""


def test_segments_match_by_terminology_too(widget: Any) -> None:
    import slicer

    fixed = add(widget, "fixed", "A", ("Leber", "x"))
    moving = add(widget, "moving", "B", ("liver", "y"))
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    for node in (fixed, moving):
        node.GetSegmentation().GetNthSegment(0).SetTag(tag, LIVER)
    assert click(widget).startswith("1 segments guide")


def test_it_says_why_nothing_can_guide(widget: Any) -> None:
    parameters = widget.logic.getParameterNode()
    assert click(widget).startswith("There is no segmentation of CT of March; make one")
    add(widget, "fixed", "A", ("liver", "spleen"))
    assert click(widget).startswith("There is no segmentation of CT of May")
    add(widget, "moving", "B", ("skull", "femur"))
    assert click(widget).startswith("No segment of A has the name or terminology of one of B")
    parameters.movingVolume = None
    assert click(widget) == "Choose a fixed and a moving volume first."
    assert not parameters.guide
    assert parameters.movingSegmentation is None


def test_a_warped_result_does_not_guide_to_itself(widget: Any) -> None:
    from PDDRegistrationLib.scene.provenance import setProvenance

    add(widget, "moving", "B", ("liver", "spleen"))
    warped = add(widget, "fixed", "B on A", ("liver", "spleen"))
    origin: dict[str, Any] = {"version": "0", "preset": "mind", "weights": {}, "status": "ok", "risk": 0.25}
    setProvenance(warped, origin | {"reasons": [], "inputs": {}})
    assert click(widget).startswith("There is no segmentation of CT of March")


@pytest.mark.slow
def test_a_run_that_was_guided_says_so(bench: Bench) -> None:
    from PDDRegistrationLib.registration.job import reportOf

    for side in ("fixed", "moving"):
        bench.nodes[f"{side}Segmentation"].SetReferenceImageGeometryParameterFromVolumeNode(
            bench.nodes[f"{side}Volume"]
        )
    bench.choose(fixedSegmentation=None, movingSegmentation=None)
    assert click(bench.widget).startswith("2 segments guide")
    bench.run()
    report = reportOf(bench.parameters.outputTransform)
    assert report is not None
    assert report["guided"]
    assert [row["name"] for row in report["organs"]] == ["liver", "spleen"]
    assert "guided by them, so no evaluation" in bench.ui.verdictLabel.text
