"""Choose among the DICOM series of a folder, and name the slices that do not belong to theirs. torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

POSITION, ORIENTATION = "0020|0032", "0020|0037"
_MODALITY, _DESCRIPTION = "0008|0060", "0008|103e"
_NUMBER, _UID = "0020|0011", "0020|000e"
_PHASES = {  # what tells two scans under one series UID apart, the plainest first
    "0020|0100": "temporal position",
    "0020|0012": "acquisition number",
    "0018|1210": "kernel",
    "0020|0052": "frame of reference",
    "0008|0032": "acquisition time",
    "0008|0033": "content time",
}
_SAME_POSITION_MM = 1e-3
_SAME_SPACING_MM = 1e-3
_FARTHEST_MM = 1e6
_SAME_PLANE = 1e-2  # difference of a component of the directions
Header = Callable[[Path], sitk.ImageFileReader]


def prefer_ct(folder: Path, series: list[list[Path]], header: Header) -> tuple[list[list[Path]], list[str]]:
    """Keep the CT series where there are some beside others of several slices (PET, MR); return them, and a warning."""
    kinds = [text_of(header(files[0]), _MODALITY) for files in series] if len(series) > 1 else []
    volumes = [kind for files, kind in zip(series, kinds, strict=False) if len(files) > 1]
    if "CT" not in volumes or set(volumes) == {"CT"}:
        return series, []
    others = [(files, kind or "unknown") for files, kind in zip(series, kinds, strict=True) if kind != "CT"]
    left_out = [
        f"'{text_of(header(files[0]), _DESCRIPTION) or files[0].parent.name}' ({kind}, {len(files)} slices)"
        for files, kind in others
        if len(files) > 1
    ]
    chosen = [files for files, kind in zip(series, kinds, strict=True) if kind == "CT"]
    return chosen, [f"{folder}: of several DICOM series CT was taken; left out: {', '.join(left_out)}"]


def called(folder: Path, series: list[list[Path]], name: str, header: Header) -> list[list[Path]]:
    """Keep the series of a number or a UID; where there is none, those with `name` in the description, in any case.

    Raises:
        InputError: there is none; all are named.
    """

    def is_numbered(files: list[Path]) -> bool:
        return name in (text_of(header(files[0]), tag) for tag in (_NUMBER, _UID))

    def is_described(files: list[Path]) -> bool:
        return name.casefold() in text_of(header(files[0]), _DESCRIPTION).casefold()

    found = list(filter(is_numbered, series)) or list(filter(is_described, series))
    if not found and series:
        readers = [header(files[0]) for files in series]
        there = [f"{text_of(each, _NUMBER) or '-'}: '{text_of(each, _DESCRIPTION)}'" for each in readers]
        raise InputError(f"{folder}: no DICOM series is called '{name}'; there are {', '.join(there)}")
    return found


def check_alike(folder: Path, files: list[Path], readers: list[sitk.ImageFileReader]) -> None:
    """Check that the slices of a series have one size, one pixel spacing and one plane, and lie at different positions.

    Raises:
        InputError: a slice differs, or two lie at one position; the files are named, and what tells them apart.
    """
    _check_majority(folder, files, [tuple(reader.GetSize()[:2]) for reader in readers], _size, "of another size")
    spacings = [tuple(np.round(np.array(reader.GetSpacing()[:2]) / _SAME_SPACING_MM).astype(int)) for reader in readers]
    _check_majority(folder, files, spacings, None, "of another pixel spacing")
    if not all(reader.HasMetaDataKey(tag) for reader in readers for tag in (POSITION, ORIENTATION)):
        return
    directions = [plane_of(path, reader) for path, reader in zip(files, readers, strict=True)]
    planes = [tuple(np.round(direction.ravel() / _SAME_PLANE).astype(int)) for direction in directions]
    _check_majority(folder, files, planes, None, "in another plane (a scout?)")
    positions = np.array([position_of(path, reader) for path, reader in zip(files, readers, strict=True)])
    order = np.lexsort(np.round(positions / _SAME_POSITION_MM).T)
    near = np.abs(np.diff(positions[order], axis=0)).max(axis=1) < _SAME_POSITION_MM
    if near.any():
        first, second = order[np.argmax(near)], order[np.argmax(near) + 1]
        names = f"{_within(folder, files[first])} and {_within(folder, files[second])}"
        raise InputError(
            f"{folder}: several DICOM slices lie at one position, such as {names}, which "
            f" {_difference(readers[first], readers[second])}; export a single phase"
        )


def position_of(path: Path, reader: sitk.ImageFileReader) -> np.ndarray:
    """Return where the first voxel of a slice lies: (3,) LPS mm. Raise InputError where the header does not tell."""
    return _numbers(path, reader, POSITION, 3)


def plane_of(path: Path, reader: sitk.ImageFileReader) -> np.ndarray:
    """Return the directions of i and j of a slice: (2, 3). Raise InputError where the header does not tell."""
    return _numbers(path, reader, ORIENTATION, 6).reshape(2, 3)


def _check_majority(
    folder: Path, files: list[Path], values: list[tuple[int, ...]], show: Callable[..., str] | None, what: str
) -> None:
    usual = Counter(values).most_common(1)[0][0]
    odd = [n for n, value in enumerate(values) if _distance(value, usual) > 1 or (show and value != usual)]
    if odd:
        first = _within(folder, files[odd[0]])
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        sizes = f", {show(values[odd[0]])} where the others have {show(usual)}" if show else ""
        verb = "is" if len(odd) == 1 else "are"
        raise InputError(
            f"{folder}: the DICOM series has slices that do not belong together, {first}{more} {verb} {what}{sizes}; "
            "move them out of the folder"
        )


def _within(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name


def _distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return max(abs(m - n) for m, n in zip(a, b, strict=True))


def _size(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def _difference(a: sitk.ImageFileReader, b: sitk.ImageFileReader) -> str:
    for tag, name in _PHASES.items():
        if (one := text_of(a, tag)) != (other := text_of(b, tag)):
            return f"differ in {name} ({one or 'none'}, {other or 'none'})"
    return "say nothing that tells them apart (copies, or a series over time?)"


def text_of(reader: sitk.ImageFileReader, tag: str) -> str:
    """Return the value of a tag of a header, or an empty text."""
    return str(reader.GetMetaData(tag)).strip() if reader.HasMetaDataKey(tag) else ""


def _numbers(path: Path, reader: sitk.ImageFileReader, tag: str, count: int) -> np.ndarray:
    try:
        values = np.array([float(word) for word in reader.GetMetaData(tag).split("\\")])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count or not np.isfinite(values).all() or np.abs(values).max() > _FARTHEST_MM:
        raise InputError(f"{path}: the DICOM slice does not say in numbers where it lies; export the series again")
    return values
