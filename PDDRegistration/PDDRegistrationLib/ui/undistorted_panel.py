"""Drive the widgets of Compare.ui that show the moving scan undistorted (`UndistortedPanel`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..base.numbers import numberText
from ..compare.align_places import CROSSHAIR, AlignPlaces
from ..compare.local_rigid import RADIUS, RigidFit
from ..compare.session import CompareSession
from ..registration.job import reportOf
from ..scene.geometry import RAS_LPS
from ..scene.slice_views import centreSlicesOn

SEGMENTS = (
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
)


class UndistortedPanel:
    """Link the views of both scans through the transform, or align the scans rigidly near a place."""

    def __init__(self, ui: Any, onAligning: Callable[[], None], onChanged: Callable[[], None]) -> None:
        """Connect the widgets of Compare.ui, `ui` by name.

        onAligning: called before the moving scan is aligned; onChanged: called after the views have changed.
        """
        self.ui, self._onAligning, self._onChanged = ui, onAligning, onChanged
        self._session: CompareSession | None = None
        self._places: AlignPlaces | None = None
        self._observers: list[tuple[slicer.vtkMRMLSegmentationNode, int]] = []
        ui.alignRadiusSpinBox.value = RADIUS
        ui.linkedViewsButton.connect("clicked(bool)", self._onLinkedClicked)
        ui.alignButton.connect("clicked(bool)", self._onAlignClicked)
        ui.alignPlaceComboBox.connect("activated(int)", self._onPlaceChanged)
        ui.alignRadiusSpinBox.connect("valueChanged(double)", self._onPlaceChanged)

    def show(self, session: CompareSession | None) -> None:
        """Offer the tools for a session; None: offer nothing."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        self._observers, self._session, self._places = [], session, None
        if session is not None:
            nodes = session.nodes
            structures = structureCentres(reportOf(nodes.transform))
            place = session.crosshair
            self._places = AlignPlaces(lambda: place.place, nodes.fixedSegmentation, nodes.fixedVolume, structures)
            if nodes.fixedSegmentation is not None:
                observed = nodes.fixedSegmentation
                self._observers = [(observed, observed.AddObserver(event, self._fillPlaces)) for event in SEGMENTS]
        self._fillPlaces()

    def _fillPlaces(self, caller: object = None, event: object = None) -> None:
        """List the places anew; the chosen one stays chosen where it is still there."""
        box, chosen = self.ui.alignPlaceComboBox, self._chosenPlace()
        box.clear()
        for key, text in (self._places.names() if self._places is not None else {}).items():
            box.addItem(text, key)
        box.setCurrentIndex(max(box.findData(chosen), 0))

    def update(self) -> None:
        """Enable the widgets where there is a result, and press the buttons of the tools that are on."""
        ui, session = self.ui, self._session
        for widget in (ui.linkedViewsButton, ui.alignButton, ui.alignPlaceComboBox, ui.alignRadiusSpinBox):
            widget.enabled = session is not None
        ui.linkedViewsButton.checked = session is not None and session.comparison.linked
        ui.alignButton.checked = session is not None and session.comparison.aligned

    def _onLinkedClicked(self, checked: bool) -> None:
        if self._session is not None:
            self._session.comparison.setLinked(checked)
        self._onChanged()

    def _onAlignClicked(self, checked: bool) -> None:
        status = self.ui.compareStatusLabel
        status.text = ""
        session, places = self._session, self._places
        if session is not None and places is not None and checked:
            try:
                with slicer.util.WaitCursor():
                    self._onAligning()
                    status.text = fitText(self._align(session, places))
            except InputError as error:
                status.text = str(error)
        elif session is not None:
            session.comparison.setAligned(None)
        self._onChanged()

    def _onPlaceChanged(self, value: object = None) -> None:
        if self._session is not None and self._session.comparison.aligned:
            self._onAlignClicked(True)

    def _align(self, session: CompareSession, places: AlignPlaces) -> RigidFit:
        key = self._chosenPlace()
        points = places.points(key, self.ui.alignRadiusSpinBox.value)
        fit = session.alignAt(points)
        if key != CROSSHAIR:  # the views show the crosshair's place already
            centreSlicesOn(slicer.mrmlScene, RAS_LPS * points.mean(axis=0))
        return fit

    def _chosenPlace(self) -> Any:
        """Return the key of the chosen place, None where there is none."""
        return self.ui.alignPlaceComboBox.itemData(self.ui.alignPlaceComboBox.currentIndex)


def structureCentres(report: dict[str, Any] | None) -> dict[str, np.ndarray]:
    """Return the centres (3,) RAS mm, by name, of the structures in a run's report; none where it has none."""
    try:
        rows = report["structures"]["table"] if report else []
        centres = {row["name"]: row["centre_lps_mm"] for row in rows}
        return {name: RAS_LPS * np.array(centre, float) for name, centre in centres.items() if centre is not None}
    except (LookupError, TypeError, ValueError, AttributeError):  # another version wrote it
        return {}


def fitText(fit: RigidFit) -> str:
    """Say how the scan was moved, and how far the transform is from a rigid motion there."""
    return _(
        "Rigid: {shift} mm and {angle} degrees from the fixed scan; there the transform differs from it by {residual} "
        "mm, at most {largest} mm."
    ).format(
        shift=numberText(float(np.linalg.norm(fit.shift)), 1),
        angle=numberText(fit.angle_degrees, 1),
        residual=numberText(fit.residual_mm, 1),
        largest=numberText(fit.largest_mm, 1),
    )
