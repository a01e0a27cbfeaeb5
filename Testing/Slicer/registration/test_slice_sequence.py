"""A sequence of single slices (2-D + t), oblique and flipped, registered by the logic and by the section Sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers import clicks
from helpers.moving_sequence import browser_of_images, show
from helpers.mrml_geometry import RAS, slicer
from helpers.runs import Bench, click
from helpers.samples import FIXED, body
from helpers.slices import FIXED_PLACE, cine, cine_map
from pddnet.errors import InputError

pytestmark = pytest.mark.slow

COUNT, REFERENCE = 4, 1
NORMAL = FIXED_PLACE.axes[:, 2]


def inner() -> np.ndarray:
    """LPS mm: points well within the reference."""
    xy = np.random.default_rng(6).uniform([-50, -48], [50, 48], (50, 2))
    return FIXED_PLACE.points(xy)


def check_playback(browser: Any, transform: Any, volume: Any, frames: list) -> None:
    """Every frame's transform takes points of the reference within the plane to where the frame shows them."""
    points = inner()
    for frame in range(COUNT):
        show(browser, frame)
        assert volume.GetParentTransformNode() is transform
        assert np.array_equal(slicer.util.arrayFromVolume(volume), frames[frame].array)
        moved = clicks.moved(transform.GetTransformFromParent(), points)
        truth = FIXED_PLACE.points(cine_map(frame, REFERENCE)(FIXED_PLACE.coordinates(points)))
        assert np.abs((moved - points) @ NORMAL).max() < 1e-3
        errors = np.linalg.norm(moved - truth, axis=1)
        assert np.median(errors) < 0.4, frame
        assert np.percentile(errors, 90) < 1.0, frame


def test_every_frame_gets_a_transform_that_moves_within_the_plane(bench: Bench) -> None:
    frames, stages = cine(COUNT, REFERENCE), []
    browser = browser_of_images(frames)
    register = bench.widget.logic.registerSequence
    result = register(browser, REFERENCE, progress=lambda fraction, stage: stages.append(stage))
    assert result.transform.GetClassName() == "vtkMRMLGridTransformNode"
    check_playback(browser, result.transform, result.volume, frames)
    assert np.array_equal(slicer.util.arrayFromVolume(result.fixedVolume), frames[REFERENCE].array)
    assert [report["start"] for _, report in sorted(result.reports.items())] == ["none", "none", "given"]
    assert {report["verdict"]["status"] for report in result.reports.values()} == {"ok"}
    assert result.motion == {number: [] for number in range(COUNT)}
    assert any(stage.startswith("frame 3: ") for stage in stages)


def test_the_section_registers_and_plays_it(bench: Bench) -> None:
    frames = cine(COUNT, REFERENCE)
    browser, ui = browser_of_images(frames), bench.widget.sequenceUi
    ui.sequenceBrowserSelector.setCurrentNode(browser)
    ui.sequenceReferenceSpinBox.value = REFERENCE
    assert ui.sequenceButton.enabled, ui.sequenceReasonLabel.text
    bench.choose(transformType="rigid")
    bench.widget._sequencePanel.show(bench.parameters)
    assert not ui.sequenceButton.enabled
    assert ui.sequenceReasonLabel.text.startswith("Transform rigid: only for volumes, and these are single slices")
    bench.choose(transformType="deformable")
    bench.widget._sequencePanel.show(bench.parameters)

    def body() -> None:
        click(ui.sequenceButton)
        assert bench.host.waitUntil(lambda: ui.sequenceButton.text != "Cancel", 60.0)

    bench.host.runInEventLoop(body)
    assert ui.sequenceStatusLabel.text == "3 frames are registered to frame 1."
    assert ui.sequenceTableWidget.isHidden()
    volume = browser.GetProxyNode(browser.GetMasterSequenceNode())
    check_playback(browser, volume.GetParentTransformNode(), volume, frames)
    assert ui.sequencePlayButton.enabled
    manager = slicer.app.layoutManager()
    for name in manager.sliceViewNames():
        to_ras = manager.sliceWidget(name).mrmlSliceNode().GetSliceToRAS()
        normal = np.array([to_ras.GetElement(row, 2) for row in range(3)]) * RAS
        assert abs(normal @ NORMAL) == pytest.approx(1.0, abs=1e-6)


def test_slices_and_volumes_in_one_sequence_are_refused(bench: Bench) -> None:
    browser = browser_of_images([body(FIXED), cine(2, 0)[1]])
    with pytest.raises(InputError, match="CT: frame 1 is a single slice, and others are volumes"):
        bench.widget.logic.registerSequence(browser, 0)
