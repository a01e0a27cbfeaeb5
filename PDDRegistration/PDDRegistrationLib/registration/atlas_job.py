"""Segment a volume by atlases in the worker, which reads and writes files (`AtlasJob`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.core.intensity import AUTO, check_intensity
from pddnet.core.preset_overrides import adjusted
from pddnet.core.presets import find_preset
from pddnet.errors import InputError
from pddnet.fusion.fuse import METHODS
from pddnet.io.atlas_folder import find_atlases
from pddnet.io.paths import is_utf8

from ..scene.placement import registrationParent
from ..scene.scan_files import ScanFiles
from ..scene.volumes import isSingleSlice
from ..worker.client import Worker
from ..worker.failure import Failure
from ..worker.scene_job import NodesOfRun, PlacesOfRun, SceneJob
from .atlas_result import AtlasResult, loadAtlasResult
from .scene_atlases import SceneAtlas, writeAtlases

SCAN, ATLASES = "scan.nrrd", "atlases"  # in the private folder of a run
LABELS, DISAGREEMENT = "labels.seg.nrrd", "disagreement.nrrd"  # likewise


@dataclass(frozen=True)
class AtlasSelection:
    """Choice for a segmentation by atlases.

    folder: of the atlases, as `pddnet segment` takes it; or sceneAtlases: segmented volumes of the scene. method: one
    of `pddnet.fusion.fuse.METHODS`. The other fields are those of `Selection`.
    """

    fixedVolume: slicer.vtkMRMLScalarVolumeNode | None
    folder: str = ""
    sceneAtlases: tuple[SceneAtlas, ...] = ()
    method: str = METHODS[0]
    preset: str = "default"
    device: str = "auto"
    intensity: str = AUTO
    adjust: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise InputError where the choice cannot be carried out; the folder is not looked into."""
        preset = adjusted(find_preset(self.preset), **self.adjust)
        check_intensity(self.intensity)
        if self.method not in METHODS:
            text = _("There is no method '{method}'; choose one of {methods}.")
            raise InputError(text.format(method=self.method, methods=", ".join(METHODS)))
        if self.fixedVolume is None:
            raise InputError(_("Choose a fixed volume under Inputs: it is segmented."))
        if isSingleSlice(self.fixedVolume):
            text = _("{name} is a single slice; segmentation by atlases needs a volume.")
            raise InputError(text.format(name=self.fixedVolume.GetName()))
        if not preset.hu:
            text = _("The preset '{name}' is not for CT, and atlases are compared in HU; choose another one.")
            raise InputError(text.format(name=self.preset))
        if not self.folder and not self.sceneAtlases:
            raise InputError(_("Choose a folder of atlases: scans with label maps."))

    def arguments(self, scan: Path, atlases: Path, labels: Path, disagreement: Path) -> list[str]:
        """Return the arguments of `pddnet segment`."""
        options = {
            "atlases": atlases,
            "out": labels,
            "disagreement": disagreement,
            "method": self.method,
            "preset": self.preset,
            "intensity": self.intensity,
            "device": self.device,
        }
        return [str(scan), *(f"--{name}={value}" for name, value in options.items())]


def atlasNames(folder: str) -> list[str]:
    """List the atlases of a folder by name.

    Raises:
        InputError: it cannot be read, there is none, or it is not clear which scan a label map has; see
            `pddnet.io.atlas_folder`.
    """
    if not is_utf8(Path(folder)):
        text = _("{path}: the folder's name is not in UTF-8; choose another one.")
        raise InputError(text.format(path=ascii(folder)))
    try:
        found, _warnings = find_atlases(Path(folder).absolute())
    except OSError as error:
        text = _("{path}: the folder cannot be read ({reason}); choose another one.")
        raise InputError(text.format(path=error.filename or folder, reason=error.strerror)) from error
    return [atlas.name for atlas in found]


class AtlasJob(SceneJob[AtlasResult]):
    """Segment the fixed volume. The scene changes once, when the result is there, completely or not at all."""

    def __init__(
        self,
        worker: Worker,
        selection: AtlasSelection,
        onProgress: Callable[[float, str], None] | None = None,
        onFinished: Callable[[AtlasResult], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Write the volume for the process, and start; raise InputError, with nothing started, where that cannot be.

        worker: whose tasks are those of `pddnet.cli.slicer_tasks`. onProgress: called with the fraction of the time, 0
        to 1, and the stage, which follows the atlas's name and a colon.
        """
        selection.check()
        self.selection = selection
        self._nodes = NodesOfRun([selection.fixedVolume])
        self._places = PlacesOfRun([selection.fixedVolume], registrationParent)
        self._files = ScanFiles(slicer.app.temporaryPath)
        try:
            super().__init__(worker, self._request(), onProgress, onFinished, onFailed)
        except BaseException:
            self._files.remove()
            raise

    def _request(self) -> dict[str, Any]:
        chosen, files = self.selection, self._files
        if chosen.folder:
            atlasNames(chosen.folder)
        folder = Path(chosen.folder).absolute() if chosen.folder else writeAtlases(chosen.sceneAtlases, files, ATLASES)
        scan = files.volume(chosen.fixedVolume, SCAN)
        arguments = chosen.arguments(scan, folder, files.path(LABELS), files.path(DISAGREEMENT))
        return {"do": "segment", "arguments": arguments, "adjust": dict(chosen.adjust)}

    def _apply(self, answer: dict[str, Any]) -> AtlasResult:
        try:
            self._nodes.check()
            self._places.check()
            labels, disagreement = (self._files.path(name) for name in (LABELS, DISAGREEMENT))
            return loadAtlasResult(labels, disagreement, answer, self.selection.fixedVolume)
        finally:
            self._files.remove()

    def _fail(self, failure: Failure, error: Exception | None = None) -> None:
        self._files.remove()
        super()._fail(failure, error)
