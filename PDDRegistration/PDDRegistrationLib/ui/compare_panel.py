"""Drive the widgets of Compare.ui, which show a result in the views (`ComparePanel`)."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.errors import InputError

from ..compare.reveal import whyNoReveal
from ..compare.session import ComparedNodes, CompareSession
from .apply_to_panel import ApplyToPanel
from .undistorted_panel import UndistortedPanel

OVERLAYS = {
    "": _("(none)"),
    "jacobian": _("Jacobian determinant"),
    "displacement": _("Displacement (mm)"),
    "uncertainty": _("Spread (mm)"),
    "expectedError": _("Expected error (mm)"),
}


class ComparePanel:
    """Show one result at a time: `show` offers the tools, `start` changes the views, `close` undoes everything."""

    def __init__(self, ui: Any) -> None:
        """Connect the widgets of Compare.ui, `ui` by name, with their scene set."""
        self.ui = ui
        self._session: CompareSession | None = None
        self._fields = {"grid": ui.gridButton, "glyphs": ui.glyphsButton, "contours": ui.contoursButton}
        self._apply = ApplyToPanel(ui, self._onMoved)
        self._undistorted = UndistortedPanel(ui, lambda: self._chooseOverlay(""), self._update)
        self._noReveal = whyNoReveal()
        if self._noReveal:
            ui.revealButton.toolTip = self._noReveal
        ui.compareButton.connect("clicked(bool)", self._onCompareClicked)
        ui.blendSlider.connect("valueChanged(double)", self._onBlendChanged)
        ui.checkerboardButton.connect("clicked(bool)", self._onCheckerboardClicked)
        ui.beforeButton.connect("clicked(bool)", self._onBeforeClicked)
        ui.sideBySideButton.connect("clicked(bool)", self._onSideBySideClicked)
        ui.revealButton.connect("clicked(bool)", self._onRevealClicked)
        for mode, button in self._fields.items():
            button.connect("clicked(bool)", lambda checked, mode=mode: self._onFieldClicked(mode, checked))
        ui.overlayComboBox.connect("activated(int)", self._onOverlayChosen)
        self._update()

    @property
    def isRunning(self) -> bool:
        """Return whether the views show a result."""
        return self._session is not None and self._session.comparison.isRunning

    def show(
        self,
        transform: slicer.vtkMRMLTransformNode | None,
        fixedVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
        movingVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
        fixedSegmentation: slicer.vtkMRMLSegmentationNode | None = None,
        movingSegmentation: slicer.vtkMRMLSegmentationNode | None = None,
        uncertainty: Image | None = None,
        warpedVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
        warpedSegmentation: slicer.vtkMRMLSegmentationNode | None = None,
        expectedError: Image | None = None,
    ) -> None:
        """Offer the tools for a result; the views stay as they are until `start` or the first tool is used.

        Without transform or volumes there is nothing to offer. The same nodes as before change nothing, so this may be
        called whenever the parameter node changes. uncertainty: standard deviation of the displacement in mm, LPS, on
        any grid; expectedError: likewise. warped...: the resampled moving volume and segmentation, if there are any.
        """
        nodes = ComparedNodes(
            fixedVolume,
            movingVolume,
            fixedSegmentation,
            movingSegmentation,
            transform,
            warpedVolume,
            warpedSegmentation,
            uncertainty,
            expectedError,
        )
        if self._session is not None and self._session.nodes.isSame(nodes):
            return
        self.close()
        if transform is not None and fixedVolume is not None and movingVolume is not None:
            self._session = CompareSession(nodes, self._onProbed, self._onTransformChanged, self.close)
            self._session.comparison.blend = self.ui.blendSlider.value
            self._apply.show(transform)
            self._undistorted.show(self._session)
        self._fillOverlays()
        self._update()

    def start(self) -> None:
        """Show the pair in the views, with the transform; nothing happens without a result."""
        if self._session is not None:
            self._session.comparison.setRegistered(True)
        self._update()

    def showAfter(self) -> None:
        """Release the button 'Before' where it is pressed."""
        if self._session is not None and not self._session.comparison.registered:
            self._onBeforeClicked(False)

    def restoreLayout(self) -> None:
        """End what needs the panel beside it: the views of both scans, an alignment, and Reveal, which takes the mouse;
        the other tools stay."""
        if self._session is not None:
            self._session.comparison.setSideBySide(False)
            self._session.comparison.setLinked(False)
            self._endAlignment()
            self._reveal(False)
        self._update()

    def aboutToSave(self) -> None:
        """Put nodes and views as they were until the window works again, when the scene has been saved."""
        if self._session is not None:
            self._session.suspend()
            qt.QTimer.singleShot(0, self._session.resume)

    def close(self) -> None:
        """Remove observers and hidden nodes, restore the views and display nodes, and offer nothing."""
        self._apply.show(None)
        self._undistorted.show(None)
        self._reveal(False)
        session, self._session = self._session, None
        if session is not None:
            session.close()
        self.ui.crosshairLabel.text = self.ui.compareStatusLabel.text = ""
        self._fillOverlays()
        self._update()

    def _update(self) -> None:
        """Enable the buttons where there is a result, and press those of the tools that are on."""
        ui, session = self.ui, self._session
        tools = (ui.compareButton, ui.blendSlider, ui.checkerboardButton, ui.beforeButton, ui.sideBySideButton)
        for widget in (*tools, *self._fields.values(), ui.overlayComboBox):
            widget.enabled = session is not None
        ui.revealButton.enabled = session is not None and not self._noReveal
        comparison = session.comparison if session is not None else None
        ui.compareButton.checked = self.isRunning
        ui.checkerboardButton.checked = comparison is not None and comparison.checkerboard
        ui.beforeButton.checked = comparison is not None and not comparison.registered
        ui.sideBySideButton.checked = comparison is not None and comparison.sideBySide and not comparison.linked
        ui.revealButton.checked = session is not None and session.reveal.isOn
        for mode, button in self._fields.items():
            button.checked = session is not None and session.field.mode == mode
        self._undistorted.update()
        shown = session.overlay if session is not None else ""
        ui.overlayComboBox.setCurrentIndex(max(ui.overlayComboBox.findData(shown), 0))

    def _fillOverlays(self) -> None:
        box = self.ui.overlayComboBox
        box.clear()
        kinds = self._session.overlays.kinds if self._session is not None else []
        for kind in ("", *kinds):
            box.addItem(OVERLAYS[kind], kind)

    def _endAlignment(self) -> None:
        """Show the transform where a rigid motion took its place."""
        if self._session is not None and self._session.comparison.aligned:
            self._session.comparison.setAligned(None)
            self.ui.compareStatusLabel.text = ""

    def _reveal(self, on: bool) -> None:
        if self._session is not None:
            self._session.reveal.set(on)

    def _onCompareClicked(self, checked: bool) -> None:
        if checked:
            self.start()
        elif self._session is not None:
            self._reveal(False)
            self._session.stop()
        self._update()

    def _onBlendChanged(self, opacity: float) -> None:
        if self._session is not None:
            self._session.comparison.setBlend(opacity)
            self._update()

    def _onCheckerboardClicked(self, checked: bool) -> None:
        if self._session is not None:
            with slicer.util.WaitCursor():
                self._chooseOverlay("")
                self._session.comparison.setCheckerboard(checked)
        self._update()

    def _onBeforeClicked(self, checked: bool) -> None:
        if self._session is not None:
            self._session.comparison.setRegistered(not checked)
        self._update()

    def _onSideBySideClicked(self, checked: bool) -> None:
        if self._session is not None:
            self._session.comparison.setSideBySide(checked)
        self._update()

    def _onRevealClicked(self, checked: bool) -> None:
        if checked:
            self.start()
        self._reveal(checked)
        self._update()

    def _onFieldClicked(self, mode: str, checked: bool) -> None:
        if self._session is not None:
            self._session.field.show(mode if checked else None)
        self._update()

    def _onOverlayChosen(self, index: int) -> None:
        self._chooseOverlay(self.ui.overlayComboBox.itemData(index))

    def _chooseOverlay(self, kind: str) -> None:
        session, status = self._session, self.ui.compareStatusLabel
        if session is None:
            return
        status.text = ""
        try:
            session.showOverlay(kind, self._onOverlayShown)
            if session.overlay and session.comparison.overlay is None:
                status.text = _("Computing...")
        except InputError as error:
            status.text = str(error)
        self._update()

    def _onOverlayShown(self) -> None:
        self.ui.compareStatusLabel.text = ""
        self._update()

    def _onMoved(self) -> None:
        if self._session is not None:
            self._session.comparison.refresh()

    def _onProbed(self, text: str) -> None:
        self.ui.crosshairLabel.text = text

    def _onTransformChanged(self, caller: object = None, event: object = None) -> None:
        """Discard the maps of the former state of the transform, which would mislead."""
        if self._session is not None:
            self._session.forgetOverlays()
            self._endAlignment()
            self._session.field.refresh()
            self._update()
