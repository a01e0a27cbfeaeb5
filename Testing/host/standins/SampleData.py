"""`SampleData`: sample data sets that modules register, without a network: only files of this machine are loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
import vtk

Texts = str | list[str] | tuple[str, ...] | None


def _tuple(value: object) -> tuple:
    return tuple(value) if type(value) in (list, tuple) else (value,)


class SampleDataSource:
    """One data set: where its files are, and what becomes of them."""

    def __init__(
        self,
        sampleName: str,
        uris: Texts = None,
        fileNames: Texts = None,
        nodeNames: Texts = None,
        checksums: Texts = None,
        loadFiles: bool | list[bool] | None = None,
        customDownloader: Callable[[SampleDataSource], object] | None = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Texts = None,
        loadFileProperties: dict[str, object] | None = None,
    ) -> None:
        self.sampleName, self.customDownloader, self.thumbnailFileName = sampleName, customDownloader, thumbnailFileName
        self.sampleDescription = sampleName
        self.uris, self.fileNames, self.nodeNames = _tuple(uris), _tuple(fileNames), _tuple(nodeNames)
        self.loadFileTypes = _tuple(loadFileTypes) * (len(self.uris) if loadFileTypes is None else 1)
        self.loadFiles = _tuple(loadFiles) * (len(self.uris) if loadFiles is None else 1)
        self.loadFileProperties = loadFileProperties or {}
        lengths = {len(x) for x in (self.uris, self.fileNames, self.nodeNames, self.loadFileTypes, self.loadFiles)}
        if len(lengths) > 1:
            raise ValueError(f"sample data {sampleName}: uris, fileNames, nodeNames and file types differ in number")


class SampleDataLogic:
    """Registers and loads data sets."""

    @staticmethod
    def sources() -> dict[str, list[SampleDataSource]]:
        """The registered data sets by category, kept where Slicer keeps them."""
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        return slicer.modules.sampleDataSources

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **arguments: object) -> None:
        """Add a data set to a category; the other arguments are those of SampleDataSource."""
        source = SampleDataSource(**arguments)
        entries = SampleDataLogic.sources().setdefault(category, [])
        if all(entry.sampleName != source.sampleName for entry in entries):
            entries.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> object:
        sources = SampleDataLogic.sources()
        return sources if category is None else sources.get(category, [])

    def downloadSamples(self, sampleName: str) -> list:
        """The nodes loaded for a data set, or an empty list if nobody registered it."""
        for entries in self.sources().values():
            for source in entries:
                if source.sampleName == sampleName:
                    return self.downloadFromSource(source)
        return []

    def downloadSample(self, sampleName: str) -> object:
        return self.downloadSamples(sampleName)[0]

    def downloadFromSource(self, source: SampleDataSource) -> list:
        """Load all files of a data set; nodes, or paths for files that are only fetched. A customDownloader is not
        called, and the nodes have no storage: their files lie in a cache."""
        folder = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory())
        entries = zip(
            source.uris, source.fileNames, source.nodeNames, source.loadFileTypes, source.loadFiles, strict=True
        )
        return [self._take(folder, source, *entry) for entry in entries]

    def _take(
        self, folder: Path, source: SampleDataSource, uri: str, file: str, name: str, fileType: str | None, load: bool
    ) -> object:
        path = folder / file
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_local(uri), path)
        if load is False:
            return str(path)
        manager, nodes = slicer.app.coreIOManager(), vtk.vtkCollection()
        properties = {**source.loadFileProperties, "fileName": str(path), "name": name}
        if not manager.loadNodes(fileType or manager.fileType(str(path)), properties, nodes):
            return None
        node = nodes.GetItemAsObject(0)
        storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
        if storage is not None:
            slicer.mrmlScene.RemoveNode(storage)
            node.SetAndObserveStorageNodeID(None)
        return node


def _local(uri: str) -> str:
    url = qt.QUrl(uri)
    if url.scheme() in ("http", "https"):
        raise RuntimeError(f"the host fetches nothing from the network: {uri}")
    return url.toLocalFile() if url.scheme() == "file" else uri


def downloadSample(sampleName: str) -> object:
    """The first node of a registered data set."""
    return SampleDataLogic().downloadSample(sampleName)


def downloadSamples(sampleName: str) -> list:
    """All nodes of a registered data set."""
    return SampleDataLogic().downloadSamples(sampleName)
