"""Checksums of compressed images: ITK reads files with broken bits without a word. torch-free.

A checksum of the voxels that ITK read costs a tenth of unpacking them again, which is done only where it differs: the
file may hold more than the voxels, or other values than ITK gives.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .nifti_fields import read_fields

_CHUNK = 1 << 20  # bytes
_HEAD = 1 << 16  # bytes; the text headers of NRRD and MetaImage are shorter
_ANY_FORMAT = 32 + 15  # zlib's name for gzip's or zlib's, whichever it finds
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class _Packed:
    """Compressed part of a file, to the file's end."""

    start: int  # byte at which it begins
    before: bytes  # what it holds before the voxels
    big_endian: bool  # order of the voxels' bytes


def check_checksum(path: Path, image: sitk.Image) -> None:
    """Compare the voxels that ITK read from a NIfTI, NRRD or MetaImage file with the checksum in it, if it has one.

    Raises:
        InputError: the checksum differs, or the file cannot be unpacked.
    """
    packed = _find(path)
    if packed is not None and not _matches(path, packed, image):
        _unpack(path, packed.start)


def check_unpacks(path: Path) -> None:
    """Unpack a compressed NIfTI, NRRD or MetaImage file to its end, where the checksum is; other files pass.

    Raises:
        InputError: the checksum differs, or the file cannot be unpacked.
    """
    packed = _find(path)
    if packed is not None:
        _unpack(path, packed.start)


def _find(path: Path) -> _Packed | None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_GZIP_MAGIC):
        fields = read_fields(path)
        if fields is None or not fields.is_nifti or fields.first_voxel > _HEAD:
            return None
        with gzip.open(path) as file:
            return _Packed(0, file.read(fields.first_voxel), fields.order == ">")
    if head.startswith(b"NRRD"):
        text, blank, _ = head.partition(b"\n\n")
        if blank and re.search(rb"^encoding: *(gz|gzip) *$", text, re.MULTILINE) and b"\ndata file:" not in text:
            return _Packed(len(text) + 2, b"", bool(re.search(rb"^endian: *big", text, re.MULTILINE)))
    end = re.search(rb"^ElementDataFile *= *LOCAL *\r?\n", head, re.MULTILINE)
    if end and re.search(rb"^CompressedData *= *True", head[: end.start()], re.MULTILINE):
        msb = re.search(rb"^(BinaryDataByteOrderMSB|ElementByteOrderMSB) *= *True", head[: end.start()], re.MULTILINE)
        return _Packed(end.end(), b"", bool(msb))
    return None


def _matches(path: Path, packed: _Packed, image: sitk.Image) -> bool:
    """Tell whether the file's last bytes are the checksum of the voxels."""
    with path.open("rb") as file:
        file.seek(packed.start)
        is_gzip = file.read(2) == _GZIP_MAGIC
        file.seek(-8, 2)
        tail = file.read(8)
    compute: Callable[..., int] = zlib.crc32 if is_gzip else zlib.adler32
    stored = int.from_bytes(tail[:4], "little") if is_gzip else int.from_bytes(tail[4:], "big")
    voxels = sitk.GetArrayViewFromImage(image)
    if packed.big_endian and voxels.dtype.itemsize > 1:
        voxels = voxels.byteswap()
    found = compute(np.ascontiguousarray(voxels), compute(packed.before))
    return found == stored


def _unpack(path: Path, start: int) -> None:
    """Unpack to the end of the file, also several members of gzip; zeros after the last one are padding."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            rest = file.read(_CHUNK)
            while rest.strip(b"\0"):
                member = zlib.decompressobj(_ANY_FORMAT)
                while rest and not member.eof:
                    member.decompress(rest, _CHUNK)
                    rest = member.unconsumed_tail or (b"" if member.eof else file.read(_CHUNK))
                if not member.eof:
                    raise zlib.error("its end is missing")
                rest = member.unused_data or file.read(_CHUNK)
    except zlib.error:
        raise InputError(f"{path}: the file is damaged, its checksum differs; copy or export it again") from None
