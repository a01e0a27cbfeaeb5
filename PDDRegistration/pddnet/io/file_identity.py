"""Tell whether a file, or a folder of DICOM slices, still is what it was: size and time of its last change, SHA-256.

torch-free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Stamp = tuple[int, int]
"""Bytes, and time of the last change in ns; of a folder the sum and the latest."""

_CHUNK = 1 << 20  # bytes


def stamp(path: str | Path) -> Stamp:
    """Return size and time of the last change. Raise OSError where it cannot be found."""
    path = Path(path)
    everything = [path, *path.rglob("*")] if path.is_dir() else [path]  # folders tell when a file got another name
    size = sum(file.stat().st_size for file in _files(path))
    return size, max(each.stat().st_mtime_ns for each in everything)


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of its files' SHA-256 and names as sha256sum lists them.

    Raise OSError where a file cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        return _digest(path)
    lines = (f"{_digest(file)}  {file.relative_to(path).as_posix()}\n" for file in _files(path))
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
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
