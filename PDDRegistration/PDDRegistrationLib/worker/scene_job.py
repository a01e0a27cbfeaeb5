"""Send a request to the worker and put its answer into the scene, completely or not at all (`SceneJob`).

`EndingJob` is the end of any job: an outcome or a failure, told once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..scene.geometry import ijkToRasOf, movedPoints, transformToWorld
from ..scene.nodes import isSame
from .client import Worker
from .failure import Failure, noMemory

Outcome = TypeVar("Outcome")
SAME_PLACE = 1e-3  # mm
PROBES = 3  # points along each axis of a node, by which it is seen whether it was moved


class EndingJob(Generic[Outcome]):
    """Job that ends with one call of onFinished or onFailed, unless the caller waits for it."""

    def __init__(
        self,
        onFinished: Callable[[Outcome], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        self._onFinished, self._onFailed = onFinished, onFailed
        self._outcome: Outcome | None = None
        self._failure: Failure | None = None
        self._error: Exception | None = None

    @property
    def isRunning(self) -> bool:
        """Return whether the job has not ended yet."""
        return self._outcome is None and self._failure is None

    def wait(self) -> Outcome:
        """Block until the job ends, and return its outcome.

        Raises:
            InputError, Cancelled, MemoryError, WorkerError: the reason why there is no result.
        """
        while self.isRunning:
            self._waitForRequest()
        if self._failure is not None:
            raise self._error or self._failure.asException()
        assert self._outcome is not None, "a job ends with an outcome or a failure"
        return self._outcome

    def _waitForRequest(self) -> None:
        """Block until the request that is open has ended."""
        raise NotImplementedError

    def _take(self, step: Callable[[], Outcome | None], failed: str) -> None:
        """Take a step: its outcome ends the job, None does not, and whatever it raises ends the job as a failure.

        failed: the message for the user where the step raises what nobody expected.
        """
        try:
            outcome = step()
        except InputError as error:
            return self._fail(Failure("input", str(error)), error)
        except MemoryError as error:
            return self._fail(Failure("memory", noMemory()), error)
        except Exception as error:
            logging.exception(failed)
            return self._fail(Failure("internal", failed, repr(error)), error)
        self._outcome = outcome
        if outcome is not None and self._onFinished is not None:
            self._onFinished(outcome)
        return None

    def _fail(self, failure: Failure, error: Exception | None = None) -> None:
        self._failure, self._error = failure, error
        if self._onFailed is not None:
            self._onFailed(failure)


class SceneJob(EndingJob[Outcome]):
    """Job of one request, which starts when made."""

    def __init__(
        self,
        worker: Worker,
        request: dict[str, Any],
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[Outcome], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Send the request; raise InputError, with nothing started, where it cannot be sent."""
        super().__init__(onFinished, onFailed)
        self.request, self._worker = request, worker
        self._number = worker.submit(request, onProgress, self._onDone, self._fail)

    def cancel(self) -> None:
        """Cancel the job; onFailed is called with kind 'cancelled', within seconds."""
        self._worker.cancel(self._number)

    def _waitForRequest(self) -> None:
        self._worker.waitFor(self._number)

    def _apply(self, answer: dict[str, Any]) -> Outcome:
        """Put the answer's fields into the scene. Raise InputError where that cannot be done."""
        raise NotImplementedError

    def _onDone(self, answer: dict[str, Any]) -> None:
        self._take(lambda: self._apply(answer), _("The result could not be put into the scene."))


class NodesOfRun:
    """Nodes that a run was started with, to be checked again at its end."""

    def __init__(self, nodes: Iterable[slicer.vtkMRMLNode]) -> None:
        self._nodes = [(node, node.GetName(), node.GetID(), node.GetScene()) for node in nodes]

    def check(self) -> None:
        """Raise InputError where one of them is no longer in its scene, or another node has its ID."""
        for node, name, identifier, scene in self._nodes:
            isInScene = scene is not None and node.GetScene() is scene
            if not isInScene or not isSame(scene.GetNodeByID(identifier), node):
                text = _("{name} was removed during the run; nothing was changed. Choose again.")
                raise InputError(text.format(name=name))


class PlacesOfRun:
    """Where nodes stood in the world when they were read; a result is right only for these places."""

    def __init__(
        self,
        nodes: Iterable[slicer.vtkMRMLDisplayableNode | None],
        ignored: Callable[[slicer.vtkMRMLTransformableNode], slicer.vtkMRMLTransformNode | None],
    ) -> None:
        """Take volumes and segmentations; ignored: the parent that is left out of a node when it is read."""
        self._ignored = ignored
        probes = [(node, _probes(node)) for node in nodes if node is not None]
        self._places = [(node, points, self._place(node, points)) for node, points in probes]

    def check(self) -> None:
        """Raise InputError where one of them stands elsewhere now; the nodes must be in the scene."""
        for node, points, place in self._places:
            if not np.allclose(self._place(node, points), place, rtol=0, atol=SAME_PLACE):
                text = _(
                    "{name} was moved during the run, so the result does not fit; nothing was changed. Start again."
                )
                raise InputError(text.format(name=node.GetName()))

    def _place(self, node: slicer.vtkMRMLDisplayableNode, points: np.ndarray) -> np.ndarray:
        if node.IsA("vtkMRMLVolumeNode"):
            ijkToRas = ijkToRasOf(node)
            points = points @ ijkToRas[:3, :3].T + ijkToRas[:3, 3]
        return movedPoints(transformToWorld(node, self._ignored(node)), points)


def _probes(node: slicer.vtkMRMLDisplayableNode) -> np.ndarray:
    """List points (N, 3) all over a node: voxels (i, j, k) of a volume, else RAS mm of its own coordinates."""
    bounds = [0.0] * 6
    if not node.IsA("vtkMRMLVolumeNode"):
        node.GetBounds(bounds)
    elif node.GetImageData() is not None:  # the job says that an empty one cannot be registered
        bounds = [float(index) for index in node.GetImageData().GetExtent()]
    axes = [np.linspace(low, max(low, high), PROBES) for low, high in zip(bounds[::2], bounds[1::2], strict=True)]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)
