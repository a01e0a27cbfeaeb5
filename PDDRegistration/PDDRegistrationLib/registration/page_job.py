"""Make the page of a registration in the worker (`PageJob`): pictures, tables, verdict, settings, in one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.evaluation.report import label_section

from ..base.result_texts import isPlane
from ..scene.placement import registeredVolumes, resultOver
from ..scene.transforms import itkTransformFromNode
from ..scene.volumes import imageFromVolume
from ..worker.client import Worker
from ..worker.failure import Failure
from ..worker.scene_job import SceneJob
from .job import reportOf

KEYS = {"verdict", "structures", "labels", "motion", "settings", "weights", "grids", "versions"}
"""Of the report, without which a page cannot be made: reports of earlier versions lack some."""


@dataclass(frozen=True)
class PageSubject:
    """Result of a registration, and its volumes; the maps (mm) are None where they are not known."""

    transform: slicer.vtkMRMLTransformNode
    fixedVolume: slicer.vtkMRMLScalarVolumeNode
    movingVolume: slicer.vtkMRMLScalarVolumeNode
    uncertainty: Image | None = None
    expectedError: Image | None = None

    def request(self, *, pdf: bool = False) -> dict[str, Any]:
        """Read the nodes as the fields of the worker's task `page`; pdf: for a PDF file, not for HTML.

        Raises:
            InputError: the transform carries no report, or a volume cannot be read.
        """
        report = reportOf(self.transform)
        if report is None:
            raise InputError(_("{name} carries no report; register again.").format(name=self.transform.GetName()))
        moving = self.movingVolume
        fixed = imageFromVolume(self.fixedVolume)
        return {
            "do": "page",
            "report": _withOrgans(report),
            "fixed": fixed,
            "moving": imageFromVolume(moving, resultOver(moving, self.transform)),
            "transform": itkTransformFromNode(self.transform, fixed.grid),
            "spread": self.uncertainty,
            "error": self.expectedError,
            "pdf": pdf,
        }


def pageSubject(
    transform: slicer.vtkMRMLTransformNode | None, uncertainty: Image | None, expectedError: Image | None
) -> PageSubject | None:
    """Return what a page of a result would show; None where a volume is gone, the report is another version's, or the
    volumes are single slices, of which there are no three planes."""
    report = reportOf(transform)
    fixed, moving = registeredVolumes(transform)
    if transform is None or fixed is None or moving is None or not isinstance(report, dict):
        return None
    if not report.keys() >= KEYS or isPlane(report):
        return None
    return PageSubject(transform, fixed, moving, uncertainty, expectedError)


class PageJob(SceneJob[bytes]):
    """Make the page of one result, as the bytes of its file; the scene is only read."""

    def __init__(
        self,
        worker: Worker,
        subject: PageSubject,
        onFinished: Callable[[bytes], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
        *,
        pdf: bool = False,
    ) -> None:
        """Start; raise InputError, with nothing started, where the nodes cannot be read."""
        super().__init__(worker, subject.request(pdf=pdf), None, onFinished, onFailed)

    def _apply(self, answer: dict[str, Any]) -> bytes:
        return bytes(answer["file"].tobytes())


def _withOrgans(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report with the metrics of the segments as its label section: the command names them by number."""
    organs = report.get("organs")
    if not organs:
        return report
    rows = [row | {"label": row["name"]} for row in organs]
    before = "initial transform" if report.get("started") else "identity"
    return report | {"labels": label_section(rows, before=before, guided=report.get("guided"))}
