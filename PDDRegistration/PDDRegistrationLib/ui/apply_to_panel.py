"""Drive the row "Apply to" of Compare.ui, which applies a transform to further nodes (`ApplyToPanel`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..scene.apply_to import Applied, hardenedCopy

DIRECTIONS = {False: _("forward: moving to fixed"), True: _("inverse: fixed to moving")}


class ApplyToPanel:
    """Put the chosen node under the transform or its inverse. This can be undone after another `show` too."""

    def __init__(self, ui: Any, onMoved: Callable[[], None]) -> None:
        """Connect the widgets of Compare.ui, `ui` by name; onMoved: called after a node got another parent."""
        self.ui, self._onMoved = ui, onMoved
        self._applied = Applied()
        self._transform: slicer.vtkMRMLTransformNode | None = None
        for inverse, text in DIRECTIONS.items():
            ui.directionComboBox.addItem(text, inverse)
        ui.applyNodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._update)
        ui.applyToButton.connect("clicked(bool)", self._onApplyClicked)
        ui.hardenButton.connect("clicked(bool)", self._onHardenClicked)
        ui.undoButton.connect("clicked(bool)", self._onUndoClicked)
        self._update()

    def show(self, transform: slicer.vtkMRMLTransformNode | None) -> None:
        """Offer a transform to apply; None: offer nothing."""
        self._transform = transform
        self._update()

    def _update(self, node: object = None) -> None:
        ui, chosen = self.ui, self.ui.applyNodeSelector.currentNode()
        for widget in (ui.applyNodeSelector, ui.directionComboBox):
            widget.enabled = self._transform is not None
        for widget in (ui.applyToButton, ui.hardenButton):
            widget.enabled = self._transform is not None and chosen is not None
        ui.undoButton.enabled = self._applied.canUndo

    def _onApplyClicked(self, checked: bool = False) -> None:
        self._do(_("{node} lies under the transform now."), self._applied.apply)

    def _onHardenClicked(self, checked: bool = False) -> None:
        self._do(_("{node} was made."), hardenedCopy)

    def _do(self, text: str, action: Callable[..., Any]) -> None:
        """Apply or harden, and report it to the user."""
        node, inverse = self.ui.applyNodeSelector.currentNode(), self.ui.directionComboBox.currentIndex == 1
        try:
            with slicer.util.WaitCursor():
                made = action(node, self._transform, inverse)
            self.ui.compareStatusLabel.text = text.format(node=(made or node).GetName())
            self._onMoved()
        except InputError as error:
            self.ui.compareStatusLabel.text = str(error)
        except MemoryError:
            self.ui.compareStatusLabel.text = _("There is not enough memory for a copy; close other data first.")
        self._update()

    def _onUndoClicked(self, checked: bool = False) -> None:
        name = self._applied.undo()
        if name:
            self.ui.compareStatusLabel.text = _("{node} lies where it was.").format(node=name)
            self._onMoved()
        self._update()
