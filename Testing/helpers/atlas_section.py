"""The section Atlas segmentation on its widgets, with a stand-in for the process, and atlases for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import SimpleITK as sitk

from helpers import samples
from helpers.batch_section import PairWorker
from helpers.mrml_geometry import slicer
from helpers.paths import UI
from pddnet.core.grid import Grid
from pddnet.io.segment_headers import Segment, segmentation

TERMINOLOGY = "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^10200004^Liver"
LOOKS = {"liver": ((0.5, 0.25, 0.125), f"TerminologyEntry:{TERMINOLOGY}|Source:by hand|"), "spleen": (None, "")}


class AtlasSection:
    """The panel in a scene, with the preset fast."""

    def __init__(self) -> None:
        from PDDRegistrationLib.registration.atlas_job import AtlasJob
        from PDDRegistrationLib.registration.parameters import RegistrationParameters
        from PDDRegistrationLib.ui.atlas_panel import AtlasPanel

        self.worker = PairWorker()
        self.widget = slicer.util.loadUI(str(UI / "AtlasSegmentation.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        start = lambda selection, *calls: AtlasJob(self.worker, selection, *calls)  # noqa: E731
        logic = SimpleNamespace(longWorker=self.worker, startAtlases=start, stop=lambda: None)
        self.panel = AtlasPanel(self.ui, logic)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Parameters")
        self.parameters = RegistrationParameters(node)
        self.parameters.preset = "fast"
        self.panel.show(self.parameters)

    def choose(self, folder: Path) -> None:
        self.ui.atlasFolderPathLineEdit.currentPath = str(folder)

    def choose_scene(self) -> None:
        self.ui.atlasSourceComboBox.setCurrentIndex(1)

    @property
    def status(self) -> str:
        return self.ui.atlasStatusLabel.text

    @property
    def found(self) -> str:
        return self.ui.atlasFoundLabel.text


def write_atlas(
    folder: Path,
    name: str,
    shift: np.ndarray = samples.SHIFT,
    grid: Grid = samples.MOVING,
    centre: np.ndarray = samples.FIXED.centre,
) -> None:
    """A ramp, and the organs of `samples.labels` at a place and moved (LPS mm), as Slicer saves them, with `LOOKS`."""
    folder.mkdir(exist_ok=True)
    samples.save(samples.ramp(grid), folder / f"{name}.nrrd")
    segments = {n: Segment(organ, 0, n, *LOOKS[organ]) for n, organ in ((1, "liver"), (3, "spleen"))}
    image = samples.labels(grid, centre + shift)
    sitk.WriteImage(segmentation(image, segments), str(folder / f"{name}.seg.nrrd"))


def array_of(node: Any, segment: str, volume: Any) -> np.ndarray:
    """The voxels of a segment of that name on a volume's grid, by slicer.util alone."""
    name = node.GetSegmentation().GetSegmentIdBySegmentName(segment)
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume) > 0
