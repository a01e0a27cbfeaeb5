"""A sequence browser with the frames of `moving_body`, and a stand-in for the registration process that knows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers import moving_body
from helpers import mrml_geometry as mrml
from helpers.mrml_geometry import slicer
from helpers.samples import FIXED
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image


def browser_of(frames: Any) -> Any:
    return browser_of_images([moving_body.image_of(frame) for frame in frames])


def browser_of_images(images: list[Image]) -> Any:
    scene = slicer.mrmlScene
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "CT")
    sequence.SetIndexName("phase")
    sequence.SetIndexUnit("%")
    for frame, image in enumerate(images):
        volume = mrml.add_volume(scene, image.array, image.grid, "frame")
        sequence.SetDataNodeAtValue(volume, str(10 * frame))
        scene.RemoveNode(volume)
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    show(browser, len(images) - 1)
    return browser


def show(browser: Any, frame: int) -> None:
    browser.SetSelectedItemNumber(frame)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def _lung(frame: int) -> dict[str, Any]:
    """A row of the report's motion table."""
    shift = (moving_body.shift_of(frame) * [-1, -1, 1]).tolist()
    lengths = dict.fromkeys(("mean_mm", "p95_mm"), float(np.linalg.norm(shift)))
    volumes = {"fixed_ml": 900.0, "moving_ml": 900.0 + frame}
    named = {"source": "network", "name": "lung", "centre_lps_mm": FIXED.centre.tolist()}
    return {**named, "shift_ras_mm": shift, "rotation_degrees": 1.0, **volumes, **lengths}


class InstantWorker:
    """A stand-in for the worker's client that answers in `waitFor`, and finds the shift of each frame."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.waiting: dict[int, Any] = {}
        self.failed: set[int] = set()

    def submit(self, request: dict, onProgress: Any, onDone: Any, onFailed: Any) -> int:
        frame = next(n for n in range(moving_body.COUNT) if moving_body.grid_of(n).same_as(request["moving"].grid))
        self.requests.append({**request, "frame": frame})
        self.waiting[len(self.requests)] = frame, onProgress, onDone, onFailed
        return len(self.requests)

    def waitFor(self, number: int) -> None:
        frame, onProgress, onDone, _ = self.waiting.pop(number)
        if onProgress is not None:
            onProgress(0.5, "match")
        grid = FIXED.isotropic(4.0, 16.0)
        shift = np.broadcast_to(moving_body.shift_of(frame), (*grid.shape, 3)).astype(np.float32)
        verdict = {"status": "failed" if frame in self.failed else "ok"}
        report = {"verdict": verdict, "frame": frame, "motion": [_lung(frame)]}
        onDone({"field": DisplacementField(shift, grid), "matrix": None, "report": report})

    def cancel(self, number: int) -> None:
        from PDDRegistrationLib.worker.failure import cancelled

        self.waiting.pop(number)[3](cancelled())
