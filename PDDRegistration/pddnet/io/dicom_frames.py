"""Enhanced multi-frame DICOM: reads where each frame lies, which ITK only uses where all lie in order.

The functional groups of a frame (DICOM PS3.3, C.7.6.16) stand in nested sequences, which SimpleITK does not show; so
the file is parsed here, up to its voxels.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..errors import InputError

_SHARED, _PER_FRAME, _VOXELS = 0x52009229, 0x52009230, 0x7FE00010
_PLACE, _TURN, _MEASURES, _RESCALE = 0x00209113, 0x00209116, 0x00289110, 0x00289145  # sequences of a frame
_POSITION, _ORIENTATION, _PIXEL_SPACING = 0x00200032, 0x00200037, 0x00280030
_INTERCEPT, _SLOPE, _SYNTAX = 0x00281052, 0x00281053, 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_IMPLICIT = b"1.2.840.10008.1.2"
_NOT_PARSED = (b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99")  # big endian, deflated
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 16  # sequences within sequences
_MOST_BYTES = 1024  # of a value that is kept
_MIXED_MM = 1e-3
_MIXED_COSINE = 1e-4
_MIXED_RESCALE = 1e-6

DataSet: TypeAlias = "dict[int, bytes | list[DataSet]]"


@dataclass(frozen=True)
class Frames:
    """Where the frames of a file lie, in the order of the file."""

    positions: np.ndarray  # (N, 3) LPS mm of the first voxel
    orientation: np.ndarray  # (2, 3), the unit vectors of i and j
    spacing: np.ndarray  # (2,) mm along i and j
    rescale: tuple[float, float]  # slope and intercept of all frames


def read_frames(path: Path) -> Frames | None:
    """Read where the frames of a DICOM file lie; None for another file, or frames that do not say so legibly.

    Raises:
        InputError: the frames differ in orientation, voxel size or rescaling.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = _Parser(data).header() or {}
        groups, shared = _items(header, _PER_FRAME), next(iter(_items(header, _SHARED)), {})
        return _frames(path, groups, shared) if groups else None
    except (ValueError, struct.error):
        return None  # what is damaged, ITK tells


def _frames(path: Path, groups: list[DataSet], shared: DataSet) -> Frames | None:
    def of_each(sequence: int, tag: int, count: int) -> np.ndarray | None:
        found = [_numbers(group, shared, sequence, tag, count) for group in groups]
        return None if any(values is None for values in found) else np.array(found)

    positions, orientations = of_each(_PLACE, _POSITION, 3), of_each(_TURN, _ORIENTATION, 6)
    spacings = of_each(_MEASURES, _PIXEL_SPACING, 2)
    if positions is None or orientations is None or spacings is None:
        return None
    _check_alike(path, "orientations", orientations, _MIXED_COSINE)
    _check_alike(path, "voxel sizes", spacings, _MIXED_MM)
    slopes, intercepts = of_each(_RESCALE, _SLOPE, 1), of_each(_RESCALE, _INTERCEPT, 1)
    rescale = (1.0, 0.0)
    if slopes is not None and intercepts is not None:
        _check_alike(path, "rescale slopes or intercepts", np.hstack([slopes, intercepts]), _MIXED_RESCALE)
        rescale = float(slopes[0, 0]), float(intercepts[0, 0])
    return Frames(positions, orientations[0].reshape(2, 3), spacings[0][::-1], rescale)


def _check_alike(path: Path, what: str, values: np.ndarray, tolerance: float) -> None:
    if np.abs(values - values[0]).max() > tolerance:
        raise InputError(f"{path}: the frames of the DICOM file have different {what}; export one volume")


def _items(data: DataSet, tag: int) -> list[DataSet]:
    found = data.get(tag, [])
    return found if isinstance(found, list) else []


def _numbers(group: DataSet, shared: DataSet, sequence: int, tag: int, count: int) -> list[float] | None:
    """Return the decimal numbers of a tag in a frame's own or the shared group; None where it is missing."""
    for place in (group, shared):
        for item in _items(place, sequence):
            value = item.get(tag)
            if isinstance(value, bytes):
                numbers = [float(word) for word in value.rstrip(b"\0 ").split(b"\\")]
                if len(numbers) != count or not np.isfinite(numbers).all():
                    raise ValueError("not the numbers of this tag")
                return numbers
    return None


@dataclass
class _Parser:
    """Parser of the header of one file, in either little-endian encoding."""

    data: mmap.mmap
    explicit: bool = True
    kept: frozenset[int] = field(
        default=frozenset({_POSITION, _ORIENTATION, _PIXEL_SPACING, _INTERCEPT, _SLOPE, _SYNTAX})
    )

    def header(self) -> DataSet | None:
        """Parse all elements before the voxels; None for what is not DICOM, or in an encoding that is not parsed."""
        if self.data[128:132] != b"DICM":
            return None
        meta, at = self._data_set(132, 0, lambda tag: tag >> 16 != 2)
        syntax = meta.get(_SYNTAX, b"")
        syntax = syntax.rstrip(b"\0 ") if isinstance(syntax, bytes) else b""
        if syntax in _NOT_PARSED:
            return None
        self.explicit = syntax != _IMPLICIT
        return self._data_set(at, 0, lambda tag: tag >= _VOXELS and tag < _ITEM)[0]

    def _data_set(
        self, at: int, depth: int, stop: Callable[[int], bool], end: int | None = None
    ) -> tuple[DataSet, int]:
        """Parse elements from byte `at` up to `end`, or the end of an item; return them and the byte after them."""
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        found: DataSet = {}
        end = len(self.data) if end is None else end
        while at + 8 <= end:
            tag, kind, length, value = self._element(at)
            if tag in (_ITEM_END, _SEQUENCE_END):
                return found, value
            if stop(tag):
                return found, at
            if kind == b"SQ" or length == _UNDEFINED:
                items, at = self._sequence(value, length, depth)
                found[tag] = items
                continue
            if value + length > len(self.data):
                raise ValueError("truncated")
            if tag in self.kept:
                found[tag] = self.data[value : value + min(length, _MOST_BYTES)]
            at = value + length
        return found, at

    def _sequence(self, at: int, length: int, depth: int) -> tuple[list[DataSet], int]:
        items: list[DataSet] = []
        end = len(self.data) if length == _UNDEFINED else at + length
        while at + 8 <= end:
            tag, _, size, value = self._element(at)
            if tag == _SEQUENCE_END:
                return items, value
            if tag != _ITEM:
                raise ValueError("no item of a sequence")
            stop = None if size == _UNDEFINED else value + size
            item, at = self._data_set(value, depth + 1, lambda tag: False, stop)
            items.append(item)
        return items, at

    def _element(self, at: int) -> tuple[int, bytes, int, int]:
        """Return tag, type, length and the first byte of the value of the element at a byte."""
        group, number = struct.unpack_from("<HH", self.data, at)
        tag = group << 16 | number
        if group == 0xFFFE or not (self.explicit or group == 2):
            kind = b"SQ" if tag in (_SHARED, _PER_FRAME, _PLACE, _TURN, _MEASURES, _RESCALE) else b""
            return tag, kind, struct.unpack_from("<I", self.data, at + 4)[0], at + 8
        kind = self.data[at + 4 : at + 6]
        if kind in _LONG:
            return tag, kind, struct.unpack_from("<I", self.data, at + 8)[0], at + 12
        return tag, kind, struct.unpack_from("<H", self.data, at + 6)[0], at + 8
