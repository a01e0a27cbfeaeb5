"""Handle the button that takes segmentations of both scans as guides, and say what guides (`GuidesPanel`)."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..base.qt_text import showText
from ..registration.guides import findGuides, matchedCount
from ..registration.parameters import RegistrationParameters


class GuidesPanel:
    """Choose what guides by one click. The check box beside the button is bound to the parameter node."""

    def __init__(self, ui: Any) -> None:
        """Connect the widgets `ui`, by name."""
        self.ui = ui
        self._parameters: RegistrationParameters | None = None
        ui.findGuidesButton.connect("clicked(bool)", self._onClicked)

    def show(self, parameters: RegistrationParameters | None) -> None:
        """Follow a parameter node, or none; `refresh` is to be called whenever the node changes."""
        self._parameters = parameters
        self.refresh()

    def refresh(self) -> None:
        """Say how many segments guide; nothing where none do."""
        showText(self.ui.guideNote, _guideText(self._parameters) if self._parameters is not None else "")

    def _onClicked(self, checked: bool = False) -> None:
        parameters = self._parameters
        if parameters is None:
            return
        try:
            guides = findGuides(parameters.fixedVolume, parameters.movingVolume)
        except InputError as error:
            showText(self.ui.guideNote, str(error))
            return
        parameters.fixedSegmentation, parameters.movingSegmentation = guides.fixed, guides.moving
        parameters.guide = True
        self.refresh()  # also where all was chosen before


def _guideText(parameters: RegistrationParameters) -> str:
    fixed, moving = parameters.fixedSegmentation, parameters.movingSegmentation
    if not parameters.guide or fixed is None or moving is None:
        return ""
    text = _("{count} segments guide: those of {fixed} and {moving} alike. Their Dice is then guided, no evaluation.")
    return text.format(count=matchedCount(fixed, moving), fixed=fixed.GetName(), moving=moving.GetName())
