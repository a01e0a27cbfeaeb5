"""List hidden volumes in the volume selectors of the slice views' bars, which would call them "None"
(`listInSliceBars`)."""

from __future__ import annotations

from collections.abc import Iterable

import slicer

SELECTORS = "BackgroundComboBox", "ForegroundComboBox"


def listInSliceBars(volumes: Iterable[slicer.vtkMRMLVolumeNode]) -> None:
    """List exactly these hidden volumes there; a bar drops a layer that its selectors do not list any more."""
    manager, identifiers = slicer.app.layoutManager(), [volume.GetID() for volume in volumes]
    for view in manager.sliceViewNames():
        bar = manager.sliceWidget(view).sliceController()
        for name in SELECTORS:
            for selector in slicer.util.findChildren(bar, name):
                selector.sortFilterProxyModel().visibleNodeIDs = identifiers
