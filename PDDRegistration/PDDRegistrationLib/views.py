"""What the slice views show after a run."""

from __future__ import annotations

import slicer

OPACITY = 0.5


def showRegistered(fixedVolume: slicer.vtkMRMLScalarVolumeNode, movingVolume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """The fixed volume behind and the registered one, half transparent, in front of it."""
    if slicer.app.layoutManager() is None:  # without a window
        return
    slicer.util.setSliceViewerLayers(
        background=fixedVolume, foreground=movingVolume, foregroundOpacity=OPACITY, fit=True
    )
