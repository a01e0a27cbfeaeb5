"""Follow the nodes of the scene and the module's settings, for a section that lists what they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from ..registration.parameters import RegistrationParameters


class SceneObservers:
    """Call a section back whenever a node comes or goes, or a setting changes, while there are settings to follow.

    Sections need not look while the scene processes a batch of changes: they are called back at its end, too.
    """

    def __init__(self, onChanged: Callable[..., None]) -> None:
        self._onChanged = onChanged
        self._observed: list[tuple[Any, int]] = []

    @property
    def count(self) -> int:
        """Return the number of observers that would have to be removed."""
        return len(self._observed)

    def follow(self, parameters: RegistrationParameters | None) -> None:
        """Follow the scene and these settings instead of the former ones; None: follow nothing."""
        for place, tag in self._observed:
            place.RemoveObserver(tag)
        self._observed = []
        if parameters is None:
            return
        scene = slicer.mrmlScene
        events = [
            (scene, event) for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
        ]
        events.append((parameters.parameterNode, vtk.vtkCommand.ModifiedEvent))
        self._observed = [(place, place.AddObserver(event, self._onChanged)) for place, event in events]
