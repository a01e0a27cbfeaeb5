"""Convert values to messages between a worker and its client, and back.

A message is JSON; arrays are files in the private folder, to which it refers. Both sides `pack` what they send and
`unpack` what they receive: an `Image`, a `DisplacementField`, a numpy array, a `Grid` or a SimpleITK transform comes
out bit-identical. Files are numbered, not named, and deleted as soon as they are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from ..evaluation.report import plain

_KIND = "$kind"
_KINDS = {Image: "image", DisplacementField: "field", np.ndarray: "array", sitk.Transform: "transform"}


def pack(value: Any, folder: Path, prefix: str) -> Any:
    """Convert a value to strict JSON; each array is written once, to `<prefix>-<number>.*` in the folder.

    Raises:
        InputError: a file cannot be written; the files written so far are deleted.
    """
    written: dict[int, dict[str, Any]] = {}

    def packed(item: Any) -> Any:
        if isinstance(item, dict):
            return {str(key): packed(part) for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [packed(part) for part in item]
        if isinstance(item, Grid):
            return {_KIND: "grid", **_grid_to_json(item)}
        if isinstance(item, tuple(_KINDS)):
            if id(item) not in written:
                written[id(item)] = _write(item, folder, f"{prefix}-{len(written)}")
            return written[id(item)]
        return plain(item)

    try:
        return packed(value)
    except (OSError, RuntimeError) as error:  # RuntimeError: SimpleITK's
        for path in folder.glob(f"{prefix}-*"):
            path.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "it could not be written"
        raise InputError(f"{folder}: {reason}; free space on the disk of the temporary files") from error


def unpack(value: Any, folder: Path) -> Any:
    """Convert a packed value back. The files are deleted, even if one of them cannot be read."""
    read: dict[str, Any] = {}

    def unpacked(item: Any) -> Any:
        if isinstance(item, list):
            return [unpacked(part) for part in item]
        if not isinstance(item, dict):
            return item
        if _KIND not in item:
            return {key: unpacked(part) for key, part in item.items()}
        if item[_KIND] == "grid":
            return _grid_from_json(item)
        if item["file"] not in read:
            read[item["file"]] = _read(item, folder)
        return read[item["file"]]

    try:
        return unpacked(value)
    finally:
        discard(value, folder)


def discard(value: Any, folder: Path) -> None:
    """Delete the files of a packed value."""
    for name in _files(value):
        (folder / name).unlink(missing_ok=True)


def _write(item: Any, folder: Path, name: str) -> dict[str, Any]:
    kind = next(kind for cls, kind in _KINDS.items() if isinstance(item, cls))
    if kind == "transform":
        sitk.WriteTransform(item, str(folder / f"{name}.h5"))
        return {_KIND: kind, "file": f"{name}.h5"}
    array = item if kind == "array" else item.array
    if not array.flags.forc:  # a transposed view: np.save is ten times as fast on a copy
        array = np.ascontiguousarray(array)
    np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return {_KIND: kind, "file": f"{name}.npy"} | ({} if kind == "array" else {"grid": _grid_to_json(item.grid)})


def _read(item: dict[str, Any], folder: Path) -> Any:
    path = folder / Path(item["file"]).name
    if item[_KIND] == "transform":
        return sitk.ReadTransform(str(path))
    array = np.load(path, allow_pickle=False)
    if item[_KIND] == "array":
        return array
    cls = Image if item[_KIND] == "image" else DisplacementField
    return cls(array, _grid_from_json(item["grid"]))


def _files(value: Any) -> list[str]:
    """List the names of all files that a packed value refers to."""
    if isinstance(value, list):
        return [name for part in value for name in _files(part)]
    if not isinstance(value, dict):
        return []
    if _KIND in value:
        return [Path(value["file"]).name] if "file" in value else []
    return _files(list(value.values()))


def _grid_to_json(grid: Grid) -> dict[str, list[Any]]:
    return {
        "shape": list(grid.shape),
        "spacing": grid.spacing.tolist(),
        "origin": grid.origin.tolist(),
        "direction": grid.direction.tolist(),
    }


def _grid_from_json(value: dict[str, Any]) -> Grid:
    return Grid(tuple(value["shape"]), value["spacing"], value["origin"], value["direction"])
