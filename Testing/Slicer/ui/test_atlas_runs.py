"""Segmentation by atlases in the whole module, with the real process: a result, cancel, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers import clicks, runs, samples
from helpers.atlas_section import array_of
from helpers.mrml_geometry import slicer
from pddnet.evaluation.metrics import dice

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


def test_a_run_that_is_cancelled_and_one_that_ends(bench: runs.Bench, tmp_path: Path) -> None:
    """The atlas is the moving scan with its organs, SHIFT away on a grid of its own."""
    folder, ui = tmp_path / "atlases", bench.widget.atlasUi
    folder.mkdir()
    samples.save(samples.small_pair()[1], folder / "a.nii.gz")
    samples.save(samples.labels(samples.MOVING, samples.FIXED.centre + samples.SHIFT), folder / "a_labels.nii.gz")
    ui.atlasCollapsibleButton.collapsed = False
    ui.atlasFolderPathLineEdit.currentPath = str(folder)
    idle = lambda: ui.atlasButton.text != "Cancel"  # noqa: E731
    before = slicer.mrmlScene.GetNumberOfNodes()

    def cancelled() -> None:
        runs.click(ui.atlasButton)
        assert bench.host.waitUntil(lambda: ui.atlasStatusLabel.text.startswith("a: "), 60), ui.atlasStatusLabel.text
        runs.click(ui.atlasButton)
        assert bench.host.waitUntil(idle, 60)

    def ended() -> None:
        runs.click(ui.atlasButton)
        assert bench.host.waitUntil(idle, 120), ui.atlasStatusLabel.text

    with clicks.every_click_counts():
        bench.host.runInEventLoop(cancelled)
        assert ui.atlasStatusLabel.text == "Cancelled; nothing was changed."
        assert slicer.mrmlScene.GetNumberOfNodes() == before
        assert runs.arrays(bench.host) == []
        bench.host.runInEventLoop(ended)
    assert ui.atlasStatusLabel.text.startswith("1 of 1 atlases"), ui.atlasStatusLabel.text
    bench.check_inputs_untouched()
    fixed = bench.nodes["fixedVolume"]
    node = slicer.util.getNode(f"{fixed.GetName()} segmented by atlases")
    truth = samples.labels(samples.FIXED, samples.FIXED.centre).array == 1
    assert (dice(array_of(node, "label 1", fixed), truth) or 0.0) > 0.75
    assert runs.arrays(bench.host) == []
