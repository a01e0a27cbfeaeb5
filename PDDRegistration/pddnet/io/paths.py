"""Paths: refuses what is no file or folder, and gives ITK names that it can open. torch-free."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import InputError

_DESCRIPTORS = Path("/proc/self/fd")  # Linux's names of open files and folders
_FOLDERS: dict[str, int] = {}  # descriptors of folders whose names are not UTF-8; open until the process ends


def check_path(path: str | Path) -> Path:
    """Check that there is a regular file or a folder of this name; returns its path.

    Raises:
        InputError: there is none, the name is impossible, or it is a pipe or a device: reading may never end.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder; correct the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{shown(path)}: the path cannot be used ({reason_of(error)}); correct it") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path}: this is a pipe or a device, not a file; save the content in a file first")
    return path


def check_file(path: str | Path) -> Path:
    """Check as `check_path` does that there is a regular file of this name, and no folder; returns its path.

    Raises:
        InputError: there is none.
    """
    path = check_path(path)
    if path.is_dir():
        raise InputError(f"{path}: this is a folder; give a file")
    return path


def reason_of(error: OSError | ValueError) -> str:
    """Return the system's short reason for an error."""
    return getattr(error, "strerror", None) or str(error)


def shown(path: str | Path) -> str:
    """Shorten a path that no line of a terminal holds."""
    text = str(path)
    return text if len(text) <= 255 else f"{text[:60]}...{text[-20:]}"


def is_utf8(path: str | Path) -> bool:
    """Tell whether ITK can take a path as it is."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeError:
        return False
    return True


def itk_name(path: Path) -> str:
    """Return the name by which ITK opens a file or folder: it takes UTF-8 alone, and crashes where it gets other bytes.

    A name in another encoding may be part of the path on Linux: the folder is opened here, and named by its number.

    Raises:
        InputError: the last part of the path is not UTF-8, or the system has no such names.
    """
    if is_utf8(path):
        return os.fsencode(path).decode("utf-8")
    try:
        name = "" if path.is_dir() else os.fsencode(path.name).decode("utf-8")
    except UnicodeError:
        raise InputError(f"{path}: the file name is not in UTF-8, and ITK cannot open it; rename the file") from None
    if not _DESCRIPTORS.is_dir():
        raise InputError(f"{path}: a folder's name is not in UTF-8, and ITK cannot open it; rename the folder")
    return str(_DESCRIPTORS / str(_opened(str(path if path.is_dir() else path.parent))) / name)


def name_of(path: str) -> str:
    """Return the last part of a path that ITK gave, as Python writes names."""
    return os.fsdecode(os.path.basename(path).encode("utf-8", "surrogateescape"))


def _opened(folder: str) -> int:
    number = _FOLDERS.get(folder)
    if number is not None and os.path.samestat(os.fstat(number), os.stat(folder)):
        return number
    if number is not None:
        os.close(number)
    _FOLDERS[folder] = os.open(folder, os.O_RDONLY)
    return _FOLDERS[folder]
