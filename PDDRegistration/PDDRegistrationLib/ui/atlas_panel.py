"""Drive the widgets of AtlasSegmentation.ui, which segment the fixed volume by atlases (`AtlasPanel`)."""

from __future__ import annotations

from typing import Any

import ctk
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError
from pddnet.fusion.fuse import METHODS

from ..base.qt_text import showText
from ..registration.atlas_job import AtlasJob, AtlasSelection, atlasNames
from ..registration.atlas_result import AtlasResult
from ..registration.parameters import RegistrationParameters
from ..registration.scene_atlases import SceneAtlas, sceneAtlases
from ..worker.failure import Failure
from ..worker.torch_setup import offerTorch
from .atlas_texts import METHOD_NAMES, detailText, foundText, progressText, resultText
from .double_click import DoubleClick
from .scene_observers import SceneObservers
from .settings_panel import adjustOf
from .starts import BUSY, starting
from .time_left import TimeLeft

FOLDER, SCENE = "folder", "scene"
SOURCES = {FOLDER: _("a folder"), SCENE: _("segmented volumes of the scene")}
OPACITY = 0.5  # of the disagreement over the scan
FILL_OPACITY = 0.0  # of the segments in the slice views: their outlines leave the colours to the disagreement


class AtlasPanel:
    """Connect the widgets and the runs. The button becomes Cancel while one runs; the rest of the panel is free."""

    def __init__(self, ui: Any, logic: Any) -> None:
        """Connect the widgets of AtlasSegmentation.ui, `ui` by name; logic: PDDRegistrationLogic."""
        self.ui, self.logic = ui, logic
        self._parameters: RegistrationParameters | None = None
        self._observers = SceneObservers(self._onSceneChanged)
        self._inFolder: list[str] = []  # names of the atlases
        self._problem = ""  # why there are none
        self._job: AtlasJob | None = None
        self._timeLeft, self._doubleClick = TimeLeft(), DoubleClick()
        for source, text in SOURCES.items():
            ui.atlasSourceComboBox.addItem(text, source)
        for method in METHODS:
            ui.atlasMethodComboBox.addItem(METHOD_NAMES[method], method)
        ui.atlasFolderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.atlasSourceComboBox.connect("currentIndexChanged(int)", self._onSourceChosen)
        ui.atlasFolderPathLineEdit.connect("currentPathChanged(QString)", self._onPathChosen)
        ui.atlasButton.connect("clicked(bool)", self._onClicked)
        self._update()

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Follow the scene; None: let go of it, while a run goes on.

        parameters: the module's, whose fixed volume is segmented, with the preset and the other settings.
        """
        self._parameters = parameters
        self._observers.follow(parameters)
        self._lookIntoFolder()
        self._update()

    def close(self) -> None:
        """Cancel a run and release the scene."""
        self.cancel()
        self.show(None)

    def cancel(self) -> None:
        """Cancel a run, if there is one."""
        if self._job is not None and self._job.isRunning:
            self._job.cancel()

    @property
    def _source(self) -> str:
        return str(self.ui.atlasSourceComboBox.itemData(self.ui.atlasSourceComboBox.currentIndex))

    @property
    def _folder(self) -> str:
        return str(self.ui.atlasFolderPathLineEdit.currentPath).strip()

    def _inScene(self) -> tuple[SceneAtlas, ...]:
        fixed = self._parameters.fixedVolume if self._parameters is not None else None
        return sceneAtlases(fixed, slicer.mrmlScene) if self._source == SCENE else ()

    def _selection(self) -> AtlasSelection:
        parameters, methods = self._parameters, self.ui.atlasMethodComboBox
        assert parameters is not None
        return AtlasSelection(
            parameters.fixedVolume,
            self._folder if self._source == FOLDER else "",
            self._inScene(),
            method=methods.itemData(methods.currentIndex),
            preset=parameters.preset,
            device=parameters.device,
            intensity=parameters.intensity,
            adjust=adjustOf(parameters),
        )

    def _lookIntoFolder(self) -> None:
        """Remember which atlases the folder has, or why it has none."""
        self._inFolder, self._problem = [], ""
        if self._folder and self._parameters is not None:
            try:
                self._inFolder = atlasNames(self._folder)
            except InputError as error:
                self._problem = str(error)

    def _missing(self) -> str:
        """Return why the scan cannot be segmented; an empty text if it can."""
        if self._parameters is None:
            return ""
        selection = self._selection()
        if self._source == SCENE and selection.fixedVolume is not None and not selection.sceneAtlases:
            return _("No other volume of the scene has a segmentation; load some, or choose a folder of atlases.")
        try:
            selection.check()
        except InputError as error:
            return str(error)
        return self._problem if self._source == FOLDER else ""

    def _names(self) -> list[str]:
        if self._source == FOLDER:
            return self._inFolder
        return [atlas.volume.GetName() for atlas in self._inScene()]

    def _update(self) -> None:
        """Enable what can be done now, and say what is missing, or which atlases there are."""
        ui, running, missing = self.ui, self._job is not None, self._missing()
        fixed = self._parameters.fixedVolume if self._parameters is not None else None
        ui.atlasScanNameLabel.text = fixed.GetName() if fixed is not None else _("(none chosen)")
        ui.atlasFolderLabel.visible = ui.atlasFolderPathLineEdit.visible = self._source == FOLDER
        ui.atlasButton.text = _("Cancel") if running else _("Segment by the atlases")
        ui.atlasButton.enabled = running or (self._parameters is not None and not missing)
        for widget in (ui.atlasSourceComboBox, ui.atlasFolderPathLineEdit, ui.atlasMethodComboBox):
            widget.enabled = not running
        if not running:
            names = self._names()
            showText(ui.atlasFoundLabel, missing or (foundText(names) if names else ""))

    def _onSceneChanged(self, caller: object = None, event: object = None) -> None:
        if not slicer.mrmlScene.IsBatchProcessing():
            self._update()

    def _onSourceChosen(self, index: int) -> None:
        self._tell("")
        self._update()

    def _onPathChosen(self, path: str) -> None:
        self._lookIntoFolder()
        self._onSourceChosen(0)

    def _tell(self, text: str, details: str = "") -> None:
        showText(self.ui.atlasStatusLabel, text)
        self.ui.atlasStatusLabel.toolTip = details

    def _onClicked(self, checked: bool = False) -> None:
        if self._job is not None:
            if self._doubleClick.isOver:
                self._tell(_("Cancelling..."))
                self.cancel()
            return
        if self.logic.longWorker.isBusy:
            self._tell(BUSY)
            return
        failed = _("The segmentation could not be started; the Python console says why.")
        with starting(self.ui.atlasButton, self._doubleClick, self._update, self._tell, failed):
            offerTorch(self.logic.stop)
            if self._parameters is not None:
                self._start(self._selection())

    def _start(self, selection: AtlasSelection) -> None:
        self._tell(_("Starting"))
        with slicer.util.WaitCursor():
            job = self.logic.startAtlases(selection, self._onProgress, self._onFinished, self._onFailed)
        if not job.isRunning:  # the process could not be started, which was told
            return
        self._job, self._timeLeft = job, TimeLeft()
        self.ui.atlasProgressBar.value, self.ui.atlasProgressBar.format = 0, "%p %"
        self.ui.atlasProgressBar.visible = True

    def _onProgress(self, fraction: float, stage: str) -> None:
        self.ui.atlasProgressBar.value = int(100 * fraction)
        self.ui.atlasProgressBar.format = self._timeLeft.text(fraction)
        self._tell(progressText(stage))

    def _onFinished(self, result: AtlasResult) -> None:
        self._end()
        if self._parameters is not None:  # else another module has the views
            showResult(result)
        self._tell(resultText(result.report), detailText(result.report))

    def _onFailed(self, failure: Failure) -> None:
        self._end()
        self._tell(_("Cancelled; nothing was changed.") if failure.kind == "cancelled" else failure.message)

    def _end(self) -> None:
        self._job = None
        self.ui.atlasProgressBar.visible = False
        self._update()


def showResult(result: AtlasResult) -> None:
    """Show the segments, and where the atlases disagree, over the scan in all slice views."""
    display = result.segmentation.GetDisplayNode()
    if display is not None:
        display.SetOpacity2DFill(FILL_OPACITY)
    slicer.util.setSliceViewerLayers(
        background=result.fixedVolume, foreground=result.disagreement, foregroundOpacity=OPACITY
    )
