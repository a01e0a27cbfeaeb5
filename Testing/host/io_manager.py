"""slicer.app.coreIOManager(): what `slicer.util`'s load and save functions call."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import slicer
import vtk

from host.scripted_writer import ScriptedWriter

SCENES = (".mrml", ".mrb")
SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr", ".seg.vtm")
TRANSFORMS = (".h5", ".tfm", ".mat")
LABELMAP, AUTO_WINDOW_LEVEL = 1, 8  # bits of AddArchetypeVolume's options
Properties = dict[str, object]


class ScriptedReader:
    """qSlicerScriptedFileReader: what a module's reader class gets as `parent`. One node is read per file."""

    def __init__(self, cls: type) -> None:
        self.loadedNodes: list[str] = []
        self._python = cls(self)

    def supportedNameFilters(self, path: str) -> list[str]:
        """Those of the reader's `extensions`, such as "Text (*.txt *.md)", that the file's name fits."""
        patterns = {text: text[text.index("(") + 1 : -1].split() for text in self._python.extensions()}
        name = Path(path).name
        return [text for text, wildcards in patterns.items() if any(fnmatch(name, one) for one in wildcards)]

    def canLoad(self, fileType: str, path: str) -> bool:
        """Whether the reader has this file type and takes the file."""
        if self._python.fileType() != fileType:
            return False
        own = getattr(self._python, "canLoadFile", None)
        return own(path) if own is not None else bool(self.supportedNameFilters(path))

    def load(self, path: str, properties: Properties) -> object:
        """Read the file; the reader says by a bool whether it could, and Slicer warns of anything else."""
        self.loadedNodes = []
        success = self._python.load(dict(properties))
        if type(success) is not bool:
            raise TypeError("load must return a bool")
        return slicer.mrmlScene.GetNodeByID(self.loadedNodes[0]) if success else None


class CoreIOManager:
    """Reads and writes nodes and scenes by file type; node types as Slicer's readers name them."""

    def __init__(self, logics: dict[str, slicer.vtkMRMLAbstractLogic], application: object) -> None:
        """`application` is the scene's vtkSlicerApplicationLogic: it shows a loaded volume."""
        self._logics, self._application = logics, application
        self._writers: dict[str, ScriptedWriter] = {}
        self._readers: dict[str, Callable[[str, Properties], object]] = {
            "VolumeFile": self._read_volume,
            "SegmentationFile": self._read_segmentation,
            "TransformFile": lambda path, _: self._logics["Transforms"].AddTransform(path, slicer.mrmlScene),
            "MarkupsFile": self._read_markups,
            "SceneFile": self._read_scene,
        }
        self._scripted: dict[str, ScriptedReader] = {}

    def registerReader(self, name: str, cls: type) -> None:
        """Take the class <module>FileReader of a scripted module; a reload of the module does not replace it."""
        self._scripted[name] = ScriptedReader(cls)

    def forgetReader(self, name: str) -> None:
        """Forget the reader of a module that is unloaded."""
        self._scripted.pop(name, None)

    def registerWriter(self, name: str, cls: type) -> None:
        """Take the class <module>FileWriter of a scripted module; a reload of the module does not replace it."""
        self._writers[name] = ScriptedWriter(cls)

    def forgetWriter(self, name: str) -> None:
        """Forget the writer of a module that is unloaded."""
        self._writers.pop(name, None)

    def fileType(self, path: str) -> str:
        """The reader that Slicer would choose for the name alone."""
        name = Path(path).name.lower()
        if name.endswith(SCENES):
            return "SceneFile"
        if name.endswith(SEGMENTATIONS):
            return "SegmentationFile"
        if name.endswith(TRANSFORMS):
            return "TransformFile"
        return "MarkupsFile" if name.endswith((".mrk.json", ".fcsv")) else "VolumeFile"

    def loadNodes(
        self,
        fileType: str,
        properties: Properties,
        collection: vtk.vtkCollection | None = None,
        messages: object = None,
    ) -> bool:
        """Whether the file could be read; what came of it is added to `collection`."""
        path = str(properties["fileName"])
        if not Path(path).exists():
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"{path} does not exist.")
            return False
        reader = self._readers.get(fileType) or self._scriptedReader(fileType, path)
        loaded = reader(path, properties) if reader is not None else None
        if collection is not None and hasattr(loaded, "GetID"):
            collection.AddItem(loaded)
        return bool(loaded)

    def _scriptedReader(self, fileType: str, path: str) -> Callable[[str, Properties], object] | None:
        fitting = (reader for reader in self._scripted.values() if reader.canLoad(fileType, path))
        return next((reader.load for reader in fitting), None)

    def _read_volume(self, path: str, properties: Properties) -> object:
        name = str(properties.get("name") or Path(path).name.split(".")[0])
        options = LABELMAP if properties.get("labelmap") else 0
        options |= AUTO_WINDOW_LEVEL if properties.get("autoWindowLevel", True) else 0
        node = self._logics["Volumes"].AddArchetypeVolume(path, name, options)
        if node is not None and properties.get("show", True):
            selection = self._application.GetSelectionNode()
            labels = node.IsA("vtkMRMLLabelMapVolumeNode")
            (selection.SetActiveLabelVolumeID if labels else selection.SetActiveVolumeID)(node.GetID())
            self._application.PropagateVolumeSelection(1)
        return node

    def _read_segmentation(self, path: str, properties: Properties) -> object:
        """Any image: a labelmap's values become segments."""
        name = str(properties.get("name") or Path(path).name.split(".")[0])
        node = self._logics["Segmentations"].LoadSegmentationFromFile(path, True, name)
        if node is not None:
            node.CreateDefaultDisplayNodes()
        return node

    def _read_markups(self, path: str, properties: Properties) -> object:
        nodeID = self._logics["Markups"].LoadMarkups(path, str(properties.get("name") or ""))
        return slicer.mrmlScene.GetNodeByID(nodeID) if nodeID else None

    def _read_scene(self, path: str, properties: Properties) -> bool:
        clear = bool(properties.get("clear", False))
        if path.lower().endswith(".mrb"):
            return bool(slicer.mrmlScene.ReadFromMRB(path, clear, None))
        slicer.mrmlScene.SetURL(path)
        return bool(slicer.mrmlScene.Connect() if clear else slicer.mrmlScene.Import())

    def fileWriterFileType(self, node: slicer.vtkMRMLNode) -> str:
        return node.GetClassName()

    def saveNodes(self, fileType: str, properties: Properties, messages: object = None) -> bool:
        """Write one node, or with the type SceneFile all of the scene."""
        path = str(properties["fileName"])
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"]) if "nodeID" in properties else None
        for writer in self._writers.values():
            if writer.fileType() == fileType and writer.nameFilters(node):
                raise RuntimeError("the host leaves no writing to scripted modules")
        if fileType == "SceneFile":
            return self._write_scene(path)
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(bool(properties.get("useCompression", True)))
        return bool(storage.WriteData(node))

    def saveScene(self, path: str, image: object = None, messages: object = None) -> bool:
        return self.saveNodes("SceneFile", {"fileName": path}, messages)

    def _write_scene(self, path: str) -> bool:
        """A bundle (.mrb), a bare scene (.mrml), or a folder. The scene announces none of it by an event."""
        if path.lower().endswith(".mrb"):
            return bool(slicer.mrmlScene.WriteToMRB(path, None, None))
        if path.lower().endswith(".mrml"):
            slicer.mrmlScene.SetURL(path)
            return bool(slicer.mrmlScene.Commit())
        Path(path).mkdir(parents=True, exist_ok=True)
        return bool(slicer.mrmlScene.SaveSceneToSlicerDataBundleDirectory(path, None, None))
