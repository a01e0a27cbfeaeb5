"""`ComparePanel`: what the widgets of Compare.ui show and do."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.core.image import Image
from pddnet.errors import InputError

from ..compare.comparison import Comparison
from ..compare.field_display import FieldDisplay
from ..compare.overlays import Overlays
from ..compare.probe import Probe
from ..compare.reveal import Reveal, whyNoReveal
from .apply_panel import ApplyPanel

OVERLAYS = {
    "": _("(none)"),
    "jacobian": _("Jacobian determinant"),
    "displacement": _("Displacement (mm)"),
    "spread": _("Spread (mm)"),
}


class ComparePanel:
    """One result at a time: `show` offers the tools, `start` changes the views, `close` gives everything back."""

    def __init__(self, ui: Any) -> None:
        """ui: the widgets of Compare.ui by name, their scene set."""
        self.ui = ui
        self._look: _Look | None = None
        self._fields = {"grid": ui.gridButton, "glyphs": ui.glyphsButton, "contours": ui.contoursButton}
        self._apply = ApplyPanel(ui, self._onMoved)
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

    def show(
        self,
        transform: slicer.vtkMRMLTransformNode | None,
        fixedVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
        movingVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
        fixedSegmentation: slicer.vtkMRMLSegmentationNode | None = None,
        movingSegmentation: slicer.vtkMRMLSegmentationNode | None = None,
        spread: Image | None = None,
        warpedVolume: slicer.vtkMRMLScalarVolumeNode | None = None,
        warpedSegmentation: slicer.vtkMRMLSegmentationNode | None = None,
    ) -> None:
        """Offer the tools for a result; the views stay as they are until `start` or the first tool.

        Without transform or volumes there is nothing to offer. The same nodes as before change nothing, so this may be
        called whenever the parameter node changes. spread: in mm, LPS, on any grid. warped...: what the moving volume
        and segmentation were resampled into, if they were.
        """
        moving = (movingVolume, fixedSegmentation, movingSegmentation)
        nodes = (fixedVolume, *moving, transform, warpedVolume, warpedSegmentation)
        if self._look is not None and self._look.isOf(nodes, spread):
            return
        self.close()
        if transform is not None and fixedVolume is not None and movingVolume is not None:
            self._look = _Look(nodes, spread, self._onProbed, self._onTransformChanged, self.close)
            self._look.comparison.blend = self.ui.blendSlider.value
            self._apply.show(transform)
        self._fillOverlays()
        self._update()

    def start(self) -> None:
        """Put the pair into the views, with the transform; nothing happens without a result."""
        if self._look is not None:
            self._look.comparison.setRegistered(True)
        self._update()

    def showAfter(self) -> None:
        """Where 'Before' is pressed, release it."""
        if self._look is not None and not self._look.comparison.registered:
            self._onBeforeClicked(False)

    def close(self) -> None:
        """No observers and no helper nodes; the views and display nodes as they were; nothing to look at."""
        self._apply.show(None)
        self._reveal(False)
        look, self._look = self._look, None
        if look is not None:
            look.close()
        self.ui.crosshairLabel.text = self.ui.compareStatusLabel.text = ""
        self._fillOverlays()
        self._update()

    def _update(self) -> None:
        """The buttons as the views are."""
        ui, look = self.ui, self._look
        for widget in (
            *(ui.compareButton, ui.blendSlider, ui.checkerboardButton, ui.beforeButton, ui.sideBySideButton),
            *(*self._fields.values(), ui.overlayComboBox),
        ):
            widget.enabled = look is not None
        ui.revealButton.enabled = look is not None and not self._noReveal
        comparison = look.comparison if look is not None else None
        ui.compareButton.checked = comparison is not None and comparison.isRunning
        ui.checkerboardButton.checked = comparison is not None and comparison.checkerboard
        ui.beforeButton.checked = comparison is not None and not comparison.registered
        ui.sideBySideButton.checked = comparison is not None and comparison.sideBySide
        ui.revealButton.checked = look is not None and look.reveal.isOn
        for mode, button in self._fields.items():
            button.checked = look is not None and look.field.mode == mode
        shown = look.overlay if look is not None else ""
        ui.overlayComboBox.setCurrentIndex(max(ui.overlayComboBox.findData(shown), 0))

    def _fillOverlays(self) -> None:
        box = self.ui.overlayComboBox
        box.clear()
        kinds = self._look.overlays.kinds if self._look is not None else []
        for kind in ("", *kinds):
            box.addItem(OVERLAYS[kind], kind)

    def _reveal(self, on: bool) -> None:
        if self._look is not None:
            self._look.reveal.set(on)

    def _onCompareClicked(self, checked: bool) -> None:
        if checked:
            self.start()
        elif self._look is not None:
            self._reveal(False)
            self._look.stop()
        self._update()

    def _onBlendChanged(self, opacity: float) -> None:
        if self._look is not None:
            self._look.comparison.setBlend(opacity)
            self._update()

    def _onCheckerboardClicked(self, checked: bool) -> None:
        with slicer.util.WaitCursor():
            self._chooseOverlay("")
            self._look.comparison.setCheckerboard(checked)
        self._update()

    def _onBeforeClicked(self, checked: bool) -> None:
        self._look.comparison.setRegistered(not checked)
        self._update()

    def _onSideBySideClicked(self, checked: bool) -> None:
        self._look.comparison.setSideBySide(checked)
        self._update()

    def _onRevealClicked(self, checked: bool) -> None:
        if checked:
            self.start()
        self._reveal(checked)
        self._update()

    def _onFieldClicked(self, mode: str, checked: bool) -> None:
        self._look.field.show(mode if checked else None)
        self._update()

    def _onOverlayChosen(self, index: int) -> None:
        self._chooseOverlay(self.ui.overlayComboBox.itemData(index))

    def _chooseOverlay(self, kind: str) -> None:
        look, status = self._look, self.ui.compareStatusLabel
        if look is None:
            return
        status.text = ""
        try:
            look.showOverlay(kind, self._onOverlayShown)
            if look.overlay and look.comparison.overlay is None:
                status.text = _("Computing...")
        except InputError as error:
            status.text = str(error)
        self._update()

    def _onOverlayShown(self) -> None:
        self.ui.compareStatusLabel.text = ""
        self._update()

    def _onMoved(self) -> None:
        if self._look is not None:
            self._look.comparison.refresh()

    def _onProbed(self, text: str) -> None:
        self.ui.crosshairLabel.text = text

    def _onTransformChanged(self, caller: object = None, event: object = None) -> None:
        """A map of what it was would mislead."""
        if self._look is not None:
            self._look.forgetOverlays()
            self._look.field.refresh()
            self._update()


class _Look:
    """What belongs to one result: the tools, and the observers that end them when a node goes."""

    def __init__(self, nodes: tuple, spread: Image | None, onProbed: Any, onChanged: Any, onGone: Any) -> None:
        """nodes: as `Comparison` takes them."""
        self._nodes, self._spread, self._onGone = nodes, spread, onGone
        self._transform = nodes[4]
        self.comparison = Comparison(*nodes)
        self.field = FieldDisplay(self._transform, nodes[0])
        self.overlays = Overlays(self._transform, spread)
        self.reveal = Reveal()
        self.overlay = ""
        self._probe = Probe(self._transform, onProbed, spread)
        scene = self._transform.GetScene()
        changed = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._observers = [
            (scene, scene.AddObserver(scene.NodeRemovedEvent, self._onNodeRemoved)),
            (scene, scene.AddObserver(scene.StartCloseEvent, lambda caller, event: onGone())),
            (self._transform, self._transform.AddObserver(changed, onChanged)),
        ]

    def isOf(self, nodes: tuple, spread: Image | None) -> bool:
        """Whether it looks at just these nodes."""
        return spread is self._spread and all(a is b for a, b in zip(nodes, self._nodes, strict=True))

    def showOverlay(self, kind: str, onShown: Any) -> None:
        """Put a map before the fixed volume, '' none; raises InputError where it cannot be made."""
        if kind == self.overlay:
            return
        self.overlays.cancel()
        self.overlay = ""
        self.overlays.showLegend(None)
        if self.comparison.overlay is not None:
            self.comparison.setOverlay(None)
        if kind:
            self.overlay = kind
            try:
                self.overlays.request(kind, lambda volume: self._show(kind, volume, onShown))
            except InputError:
                self.overlay = ""
                raise

    def forgetOverlays(self) -> None:
        """The maps must be made anew."""
        self.overlay = ""
        if self.comparison.overlay is not None:
            self.comparison.setOverlay(None)
        self.overlays.close()

    def stop(self) -> None:
        """The views as they were; the tools can be used again."""
        self.overlay = ""
        self.overlays.showLegend(None)
        self.overlays.cancel()
        self.field.show(None)
        self.comparison.close()

    def close(self) -> None:
        """The same for good."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        self._observers = []
        self._probe.close()
        self.reveal.set(False)
        self.stop()
        self.overlays.close()

    def _show(self, kind: str, volume: slicer.vtkMRMLScalarVolumeNode, onShown: Any) -> None:
        self.comparison.setCheckerboard(False)
        self.comparison.setOverlay(volume)
        self.overlays.showLegend(kind)
        onShown()

    def _onNodeRemoved(self, caller: object, event: object) -> None:
        if any(node is not None and node.GetScene() is None for node in self._nodes):
            self._onGone()
