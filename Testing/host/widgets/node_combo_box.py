"""qMRMLNodeComboBox: choose, create, rename or delete a node of the scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import qt
import slicer
import vtk
from PySide6.QtCore import Property, Signal

from host.widgets.mrml_widget import qMRMLWidget
from host.widgets.node_filter import qMRMLSortFilterProxyModel

CREATE, RENAME, REMOVE = "create ", "rename", "remove"  # what an item that is no node holds in place of a node's ID


def _setting(name: str, kind: type | str) -> tuple[Property, object]:
    """A Qt property kept in `_settings`, and its setter method."""

    def setter(self: qMRMLWidget, value: object) -> None:
        self._settings[name] = list(value) if kind == "QStringList" else value
        self._update()

    return Property(kind, lambda self: self._settings[name], setter), setter


class qMRMLNodeComboBox(qMRMLWidget):
    """Shows the nodes whose class is among `nodeTypes` and whose attributes match those of `addAttribute`."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    currentNodeRenamed = Signal(str)
    cppSignals = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeIDChanged(QString)",
        "nodeActivated(vtkMRMLNode*)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
        "nodeAddedByUserAction(vtkMRMLNode*)",
        "nodeAboutToBeRemoved(vtkMRMLNode*)",
        "currentNodeRenamed(QString)",
    )

    _combo: qt.QComboBox | None = None
    _settings: dict[str, object] = {}  # noqa: RUF012  each object gets its own
    _attributes: tuple[tuple[str, str, str | None], ...] = ()
    _labels: dict[str, str] = {}  # noqa: RUF012
    _currentID: str = ""
    _filter: qMRMLSortFilterProxyModel | None = None
    _observed: dict[object, tuple[int, ...]] = {}  # noqa: RUF012

    def __init__(self, parent: qt.QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = {
            "nodeTypes": [],
            "hideChildNodeTypes": [],
            "showHidden": False,
            "showChildNodeTypes": True,
            "baseName": "",
            "noneEnabled": False,
            "noneDisplay": "None",
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "selectNodeUponCreation": True,
            "interactionNodeSingletonTag": "",
        }
        self._labels, self._observed = {}, {}
        self._filter = qMRMLSortFilterProxyModel(self, self._update)
        self._combo = qt.QComboBox(self)
        self._combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        layout = qt.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._onActivated)
        self.destroyed.connect(_stopper(self._observed))
        self._combo.enabled = False

    # --- the scene ---

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        if scene is self.mrmlScene():
            return
        _stopper(self._observed)()
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            tags = [scene.AddObserver(event, self._onScene) for event in events]
            tags.append(scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._onAboutToBeRemoved, -10.0))
            self._observed[scene] = tuple(tags)
        self._combo.enabled = scene is not None
        super().setMRMLScene(scene)
        self._update()

    def _onScene(self, scene: slicer.vtkMRMLScene, event: str) -> None:
        if not scene.IsBatchProcessing():
            self._update()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onAboutToBeRemoved(self, scene: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
        if node in self._observed:
            for tag in self._observed.pop(node):
                node.RemoveObserver(tag)
            self.nodeAboutToBeRemoved.emit(node)
        if node.GetID() == self._currentID and not scene.IsClosing():
            self._chooseNeighbour(node)

    def _chooseNeighbour(self, node: slicer.vtkMRMLNode) -> None:
        """The row goes and the box stays at its number: the next node is chosen, or the last one where none follows."""
        nodes = list(self.nodes())
        place = nodes.index(node)
        nodes.remove(node)
        self._choose(nodes[min(place, len(nodes) - 1)].GetID() if nodes else "")

    def _onRenamed(self, node: slicer.vtkMRMLNode, event: str) -> None:
        index = self._combo.findData(node.GetID())
        if index >= 0 and self._combo.itemText(index) != node.GetName():
            self._combo.setItemText(index, node.GetName())
            if node.GetID() == self._currentID:
                self.currentNodeRenamed.emit(node.GetName())

    # --- the list ---

    def _fits(self, node: slicer.vtkMRMLNode) -> bool:
        settings = self._settings
        if node.GetID() in self._filter.visibleNodeIDs:
            return True
        if node.GetHideFromEditors() and not settings["showHidden"]:
            return False
        if any(node.IsA(name) for name in settings["hideChildNodeTypes"] if name not in settings["nodeTypes"]):
            return False
        exact = not settings["showChildNodeTypes"]
        if not any(node.GetClassName() == name if exact else node.IsA(name) for name in settings["nodeTypes"]):
            return False
        for className, attribute, value in self._attributes:
            found = node.GetAttribute(attribute)
            if node.IsA(className) and (found is None or str(value) not in ("None", found)):
                return False
        return True

    def nodes(self) -> tuple[slicer.vtkMRMLNode, ...]:
        scene = self.mrmlScene()
        if scene is None:
            return ()
        every = (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))
        return tuple(node for node in every if self._fits(node))

    def sortFilterProxyModel(self) -> qMRMLSortFilterProxyModel:
        return self._filter

    def nodeCount(self) -> int:
        return len(self.nodes())

    def nodeFromIndex(self, index: int) -> slicer.vtkMRMLNode | None:
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def _update(self) -> None:
        """Refill the list. A current node that does not fit any more gives way to None, or else to the first node."""
        nodes = self.nodes()
        known = {node.GetID() for node in nodes}
        blocked = self._combo.blockSignals(True)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        self._addActions(bool(nodes))
        self._combo.blockSignals(blocked)
        fallback = "" if self.noneEnabled or not nodes else nodes[0].GetID()
        self._choose(self._currentID if self._currentID in known else fallback)
        self._watch(nodes)

    def _addActions(self, anyNode: bool) -> None:
        if self.mrmlScene() is None:
            return
        texts = []
        if self.renameEnabled and anyNode:
            texts.append(("Rename current node", RENAME))
        if self.addEnabled:
            texts += [(f"Create new {self.nodeTypeLabel(name)}", CREATE + name) for name in self.nodeTypes]
        if self.removeEnabled and anyNode:
            texts.append(("Delete current node", REMOVE))
        if texts and self._combo.count:
            self._combo.insertSeparator(self._combo.count)
        for text, data in texts:
            self._combo.addItem(text, data)

    def _watch(self, nodes: Iterable[slicer.vtkMRMLNode]) -> None:
        for node in nodes:
            if node not in self._observed:
                self._observed[node] = (node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onRenamed),)
                self.nodeAdded.emit(node)
                self.nodeAddedByUser.emit(node)

    def _choose(self, nodeID: str) -> None:
        """Show `nodeID` as the current one and say so if it is another."""
        blocked = self._combo.blockSignals(True)
        self._combo.setCurrentIndex(self._combo.findData(nodeID))
        self._combo.blockSignals(blocked)
        if nodeID != self._currentID:
            self._currentID = nodeID
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(nodeID)

    def _onActivated(self, index: int) -> None:
        data = self._combo.itemData(index)
        if data == RENAME:
            self._choose(self._currentID)
            self.renameCurrentNode()
        elif data == REMOVE:
            self.removeCurrentNode()
        elif data.startswith(CREATE):
            self._choose(self._currentID)
            self.nodeAddedByUserAction.emit(self.addNode(data[len(CREATE) :]))
        else:
            self._choose(data)
            self.nodeActivated.emit(self.currentNode())

    # --- what callers use ---

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        return self.mrmlScene().GetNodeByID(self._currentID) if self._currentID and self.mrmlScene() else None

    def setCurrentNode(self, node: slicer.vtkMRMLNode | str | None) -> None:
        if node is None or type(node) is str:
            self.setCurrentNodeID(node or "")
        else:
            self.setCurrentNodeID(node.GetID() or "")

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._choose(nodeID if any(node.GetID() == nodeID for node in self.nodes()) else "")

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def addNode(self, className: str = "") -> slicer.vtkMRMLNode | None:
        """A new node of `className` (the first of `nodeTypes`), named after `baseName`, with all attributes."""
        className = className or self.nodeTypes[0]
        if className not in self.nodeTypes:
            return None
        scene = self.mrmlScene()
        node = scene.CreateNodeByClass(className)
        node.UnRegister(None)
        node.SetName(scene.GenerateUniqueName(self.baseName or scene.GetTagByClassName(className)))
        for name, attribute, value in self._attributes:
            if node.IsA(name):
                node.SetAttribute(attribute, value or "")
        node = scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node

    def removeCurrentNode(self) -> None:
        if self.currentNode() is not None:
            self.mrmlScene().RemoveNode(self.currentNode())

    def renameCurrentNode(self) -> None:
        node = self.currentNode()
        if node is None:
            return
        name, confirmed = qt.QInputDialog.getText(self, "Rename node", "New name:", qt.QLineEdit.Normal, node.GetName())
        if confirmed and name:
            node.SetName(name)

    def addAttribute(self, className: str, attribute: str, value: str | None = None) -> None:
        self._attributes = (*self._attributes, (className, attribute, value))
        self._update()

    def removeAttribute(self, className: str, attribute: str) -> None:
        self._attributes = tuple(entry for entry in self._attributes if entry[:2] != (className, attribute))
        self._update()

    def setNodeTypeLabel(self, label: str, className: str) -> None:
        self._labels[className] = label
        self._update()

    def nodeTypeLabel(self, className: str) -> str:
        scene = self.mrmlScene()
        return self._labels.get(className) or (scene.GetTagByClassName(className) if scene else "") or className

    currentNodeID = Property(str, lambda self: self._currentID, setCurrentNodeID)
    nodeTypes, setNodeTypes = _setting("nodeTypes", "QStringList")
    hideChildNodeTypes, setHideChildNodeTypes = _setting("hideChildNodeTypes", "QStringList")
    showHidden, setShowHidden = _setting("showHidden", bool)
    showChildNodeTypes, setShowChildNodeTypes = _setting("showChildNodeTypes", bool)
    baseName, setBaseName = _setting("baseName", str)
    noneEnabled, setNoneEnabled = _setting("noneEnabled", bool)
    noneDisplay, setNoneDisplay = _setting("noneDisplay", str)
    addEnabled, setAddEnabled = _setting("addEnabled", bool)
    removeEnabled, setRemoveEnabled = _setting("removeEnabled", bool)
    editEnabled, setEditEnabled = _setting("editEnabled", bool)
    renameEnabled, setRenameEnabled = _setting("renameEnabled", bool)
    selectNodeUponCreation, setSelectNodeUponCreation = _setting("selectNodeUponCreation", bool)
    interactionNodeSingletonTag, setInteractionNodeSingletonTag = _setting("interactionNodeSingletonTag", str)


def _stopper(observed: dict[object, tuple[int, ...]]) -> Callable[..., None]:
    """A function that ends all observations; it holds no widget, so that it can run when the widget is destroyed."""

    def stop(*_: object) -> None:
        for node, tags in observed.items():
            for tag in tags:
                node.RemoveObserver(tag)
        observed.clear()

    return stop
