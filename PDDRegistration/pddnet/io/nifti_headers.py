"""What an image file's header says before ITK interprets it.

ITK repairs silently what a user must know: in NIfTI files a spacing of zero becomes 1 mm, a negative one a flip, NaN
becomes 0, and a truncated file is read as if nothing were missing. So the files are looked at here, first.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError

_TEXT_SPACING = re.compile(rb"^(?:ElementSpacing\s*=|spacings\s*:|SPACING\s)(.*)$", re.MULTILINE)
_NIFTI = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI-1, NIfTI-2 or Analyze header that decide whether the file is whole and placed."""

    dim: tuple[int, ...]  # number of axes used, then voxels along each of seven
    pixdim: tuple[float, ...]  # mm along the three spatial axes
    bytes: int  # of header and voxels together, where they share a file; else of the voxels
    start: int  # byte of the first voxel
    kind: str  # numpy's name of the voxel type with its byte order, for floats; else empty
    placed: bool  # whether a qform or an sform says where the volume lies
    paired: bool  # voxels in a separate .img file


def check_header(path: Path) -> list[str]:
    """Look at the header of an image file (NIfTI, MetaImage, NRRD, VTK; others pass), and return warnings.

    Raises:
        InputError: the spacing is not positive, the file ends before its last voxel, or ITK would read another one.
    """
    if path.name.lower().endswith(_NIFTI):
        refuse_shadowed(path)
        return _check_nifti(path)
    _check_text_header(path)
    return []


def refuse_shadowed(path: Path) -> None:
    """Asked for x.nii.gz, ITK reads x.nii without a word where that stands beside it.

    Raises:
        InputError: that is so.
    """
    if path.name.lower().endswith(tuple(ending for ending in _NIFTI if ending.endswith(".gz"))):
        plain = path.with_name(path.name[:-3])
        if plain.exists():
            raise InputError(f"{path}: ITK would read {plain.name} beside it instead; rename or move one of the two")


def _check_text_header(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if not (
        head.startswith((b"NRRD", b"# vtk")) or b"ElementDataFile" in head or path.suffix.lower() in (".mha", ".mhd")
    ):
        return
    match = _TEXT_SPACING.search(head)
    try:
        spacing = [float(word) for word in match.group(1).split()] if match else []
    except ValueError:
        return  # not what it looked like: ITK will say so
    if any(value <= 0 for value in spacing):  # NaN is NRRD's way to say that an axis has no spacing
        _refuse_spacing(path, spacing)


def _check_nifti(path: Path) -> list[str]:
    header = read_nifti_header(path)
    if header is None:
        return []  # not a NIfTI header: ITK will say so
    axes = min(header.dim[0], 3)
    if not all(math.isfinite(value) and value > 0 for value in header.pixdim[:axes]):
        _refuse_spacing(path, header.pixdim[:axes])
    data = path
    if header.paired:
        twin = re.sub(r"\.hdr(\.gz)?$", r".img\1", path.name, flags=re.IGNORECASE)
        data = path.with_name(twin)
    if not data.is_file() or not _holds(data, header.bytes):
        raise InputError(f"{path}: the file is truncated, its last voxels are missing; copy or export it again")
    return [] if header.placed else [f"{path}: the header does not say where the volume lies (no qform, no sform)"]


def read_nifti_header(path: Path) -> NiftiHeader | None:
    """The header of a NIfTI or Analyze file, plain or gzipped; None where it is none.

    Raises:
        InputError: a gzipped file cannot be unpacked up to the end of its header.
    """
    if ".img" in path.suffixes[-2:]:
        twin = path.with_name(re.sub(r"\.img(\.gz)?$", r".hdr\1", path.name, flags=re.IGNORECASE))
        return read_nifti_header(twin) if twin.is_file() else None
    try:
        with _open(path) as file:
            raw = file.read(544)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path}: the file is damaged and cannot be unpacked; copy or export it again") from None
    for order in "<>":
        if len(raw) >= 348 and struct.unpack_from(order + "i", raw)[0] == 348:
            dim = struct.unpack_from(order + "8h", raw, 40)
            bits, pixdim = struct.unpack_from(order + "h", raw, 72)[0], struct.unpack_from(order + "3f", raw, 80)
            offset, forms = struct.unpack_from(order + "f", raw, 108)[0], struct.unpack_from(order + "2h", raw, 252)
            code, paired = struct.unpack_from(order + "h", raw, 70)[0], raw[344:347] != b"n+1"
        elif len(raw) >= 540 and struct.unpack_from(order + "i", raw)[0] == 540:
            dim = struct.unpack_from(order + "8q", raw, 16)
            bits, pixdim = struct.unpack_from(order + "h", raw, 14)[0], struct.unpack_from(order + "3d", raw, 112)
            offset, forms = struct.unpack_from(order + "q", raw, 168)[0], struct.unpack_from(order + "2i", raw, 344)
            code, paired = struct.unpack_from(order + "h", raw, 12)[0], raw[4:7] != b"n+2"
        else:
            continue
        voxels = math.prod(max(n, 1) for n in dim[1 : 1 + max(min(dim[0], 7), 0)])
        start = int(offset) if math.isfinite(offset) and not paired else 0
        kind = {16: order + "f4", 64: order + "f8"}.get(code, "")
        size = start + voxels * bits // 8
        return NiftiHeader(dim, pixdim, size, start, kind, any(form > 0 for form in forms), paired)
    return None


def non_finite_voxels(path: Path) -> np.ndarray | None:
    """Where a 3-D NIfTI file of floats holds NaN or infinity, as a mask (D, H, W) [k, j, i]; None where nowhere.

    ITK's NIfTI reader turns them into 0, which is the HU of water.
    """
    header = read_nifti_header(path) if path.name.lower().endswith((".nii", ".nii.gz")) else None
    if header is None or not header.kind or header.paired:
        return None
    item = int(header.kind[-1])
    parts = []
    with _open(path) as file:
        file.seek(header.start)
        for start in range(header.start, header.bytes, item << 20):
            chunk = file.read(min(item << 20, header.bytes - start))
            parts.append(~np.isfinite(np.frombuffer(chunk, header.kind)))
    mask = np.concatenate(parts)
    return mask.reshape([max(n, 1) for n in header.dim[3:0:-1]]) if mask.any() else None


def _holds(path: Path, size: int) -> bool:
    """Whether a plain or gzipped file holds at least `size` bytes when unpacked."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.stat().st_size >= size
        file.seek(-4, 2)
        if struct.unpack("<I", file.read(4))[0] == size % 2**32:
            return True  # gzip notes the unpacked size at its end: a truncated file does not end with that number
    try:  # several gzip members, bytes after the last voxel, or a damaged file: unpack to see
        with gzip.open(path) as file:
            while chunk := file.read(1 << 20):  # to the very end, where the checksum is
                size -= len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False
    return size <= 0


def _open(path: Path) -> gzip.GzipFile:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def _refuse_spacing(path: Path, spacing: tuple[float, ...] | list[float]) -> None:
    text = " x ".join(f"{value:g}" for value in spacing)
    raise InputError(f"{path}: the voxel spacing in the header, {text} mm, is not positive; correct the header")
