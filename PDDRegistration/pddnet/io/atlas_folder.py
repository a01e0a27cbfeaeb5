"""Find the atlases of a folder: scans with their label maps, by their names. torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .paths import check_path

RULE = "NAME.nii.gz with NAME_labels.nii.gz or NAME.seg.nrrd, or folders NAME with ct.nii.gz and labels.nii.gz"
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr")
_LABELS, _SEGMENTS = "_labels", ".seg"
_SCANS_OF_FOLDERS, _LABELS_OF_FOLDERS = ("ct", "scan"), ("labels", "labels.seg", "segmentation.seg")


@dataclass(frozen=True)
class AtlasFiles:
    """A scan and its label map; `name` is unique within the folder."""

    name: str
    scan: Path
    labels: Path


def find_atlases(folder: Path) -> tuple[list[AtlasFiles], list[str]]:
    """Find the atlases of a folder in the order of their names; return them with warnings, see RULE.

    A folder in it that cannot be read, such as lost+found of a disk, is no atlas.

    Raises:
        InputError: it is no folder, has none, a label map has no scan, or it is not clear which one it has.
        OSError: it cannot be read.
    """
    if not check_path(folder).is_dir():
        raise InputError(f"{folder}: this is a file; give a folder of atlases: {RULE}")
    found, lonely = _side_by_side(folder)
    warnings = [f"{path}: has no label map, and is no atlas" for path in lonely]
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        try:
            found += _in_its_own_folder(inner)
        except OSError as error:
            warnings.append(f"{inner}: this folder cannot be read ({error.strerror}), and is no atlas")
    if not found:
        raise InputError(f"{folder}: there is no atlas in this folder; it needs {RULE}")
    names = [atlas.name for atlas in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{folder}: two label maps belong to '{name}'; keep one of them")
    return sorted(found, key=lambda atlas: atlas.name), warnings


def _side_by_side(folder: Path) -> tuple[list[AtlasFiles], list[Path]]:
    """Find label maps beside their scans; return the atlases, and the scans without a label map."""
    scans: dict[str, list[Path]] = {}
    labels: list[tuple[str, Path]] = []
    for path, stem in _images(folder):
        name = stem.removesuffix(_SEGMENTS).removesuffix(_LABELS)
        if name == stem:
            scans.setdefault(name, []).append(path)
        else:
            labels.append((name, path))
    found = [AtlasFiles(name, _only(scans.get(name, []), path), path) for name, path in labels]
    named = {name for name, _ in labels}
    return found, [path for name, paths in scans.items() if name not in named for path in paths]


def _in_its_own_folder(folder: Path) -> list[AtlasFiles]:
    """Find the one atlas of a folder, as `pddnet phantom` writes it."""
    images = list(_images(folder))
    scans = [path for path, stem in images if stem in _SCANS_OF_FOLDERS]
    return [AtlasFiles(folder.name, _only(scans, path), path) for path, stem in images if stem in _LABELS_OF_FOLDERS]


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the images of a folder with their names without the ending, in order."""
    for path in sorted(folder.iterdir()):
        ending = next((each for each in _ENDINGS if path.name.lower().endswith(each)), "")
        if ending and path.is_file() and not path.name.startswith("."):
            yield path, path.name[: -len(ending)]


def _only(scans: list[Path], labels: Path) -> Path:
    if not scans:
        raise InputError(f"{labels}: there is no scan to this label map; atlases are {RULE}")
    if len(scans) > 1:
        raise InputError(f"{labels}: it is not clear to which scan it belongs ({', '.join(p.name for p in scans)})")
    return scans[0]
