"""qMRMLSliceControllerWidget: the bar of a slice view, of which the host has the three volume selectors."""

from __future__ import annotations

import slicer
import vtk

from host.widgets.mrml_widget import qMRMLWidget
from host.widgets.node_combo_box import qMRMLNodeComboBox

LAYERS = {"Background": "vtkMRMLVolumeNode", "Foreground": "vtkMRMLVolumeNode", "LabelMap": "vtkMRMLLabelMapVolumeNode"}


class qMRMLSliceControllerWidget(qMRMLWidget):
    """Its selectors follow the view's layers, and change them. They lie in Slicer's popup, which the host never opens.

    A layer that the selectors do not list, such as a hidden volume, reads "None" there.
    """

    _logic: slicer.vtkMRMLSliceLogic | None = None
    _boxes: dict[str, qMRMLNodeComboBox] = {}  # noqa: RUF012  each object gets its own

    def __init__(self, logic: slicer.vtkMRMLSliceLogic, parent: object) -> None:
        super().__init__(parent)
        self.visible = False
        self._logic, self._boxes = logic, {}
        for layer, className in LAYERS.items():
            box = self._boxes[layer] = qMRMLNodeComboBox(self)
            box.objectName = f"{layer}ComboBox"
            box.nodeTypes, box.noneEnabled, box.addEnabled, box.removeEnabled = [className], True, False, False
            box.currentNodeChanged.connect(lambda node, layer=layer: self._onChosen(layer, node))
        self.setMRMLScene(logic.GetMRMLScene())
        composite = logic.GetSliceCompositeNode()
        composite.AddObserver(vtk.vtkCommand.ModifiedEvent, self._show)
        self._show()

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        super().setMRMLScene(scene)
        for box in self._boxes.values():
            box.setMRMLScene(scene)

    def _show(self, *_: object) -> None:
        composite = self._logic.GetSliceCompositeNode()
        for layer, box in self._boxes.items():
            blocked = box.blockSignals(True)
            box.setCurrentNodeID(getattr(composite, f"Get{_setting(layer)}")() or "")
            box.blockSignals(blocked)

    def _onChosen(self, layer: str, node: slicer.vtkMRMLNode | None) -> None:
        flags = {"Background": "BackgroundVolumeFlag", "Foreground": "ForegroundVolumeFlag"}
        flag = getattr(slicer.vtkMRMLSliceCompositeNode, flags.get(layer, "LabelVolumeFlag"))
        self._logic.StartSliceCompositeNodeInteraction(flag)
        composite = self._logic.GetSliceCompositeNode()
        getattr(composite, f"Set{_setting(layer)}")(node.GetID() if node is not None else None)
        self._logic.EndSliceCompositeNodeInteraction()


def _setting(layer: str) -> str:
    return {"LabelMap": "LabelVolumeID"}.get(layer, f"{layer}VolumeID")
