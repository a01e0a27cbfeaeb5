"""DICOM files written by hand, little endian: an enhanced multi-frame CT, or a series of slices."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

ENHANCED_CT, CT = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT, _IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_UNDEFINED = 0xFFFFFFFF
_LONG = (b"OB", b"OW", b"SQ", b"UN")
Item = tuple[int, bytes, object]  # tag 0xGGGGEEEE, VR, value: text, numbers, bytes, or the items of a sequence


def write_enhanced(
    path: Path,
    array: np.ndarray,
    positions: np.ndarray,
    orientation: np.ndarray,
    spacing: tuple[float, float],
    *,
    slope: float = 1.0,
    intercept: float = -1024.0,
    photometric: str = "MONOCHROME2",
    implicit: bool = False,
) -> Path:
    """Write stored values (D, H, W) uint16, frame k at LPS position k (D, 3); orientation (2, 3): along i, along j.

    implicit: types of values are left out, and sequences end by a delimiter in place of a length.
    """
    depth, height, width = array.shape
    shared: list[list[Item]] = [
        [
            (0x00209116, b"SQ", [[(0x00200037, b"DS", _numbers(orientation))]]),
            (0x00289110, b"SQ", [[(0x00180050, b"DS", "1"), (0x00280030, b"DS", _numbers(np.array(spacing)[::-1]))]]),
            (
                0x00289145, b"SQ",
                [[(0x00281052, b"DS", f"{intercept:g}"), (0x00281053, b"DS", f"{slope:g}"), (0x00281054, b"LO", "HU")]],
            ),
        ]
    ]  # fmt: skip
    per_frame = [[(0x00209113, b"SQ", [[(0x00200032, b"DS", _numbers(place))]])] for place in positions]
    items = _common(ENHANCED_CT, height, width, photometric)
    items += [(0x00280008, b"IS", str(depth)), (0x52009229, b"SQ", shared), (0x52009230, b"SQ", per_frame)]
    return _write(path, ENHANCED_CT, [*items, (0x7FE00010, b"OW", array.astype("<u2").tobytes())], implicit=implicit)


def write_slices(
    folder: Path,
    array: np.ndarray,
    positions: np.ndarray,
    orientation: np.ndarray,
    spacing: tuple[float, float],
    *,
    photometric: str = "MONOCHROME2",
    rescale: tuple[float, ...] | None = (1.0, -1024.0),
) -> Path:
    """Write a file for each slice of stored values (D, H, W), see `write_enhanced`.

    rescale: slope, intercept; nothing for empty fields, None for no fields.
    """
    folder.mkdir(exist_ok=True)
    for k, place in enumerate(positions):
        items = _common(CT, *array.shape[1:], photometric, f"1.2.3.4.{k + 1}")
        items += [(0x00200013, b"IS", str(k + 1)), (0x00200032, b"DS", _numbers(place))]
        items += [(0x00200037, b"DS", _numbers(orientation)), (0x00280030, b"DS", _numbers(np.array(spacing)[::-1]))]
        if rescale is not None:
            slope, intercept = (f"{value:g}" for value in rescale) if rescale else ("", "")
            items += [(0x00281052, b"DS", intercept), (0x00281053, b"DS", slope)]
        _write(folder / f"{k:03d}.dcm", CT, [*items, (0x7FE00010, b"OW", array[k].astype("<u2").tobytes())])
    return folder


def _common(kind: str, height: int, width: int, photometric: str, uid: str = "1.2.3.4") -> list[Item]:
    return [
        (0x00080016, b"UI", kind), (0x00080018, b"UI", uid), (0x00080060, b"CS", "CT"),
        (0x0020000D, b"UI", "1.2.3"), (0x0020000E, b"UI", "1.2.3.9"),
        (0x00280002, b"US", [1]), (0x00280004, b"CS", photometric), (0x00280010, b"US", [height]),
        (0x00280011, b"US", [width]), (0x00280100, b"US", [16]), (0x00280101, b"US", [16]),
        (0x00280102, b"US", [15]), (0x00280103, b"US", [0]),
    ]  # fmt: skip


def _write(path: Path, kind: str, items: list[Item], *, implicit: bool = False) -> Path:
    syntax = _IMPLICIT if implicit else _EXPLICIT
    meta = _elements([(0x00020002, b"UI", kind), (0x00020003, b"UI", "1.2.3.4"), (0x00020010, b"UI", syntax)])
    version = _element((0x00020001, b"OB", b"\0\1"))
    length = _element((0x00020000, b"UL", struct.pack("<I", len(version + meta))))
    path.write_bytes(b"\0" * 128 + b"DICM" + length + version + meta + _elements(items, implicit=implicit))
    return path


def _elements(items: list[Item], *, implicit: bool = False) -> bytes:
    return b"".join(_element(item, implicit=implicit) for item in sorted(items, key=lambda item: item[0]))


def _element(item: Item, *, implicit: bool = False) -> bytes:
    tag, kind, value = item
    if kind == b"SQ":
        parts = [_elements(part, implicit=implicit) for part in value]  # type: ignore[attr-defined]
        content = b"".join(_delimited(part) if implicit else _tag(0xE000, len(part)) + part for part in parts)
        content += _tag(0xE0DD, 0) if implicit else b""
    elif kind == b"US":
        content = struct.pack(f"<{len(value)}H", *value)  # type: ignore[arg-type, misc]
    else:
        content = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
        content += (b"\0" if kind in (b"UI", b"OB") else b" ") * (len(content) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<I", _UNDEFINED if kind == b"SQ" else len(content)) + content
    length = struct.pack("<HI", 0, len(content)) if kind in _LONG else struct.pack("<H", len(content))
    return head + kind + length + content


def _delimited(part: bytes) -> bytes:
    return _tag(0xE000, _UNDEFINED) + part + _tag(0xE00D, 0)


def _tag(number: int, length: int) -> bytes:
    return struct.pack("<HHI", 0xFFFE, number, length)


def _numbers(values: np.ndarray) -> str:
    return "\\".join(f"{value:.8f}" for value in np.asarray(values).ravel())
