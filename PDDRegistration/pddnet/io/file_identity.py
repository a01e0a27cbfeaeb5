"""Tell whether a file, or a folder of DICOM slices, still is what it was: size and time of its last change, SHA-256.

A header and the files that hold its voxels count as one. torch-free.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .data_files import parts_of

Stamp = tuple[int, int]
"""Bytes, and time of the last change in ns; of several files the sums: the latest time would hide an older copy."""

_CHUNK = 1 << 20  # bytes


def stamp(path: str | Path) -> Stamp:
    """Return size and time of the last change. Raise OSError where it cannot be found."""
    path = Path(path)
    files = _files(path)
    everything = [path, *path.rglob("*")] if path.is_dir() else files  # folders tell when a file got another name
    size = sum(file.stat().st_size for file in files)
    return size, sum(each.stat().st_mtime_ns for each in everything)


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file; of several files, that of their SHA-256 and names as sha256sum lists them.

    Raise OSError where a file cannot be read.
    """
    path = Path(path)
    files = _files(path)
    if files == [path]:
        return _digest(path)
    folder = path if path.is_dir() else path.parent
    lines = (f"{_digest(file)}  {_name(file, folder)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def identity(path: str | Path) -> dict[str, Any]:
    """Return what `is_same` compares, as JSON: bytes, modified_ns, sha256. Raise OSError where it cannot be read."""
    size, modified = stamp(path)
    return {"bytes": size, "modified_ns": modified, "sha256": sha256(path)}


def is_unchanged(path: str | Path, known: Mapping[str, Any]) -> bool:
    """Tell by size and time alone, in an instant, whether a file surely is the one that is known."""
    try:
        return stamp(path) == (known.get("bytes"), known.get("modified_ns"))
    except OSError:
        return False


def is_same(path: str | Path, known: Mapping[str, Any]) -> bool:
    """Tell whether a file is the one that is known: by size and time, and else by what it holds."""
    if is_unchanged(path, known):
        return True
    try:
        return stamp(path)[0] == known.get("bytes") and sha256(path) == known.get("sha256")
    except OSError:
        return False


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else parts_of(path)


def _name(file: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return file.as_posix()


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
