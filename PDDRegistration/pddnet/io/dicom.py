"""DICOM: finds the slices or frames of one series, in order, and checks that they make a regular volume."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.grid import Grid
from ..core.image import Image
from ..core.intensity import Scale, scale_of
from ..errors import InputError
from .dicom_frames import Frames, read_frames
from .dicom_series import ORIENTATION, POSITION, called, check_alike, plane_of, position_of, prefer_ct, text_of
from .paths import itk_name, name_of

_DESCRIPTION, _SPACING, _AT_DETECTOR = "0008|103e", "0028|0030", "0018|1164"
_DOSE_OFFSETS = "3004|000c"
_PHOTOMETRIC, _BITS, _SIGNED, _INTERCEPT, _SLOPE = "0028|0004", "0028|0101", "0028|0103", "0028|1052", "0028|1053"
_CT_SCALES = (Scale.HU, Scale.OFFSET, Scale.HU_WITHOUT_AIR)  # the likeliest first
_SAME_POSITION_MM = 1e-3  # slices nearer to each other lie at one position
_SHEAR_MM, _SHEAR_SHARE = 1.0, 0.01  # a sheared stack moves aside by more than this, also as a share of its length
_MISSING_SHARE = 0.5  # of the usual step: a slice so far from its even position, or from the next, has lost others
_UNEVEN_MM = 0.1  # farther from its even position, or moved aside by more, a slice deserves a warning


def find_series(folder: Path, name: str | None = None) -> tuple[list[Path], list[str]]:
    """Find the files of the folder's series, sorted along the slice axis, and return them with warnings.

    Series of a single file (scouts, reports) do not count. Of several, CT is preferred, and of these the one with most
    slices is taken, with a warning; two of equal length are refused, because a guess could take the wrong phase.

    Args:
        name: of the wanted series: its number, its UID, or words of its description.

    Raises:
        InputError: there is no series, the choice is not clear, or the slices do not make a regular volume.
    """
    series, chosen = _list_series(folder), list[str]()
    if name is None:
        series, chosen = prefer_ct(folder, series, _header)
    else:
        series = called(folder, series, name, _header)
    if not series:
        raise InputError(
            f"{folder}: the folder holds no DICOM series; give the folder with the slices, or an image file"
        )
    counts = {id(files): len(files) for files in series}
    if max(counts.values()) == 1:  # beside slices, a file of many frames is a segmentation or a dose
        counts = {id(files): _frame_count(files[0]) for files in series}
    volumes = sorted((files for files in series if counts[id(files)] > 1), key=lambda files: -counts[id(files)])
    if not volumes:
        if len(series) == 1:
            return series[0], []  # reading it will tell
        raise InputError(
            f"{folder}: the folder holds {len(series)} DICOM series of one slice each; give the folder of a 3-D series"
        )
    names = [f"{_describe(files[0])} ({counts[id(files)]} slices)" for files in volumes]
    if len(volumes) > 1 and counts[id(volumes[0])] == counts[id(volumes[1])]:
        raise InputError(
            f"{folder}: the folder holds several DICOM series, {', '.join(names)}; give a folder with just one, or "
            "name the series"
        )
    warnings = chosen
    if len(volumes) > 1:
        warnings.append(f"{folder}: the largest DICOM series was taken, {names[0]}; left out: {', '.join(names[1:])}")
    if len(volumes[0]) == 1:
        return volumes[0], warnings  # `arrange_frames` checks the frames
    return volumes[0], warnings + _check_slices(folder, volumes[0])


def arrange_frames(path: Path, image: sitk.Image) -> tuple[sitk.Image, list[str]]:
    """Put the frames of a multi-frame DICOM file, as ITK read it, in the order of their positions, with warnings.

    Raises:
        InputError: the frames do not make a regular volume.
    """
    count = image.GetSize()[2] if image.GetDimension() == 3 else 1
    if count < 2:
        return image, []
    frames = read_frames(path)
    if frames is None:
        if image.HasMetaDataKey(_DOSE_OFFSETS):
            return image, []  # a dose tells its planes in a way that ITK knows
        return image, [f"{path}: the DICOM frames do not say where they lie; their order and spacing are a guess"]
    if len(frames.positions) != count:
        raise InputError(
            f"{path}: the DICOM file holds {count} frames, and positions of {len(frames.positions)}; export it again"
        )
    order = np.argsort(frames.positions @ np.cross(*frames.orientation), kind="stable")
    positions = frames.positions[order]
    warnings = check_positions(path, positions, frames.orientation, "frames")
    if (np.diff(order) != 1).any() and (np.diff(order) != -1).any():
        warnings.append(f"{path}: the DICOM frames are not in the order of their positions; they were sorted")
    return Image(sitk.GetArrayViewFromImage(image)[order], _grid(frames, positions, image)).to_sitk(), warnings


def _grid(frames: Frames, positions: np.ndarray, image: sitk.Image) -> Grid:
    """Make the grid of sorted frames; its third axis is the normal of the first two."""
    normal = np.cross(*frames.orientation)
    step = (positions[-1] - positions[0]) @ normal / (len(positions) - 1)
    direction = np.column_stack([*frames.orientation, normal])
    return Grid(image.GetSize()[::-1], [*frames.spacing, step], positions[0], direction)


def decide_polarity(path: Path, first: Path, image: Image) -> tuple[Image, list[str]]:
    """Decide whether the values of a MONOCHROME1 scan are inverted, by what gives HU, and return it with a warning.

    MONOCHROME1 says that the lowest value is shown white. ITK inverts the stored values for that, which is wrong where
    they give HU as they are.

    Args:
        path: as the user knows the scan. first: a file of it, for the header. image: as ITK read it.
    """
    reader = _header(first)

    def number(tag: str, usual: float) -> float:
        is_given = reader.HasMetaDataKey(tag) and reader.GetMetaData(tag).strip()
        return _numbers(reader, tag)[0] if is_given else usual

    photometric = reader.GetMetaData(_PHOTOMETRIC).strip() if reader.HasMetaDataKey(_PHOTOMETRIC) else ""
    if photometric != "MONOCHROME1":
        return image, []
    frames = read_frames(first)
    slope, intercept = frames.rescale if frames else (number(_SLOPE, 1.0), number(_INTERCEPT, 0.0))
    largest = -1.0 if number(_SIGNED, 0) else 2.0 ** number(_BITS, 16) - 1  # signed v becomes -1 - v
    values = slope * largest + 2 * intercept - image.array.astype(np.float32)
    stored = Image(values.astype(np.float32 if slope % 1 or intercept % 1 else np.int32), image.grid)
    for scale in _CT_SCALES:
        for found, what in ((stored, "as they are stored"), (image, "inverted")):
            if scale_of(found.array) is scale:
                return found, [f"{path}: MONOCHROME1 (the lowest value is white); the values were taken {what}"]
    return image, [f"{path}: MONOCHROME1 (the lowest value is white); the values were inverted, as ITK does"]


def _frame_count(path: Path) -> int:
    size = _header(path).GetSize()
    return int(size[2]) if len(size) > 2 else 1


def _list_series(folder: Path) -> list[list[Path]]:
    """List the files of every series, sorted along the slice axis; below the folder where it holds no volume itself."""
    found = _series_in([folder])
    if any(len(files) > 1 or _frame_count(files[0]) > 1 for files in found):
        return found
    below = sorted(path for path in folder.rglob("*") if path.is_dir())
    return _series_in([folder, *below]) if below else found


def _series_in(folders: list[Path]) -> list[list[Path]]:
    """List the files of every series; exports may spread one over several folders, a slice or a hundred in each."""
    found: dict[str, list[list[Path]]] = {}
    for place in folders:
        opened = itk_name(place)
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(opened):
            names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(opened, uid)
            found.setdefault(uid, []).append([place / name_of(name) for name in names])
    return [*chain(*(parts if len(parts) == 1 else _joined(parts) for parts in found.values()))]


def _joined(parts: list[list[Path]]) -> list[list[Path]]:
    """Join the slices of a series in several folders, along the normal of the first one.

    They stay apart where they are copies, or do not say where they lie, as files of many frames.
    """
    files = [*chain(*parts)]
    try:
        readers = [_header(path) for path in files]
        if not all(reader.HasMetaDataKey(tag) for reader in readers for tag in (POSITION, ORIENTATION)):
            return parts
        positions = np.array([position_of(path, reader) for path, reader in zip(files, readers, strict=True)])
        along = positions @ np.cross(*plane_of(files[0], readers[0]))
    except InputError:  # it matters only if this series is chosen, and is told then
        return parts
    order = np.argsort(along, kind="stable")
    return parts if (np.diff(along[order]) < _SAME_POSITION_MM).any() else [[files[n] for n in order]]


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(itk_name(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"{path}: the DICOM slice cannot be read; copy or export the series again") from error
    return reader


def _describe(path: Path) -> str:
    reader = _header(path)
    text = reader.GetMetaData(_DESCRIPTION).strip() if reader.HasMetaDataKey(_DESCRIPTION) else ""
    return f"'{text or path.parent.name}'"


def _numbers(reader: sitk.ImageFileReader, tag: str) -> list[float]:
    return [float(word) for word in reader.GetMetaData(tag).split("\\")]


def _check_slices(folder: Path, files: list[Path]) -> list[str]:
    """Check that the slices stack into a regular, straight grid, as ITK assumes; returns warnings."""
    readers = [_header(path) for path in files]
    check_alike(folder, files, readers)
    warnings = _spacing_warnings(folder, readers)
    if not all(reader.HasMetaDataKey(tag) for reader in readers for tag in (POSITION, ORIENTATION)):
        return [
            *warnings, f"{folder}: the DICOM slices do not say where they lie; their order and spacing are a guess"
        ]  # fmt: skip
    positions = np.array([position_of(path, reader) for path, reader in zip(files, readers, strict=True)])
    return warnings + check_positions(folder, positions, plane_of(files[0], readers[0]))


def _spacing_warnings(folder: Path, readers: list[sitk.ImageFileReader]) -> list[str]:
    if all(text_of(reader, _SPACING) for reader in readers):
        return []
    x, y = readers[0].GetSpacing()[:2]
    if all(text_of(reader, _AT_DETECTOR) for reader in readers):
        return [f"{folder}: the DICOM slices say how large a pixel is at the detector only, {x:g} x {y:g} mm"]
    return [f"{folder}: the DICOM slices do not say how large a pixel is; {x:g} x {y:g} mm is a guess"]


def check_positions(path: Path, positions: np.ndarray, orientation: np.ndarray, what: str = "slices") -> list[str]:
    """Check that slices or frames stack into a regular, straight grid; returns warnings.

    Args:
        path: as the user knows the scan.
        positions: (N, 3) LPS mm of the first voxel of each, in order. orientation: (2, 3), the directions of i and j.

    Raises:
        InputError: they lie at one position, are sheared, missing or unevenly spaced.
    """
    along = (positions - positions[0]) @ np.cross(*orientation)
    steps = np.abs(np.diff(along))
    if steps.min() < _SAME_POSITION_MM:
        raise InputError(
            f"{path}: several DICOM {what} lie at one position (a series over time?); export a single phase"
        )
    aside = np.linalg.norm((positions - positions[0]) @ orientation.T, axis=1).max()
    if aside > max(_SHEAR_MM, _SHEAR_SHARE * abs(along[-1])):
        raise InputError(
            f"{path}: the DICOM {what} are sheared (gantry tilt); resample the scan to a straight grid first"
        )
    even = np.linspace(along[0], along[-1], len(along))
    worst = float(np.abs(along - even).max())
    usual = np.median(steps)
    if worst > _MISSING_SHARE * usual or steps.max() > (1 + _MISSING_SHARE) * usual:
        raise InputError(
            f"{path}: DICOM {what} are missing or unevenly spaced (off by {worst:.1f} mm); export the complete series"
        )
    warnings = []
    if worst > _UNEVEN_MM:
        warnings.append(f"{path}: the DICOM {what} are unevenly spaced, by up to {worst:.1f} mm")
    if aside > _UNEVEN_MM:
        degrees = np.degrees(np.arctan2(aside, abs(along[-1])))
        warnings.append(
            f"{path}: the DICOM {what} are sheared by {degrees:.1f} degrees (gantry tilt); they were stacked straight, "
            f"which displaces the last one by {aside:.1f} mm"
        )
    return warnings
