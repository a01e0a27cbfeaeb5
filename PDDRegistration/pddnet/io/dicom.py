"""DICOM folders: finds the slices of one series, in order, and checks that they make a regular volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .dicom_series import check_alike, prefer_ct
from .paths import itk_name, name_of

_POSITION, _ORIENTATION, _DESCRIPTION = "0020|0032", "0020|0037", "0008|103e"
_SAME_POSITION_MM = 1e-3  # slices nearer to each other lie at one position
_SHEAR_MM, _SHEAR_SHARE = 1.0, 0.01  # a sheared stack moves aside by more than this, also as a share of its length
_MISSING_SHARE = 0.5  # of the usual step: a slice farther from its even position means that others are missing
_UNEVEN_MM = 0.1  # farther from its even position, a slice deserves a warning


def find_series(folder: Path) -> tuple[list[Path], list[str]]:
    """Find the files of the folder's series, sorted along the slice axis, and return them with warnings.

    Series of a single file (scouts, reports) do not count. Of several, CT is preferred, and of these the one with most
    slices is taken, with a warning; two of equal length are refused, because a guess could take the wrong phase.

    Raises:
        InputError: there is no series, the choice is not clear, or the slices do not make a regular volume.
    """
    series, chosen = prefer_ct(folder, _list_series(folder), _header)
    if not series:
        raise InputError(
            f"{folder}: the folder holds no DICOM series; give the folder with the slices, or an image file"
        )
    volumes = sorted((files for files in series if len(files) > 1), key=len, reverse=True)
    if not volumes:
        if len(series) == 1:
            return series[0], []  # an enhanced multi-frame file, perhaps: reading it will tell
        raise InputError(
            f"{folder}: the folder holds {len(series)} DICOM series of one slice each; give the folder of a 3-D series"
        )
    names = [f"{_describe(files[0])} ({len(files)} slices)" for files in volumes]
    if len(volumes) > 1 and len(volumes[0]) == len(volumes[1]):
        raise InputError(
            f"{folder}: the folder holds several DICOM series, {', '.join(names)}; give a folder with just one"
        )
    warnings = chosen
    if len(volumes) > 1:
        warnings.append(f"{folder}: the largest DICOM series was taken, {names[0]}; left out: {', '.join(names[1:])}")
    return volumes[0], warnings + _check_slices(folder, volumes[0])


def _list_series(folder: Path) -> list[list[Path]]:
    for recursive in (False, True):  # exports often keep each series in a folder of its own
        found = []
        folders = [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())] if recursive else [folder]
        for place in folders:
            opened = itk_name(place)
            for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(opened):
                names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(opened, uid)
                found.append([place / name_of(name) for name in names])
        if found:
            return found
    return []


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
    if not all(reader.HasMetaDataKey(_POSITION) and reader.HasMetaDataKey(_ORIENTATION) for reader in readers):
        return [f"{folder}: the DICOM slices do not say where they lie; their order and spacing are a guess"]
    positions = np.array([_numbers(reader, _POSITION) for reader in readers])
    orientation = np.array(_numbers(readers[0], _ORIENTATION)).reshape(2, 3)
    along = (positions - positions[0]) @ np.cross(*orientation)
    steps = np.abs(np.diff(along))
    if steps.min() < _SAME_POSITION_MM:
        raise InputError(
            f"{folder}: several DICOM slices lie at one position (a series over time?); export a single phase"
        )
    aside = np.linalg.norm((positions - positions[0]) @ orientation.T, axis=1).max()
    if aside > max(_SHEAR_MM, _SHEAR_SHARE * abs(along[-1])):
        raise InputError(
            f"{folder}: the DICOM slices are sheared (gantry tilt); resample the scan to a straight grid first"
        )
    even = np.linspace(along[0], along[-1], len(along))
    worst = float(np.abs(along - even).max())
    if worst > _MISSING_SHARE * np.median(steps):
        raise InputError(
            f"{folder}: DICOM slices are missing or unevenly spaced (off by {worst:.1f} mm); export the complete series"
        )
    if worst > _UNEVEN_MM:
        return [f"{folder}: the DICOM slices are unevenly spaced, by up to {worst:.1f} mm"]
    return []
