"""Suggest where a file should be saved: beside the volumes (`besideFiles`)."""

from __future__ import annotations

from pathlib import Path

import slicer


def besideFiles(name: str, *nodes: slicer.vtkMRMLNode | None) -> str:
    """Return the path of a new file in the folder that the first of the nodes with a file was loaded from.

    Where there is none, or the file is only a temporary one, as those of a scene in an .mrb file are, it is the name
    alone: a dialog then opens where the application last was.
    """
    folders = (_folderOf(node) for node in nodes if node is not None)
    folder = next((folder for folder in folders if folder is not None), None)
    return name if folder is None else str(folder / name)


def _folderOf(node: slicer.vtkMRMLNode) -> Path | None:
    storage = node.GetStorageNode() if node.IsA("vtkMRMLStorableNode") else None
    file = storage.GetFullNameFromFileName() if storage is not None else ""
    if not file:
        return None
    folder = Path(file).parent
    return folder if folder.is_dir() and not _isTemporary(folder) else None


def _isTemporary(folder: Path) -> bool:
    cache = slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()
    places = [Path(place).resolve() for place in (slicer.app.temporaryPath, cache) if place]
    return any(folder.resolve().is_relative_to(place) for place in places)
