"""Two real scans of different people, loaded through the host and registered by clicks, against the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks import validation_pairs
from helpers import clicks
from helpers.mrml_geometry import slicer
from pddnet.io.landmarks import read_points

if TYPE_CHECKING:
    from host.host import Host

FIXED, MOVING = "ts_example", "acrin_flt_breast_001"  # 3 mm and 2 x 2 x 4.25 mm voxels; most landmarks in common

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(validation_pairs.data_folder() is None, reason="no folder of real scans (PDDNET_DATA) here"),
]


class Run(NamedTuple):
    transform: object
    verdict: str
    commandLine: sitk.DisplacementFieldTransform
    folder: Path  # of the scans


@pytest.fixture(scope="module")
def run(running_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Load both files, choose them in the panel, click Apply."""
    folder = validation_pairs.data_folder() / "ct"
    files = [folder / name / "ct.nii.gz" for name in (FIXED, MOVING)]
    running_host.setTesting(True)
    running_host.clear()
    widget = running_host.loadModule(clicks.MODULE)
    commandLine = clicks.CommandLine(*files, tmp_path_factory.mktemp("real") / "command line.h5")
    nodes = [slicer.util.loadVolume(str(path)) for path in files]
    for node, name in zip(nodes, (FIXED, MOVING), strict=True):
        node.SetName(name)
    clicks.choose(widget.ui.fixedVolumeSelector, FIXED)
    clicks.choose(widget.ui.movingVolumeSelector, MOVING)
    clicks.apply(running_host, widget)
    transform = widget.ui.outputTransformSelector.currentNode()
    yield Run(transform, widget.ui.verdictLabel.text, commandLine.result(), folder)
    running_host.unloadModule("PDDRegistration")
    running_host.clear()


def test_the_result_is_the_command_lines(run: Run):
    assert clicks.difference(run.transform, run.commandLine) < 0.01  # mm


def test_a_verdict_is_shown_with_the_preset(run: Run):
    assert run.verdict.startswith(("<b>OK", "<b>Doubtful"))
    assert "preset default" in run.verdict


def test_the_landmarks_come_together(run: Run):
    """The files' points are LPS mm; hundreds of mm apart before, as each scanner counts from somewhere else."""
    fixed, moving = (read_points(run.folder / name / "landmarks.csv") for name in (FIXED, MOVING))
    names = sorted(fixed.keys() & moving.keys())
    before, there = (np.array([points[name] for name in names]) for points in (fixed, moving))
    after = clicks.moved(run.transform.GetTransformFromParent(), before)
    assert len(names) >= 16
    assert np.median(np.linalg.norm(before - there, axis=1)) > 300
    assert np.median(np.linalg.norm(after - there, axis=1)) < 15
