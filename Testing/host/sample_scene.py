"""The module PDDRegistration in the host with the sample pair, for `make gui` and `make screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path

import slicer

from host.host import Host

MODULE = Path(__file__).resolve().parents[2] / "PDDRegistration" / "PDDRegistration.py"
SELECTORS = {
    "fixed": "fixedVolumeSelector",
    "moving": "movingVolumeSelector",
    "fixedSegmentation": "fixedSegmentationSelector",
    "movingSegmentation": "movingSegmentationSelector",
}


def open_pair(host: Host) -> tuple[object, dict[str, slicer.vtkMRMLNode]]:
    """Load the module and the pair, choose the pair in the panel, and show both scans. Returns the module's widget
    object, and the nodes by the keys above."""
    widget = host.loadModule(MODULE)
    nodes = sys.modules[MODULE.stem].PDDRegistrationLogic.loadSamplePair()
    for key, selector in SELECTORS.items():
        getattr(widget.ui, selector).setCurrentNode(nodes[key])
    nodes["fixedSegmentation"].GetDisplayNode().SetVisibility(False)
    nodes["movingSegmentation"].CreateClosedSurfaceRepresentation()
    slicer.util.setSliceViewerLayers(
        background=nodes["fixed"], foreground=nodes["moving"], foregroundOpacity=0.5, label=None, fit=True
    )
    slicer.util.resetSliceViews()
    slicer.util.resetThreeDViews()
    host.processEvents()
    return widget, nodes
