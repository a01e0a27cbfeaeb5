"""Register the volumes of a sequence to one of them, one request to the worker after the other (`SequenceJob`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.core.intensity import AUTO, check_intensity
from pddnet.core.linear import DEFORMABLE, check_transform_type
from pddnet.core.preset_overrides import adjusted
from pddnet.core.presets import find_preset
from pddnet.core.sequence import start_frame, visiting_order
from pddnet.errors import InputError

from ..scene.placement import registeredVolumes
from ..scene.sequences import SequenceResult, addTransformSequence, frameOf, framesAreSlices, sequenceProxy
from ..scene.transforms import gridTransformFromField, linearTransformFromMatrix
from ..scene.volumes import imageFromVolume
from ..worker.client import Worker
from ..worker.failure import Failure
from ..worker.scene_job import EndingJob, NodesOfRun, SceneJob
from .job import REPORT, reportOf
from .slices import refuseForSlices

FAILED = "failed"


@dataclass(frozen=True)
class SequenceSelection:
    """Choice for the registration of a sequence: the volumes of the browser's master sequence.

    reference: the number of the frame that stays, from 0. align: whether frames that have no neighbour to start from
    search for the alignment; otherwise they start from where they lie. The other fields are those of `Selection`. The
    frames may be single slices (2-D + t), for which the preset has no effect.
    """

    browser: slicer.vtkMRMLSequenceBrowserNode
    reference: int = 0
    preset: str = "breathing"
    device: str = "auto"
    transformType: str = DEFORMABLE
    intensity: str = AUTO
    align: bool = False
    adjust: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sequence(self) -> slicer.vtkMRMLSequenceNode:
        """Return the sequence of the volumes."""
        return self.browser.GetMasterSequenceNode()

    def check(self) -> None:
        """Raise InputError where the choice cannot be carried out."""
        adjusted(find_preset(self.preset), **self.adjust)
        check_transform_type(self.transformType)
        check_intensity(self.intensity)
        if self.browser is None or self.sequence is None:
            raise InputError(_("Choose a sequence browser that has a sequence of volumes."))
        name, count = self.sequence.GetName(), self.sequence.GetNumberOfDataNodes()
        if count < 2:
            raise InputError(
                _("{name}: the sequence has {count} frames; two are needed.").format(name=name, count=count)
            )
        if not 0 <= self.reference < count:
            text = _("{name}: there is no frame {number}; choose 0 to {last}.")
            raise InputError(text.format(name=name, number=self.reference, last=count - 1))
        sequenceProxy(self.browser)
        if framesAreSlices(self.sequence):
            refuseForSlices(self.transformType, self.intensity, self.adjust, {})


class _FrameJob(SceneJob[dict[str, Any]]):
    """Registration of one frame; its outcome is the worker's answer."""

    def _apply(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer


class SequenceJob(EndingJob[SequenceResult]):
    """Register all frames of a sequence. The scene changes once, when the last frame is registered."""

    def __init__(
        self,
        worker: Worker,
        selection: SequenceSelection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[SequenceResult], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Start with the frame next to the reference; raise InputError, with nothing started, where that cannot be."""
        selection.check()
        super().__init__(onFinished, onFailed)
        self.selection, self._worker, self._onProgress = selection, worker, onProgress
        self._nodes = NodesOfRun([selection.browser, selection.sequence])
        self._count = selection.sequence.GetNumberOfDataNodes()
        self._left = visiting_order(self._count, selection.reference)
        self._answers: dict[int, dict[str, Any]] = {}
        self._frame = self._begin()

    def cancel(self) -> None:
        """Cancel the job; the scene is not changed, and onFailed is called with kind 'cancelled', within seconds."""
        self._frame.cancel()

    def _waitForRequest(self) -> None:
        self._frame.wait()

    def _begin(self) -> _FrameJob:
        """Send the next frame to the worker."""
        number = self._left[0]
        finished = partial(self._onFrame, number)
        return _FrameJob(self._worker, self._request(number), self._progressOf(number), finished, self._fail)

    def _request(self, number: int) -> dict[str, Any]:
        """Read the frame as the fields of the worker's task `register`."""
        chosen = self.selection
        failed = [n for n, answer in self._answers.items() if answer["report"]["verdict"]["status"] == FAILED]
        start = start_frame(number, chosen.reference, failed)
        request = {"do": "register", "fixed": self._image(chosen.reference), "moving": self._image(number)}
        request |= {"preset": chosen.preset, "adjust": dict(chosen.adjust), "device": chosen.device}
        request |= {"transform_type": chosen.transformType, "intensity": chosen.intensity, "align": chosen.align}
        if start is not None:
            request["initial_transform"] = _transformOf(self._answers[start])
        return request

    def _image(self, number: int) -> Image:
        """Read a frame in its own coordinates, LPS mm."""
        return imageFromVolume(frameOf(self.selection.sequence, number))

    def _progressOf(self, number: int) -> Callable[[float, str], None] | None:
        if self._onProgress is None:
            return None
        told, done = self._onProgress, len(self._answers)
        text = _("frame {number}: {stage}")
        return lambda fraction, stage: told(
            (done + fraction) / (self._count - 1), text.format(number=number, stage=stage)
        )

    def _onFrame(self, number: int, answer: dict[str, Any]) -> None:
        self._take(partial(self._goOn, number, answer), _("The sequence could not be registered."))

    def _goOn(self, number: int, answer: dict[str, Any]) -> SequenceResult | None:
        """Keep the answer, and send the next frame, or fill the scene after the last one."""
        self._answers[number] = answer
        self._left.pop(0)
        self._nodes.check()
        if self.selection.sequence.GetNumberOfDataNodes() != self._count:
            text = _("{name}: its frames changed during the run; nothing was changed. Start again.")
            raise InputError(text.format(name=self.selection.sequence.GetName()))
        if not self._left:
            return self._fill()
        self._frame = self._begin()
        return None

    def _fill(self) -> SequenceResult:
        transforms = {number: _nodeOf(answer) for number, answer in self._answers.items()}
        reports = {number: answer["report"] for number, answer in sorted(self._answers.items())}
        like = transforms[next(iter(transforms))]
        transforms[self.selection.reference] = like.CreateNodeInstance()  # the identity
        return addTransformSequence(self.selection.browser, self.selection.reference, transforms, reports)


def sequenceResultOf(browser: slicer.vtkMRMLSequenceBrowserNode | None) -> SequenceResult | None:
    """Return the result that a browser's volume lies under, also in a scene that was saved and loaded; else None."""
    if browser is None:
        return None
    volume = browser.GetProxyNode(browser.GetMasterSequenceNode())
    if volume is None or not volume.IsA("vtkMRMLScalarVolumeNode"):
        return None
    transform = volume.GetParentTransformNode()
    sequence = browser.GetSequenceNode(transform) if transform is not None else None
    fixed, _moving = registeredVolumes(transform)
    if sequence is None or fixed is None:
        return None
    found = {number: reportOf(sequence.GetNthDataNode(number)) for number in range(sequence.GetNumberOfDataNodes())}
    reports = {number: report for number, report in found.items() if isinstance(report, dict) and "motion" in report}
    reference = found.keys() - reports.keys()  # it alone has no report
    if len(reference) != 1:
        return None
    return SequenceResult(sequence, transform, volume, fixed, reports, reference.pop())


def _transformOf(answer: dict[str, Any]) -> Any:
    """Return the transform of an answer as a request takes it: fixed to moving, LPS mm."""
    return answer["field"] if answer["matrix"] is None else answer["matrix"]


def _nodeOf(answer: dict[str, Any]) -> slicer.vtkMRMLTransformNode:
    """Make a transform node, in no scene, with the report as its attribute."""
    if answer["matrix"] is None:
        node = slicer.vtkMRMLGridTransformNode()
        gridTransformFromField(answer["field"], node)
    else:
        node = slicer.vtkMRMLLinearTransformNode()
        linearTransformFromMatrix(answer["matrix"], node)
    node.SetAttribute(REPORT, json.dumps(answer["report"]))
    return node
