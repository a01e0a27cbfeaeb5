"""List the pairs of a batch: from a table, from a pattern of file names, or from a folder in BIDS order."""

from __future__ import annotations

import csv
import glob
import io
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..io.text_files import read_text

SCANS = ("fixed", "moving")
FILES = (
    *SCANS, "fixed_labels", "moving_labels", "fixed_mask", "moving_mask",
    "fixed_points", "moving_points", "initial_transform",
)  # fmt: skip
SERIES = ("fixed_series", "moving_series")
COLUMNS = (*FILES, *SERIES, "id")
_LONGEST = 100  # letters of an id
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENDING = re.compile(r"(\.nii|\.nrrd|\.nhdr|\.mha|\.mhd|\.dcm|\.img|\.hdr)?(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """Two scans to register.

    Attributes:
        id: name of the pair's folder.
        files: absolute paths by the names of FILES; fixed and moving are always there.
        series: which DICOM series of a folder, by the names of SERIES.
    """

    id: str
    files: dict[str, str]
    series: dict[str, str]


def from_table(path: Path) -> list[Pair]:
    """Read a CSV file with the columns fixed, moving and any other of COLUMNS; paths are relative to its folder.

    Raises:
        InputError: a column is missing or unknown, or a row lacks a scan.
    """
    rows = csv.DictReader(io.StringIO(read_text(path)))
    columns = [name.strip().lower() for name in rows.fieldnames or ()]
    if missing := [name for name in SCANS if name not in columns]:
        raise InputError(f"{path}: there is no column {' and '.join(missing)}; the first line names the columns")
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise InputError(f"{path}: there is no column '{unknown[0]}'; known are {', '.join(COLUMNS)}")
    pairs, given = [], []
    for values in rows:
        row = {
            name: (values[column] or "").strip() for name, column in zip(columns, rows.fieldnames or (), strict=True)
        }
        if not any(row.values()):
            continue
        if absent := [name for name in SCANS if not row[name]]:
            raise InputError(f"{path}, line {rows.line_num}: the {absent[0]} scan is missing; fill in its path")
        files = {name: os.path.abspath(path.parent / row[name]) for name in FILES if row.get(name)}
        pairs.append(Pair("", files, {name: row[name] for name in SERIES if row.get(name)}))
        given.append(row.get("id", ""))
    return named(pairs, given)


def from_pattern(fixed: Path, pattern: str) -> list[Pair]:
    """Pair one fixed scan with everything that a pattern such as 'scans/*/ct.nii.gz' finds, but itself.

    Raises:
        InputError: it finds nothing.
    """
    found = [path for path in sorted(glob.glob(pattern, recursive=True)) if not _is_same(path, fixed)]
    if not found:
        raise InputError(f"{pattern}: no file or folder fits; correct the pattern, and keep it in quotes")
    return named([_pair(fixed, path) for path in found])


def from_bids(folder: Path, suffix: str, fixed: Path | None = None) -> list[Pair]:
    """Pair the scans of a folder in BIDS order: all with `fixed`, or those of each subject with its first one.

    suffix: end of the names of the scans, such as ct for sub-01_ses-02_ct.nii.gz.

    Raises:
        InputError: there are no such scans, or no subject has two.
    """
    scans = sorted(
        path for path in folder.glob("sub-*/**/*") if path.name.endswith((f"_{suffix}.nii.gz", f"_{suffix}.nii"))
    )
    if not scans:
        raise InputError(f"{folder}: there are no files sub-*/**/*_{suffix}.nii.gz; give --bids-suffix, or a table")
    first: dict[str, Path] = {}
    pairs = []
    for scan in scans:
        base = fixed or first.setdefault(scan.relative_to(folder).parts[0], scan)
        if not _is_same(scan, base):
            pairs.append(_pair(base, scan))
    if not pairs:
        raise InputError(f"{folder}: no subject has two scans _{suffix}; give --fixed to register all to one scan")
    return named(pairs)


def named(pairs: Sequence[Pair], given: Iterable[str] = ()) -> list[Pair]:
    """Give every pair its name: the one that is given, or the moving scan's, as long as it needs to be to differ.

    Raises:
        InputError: a given name is no name of a folder, or is given twice.
    """
    names = list(given) or [""] * len(pairs)
    chosen = short_names([pair.files["moving"] for pair in pairs])
    if len(set(map(str.lower, chosen))) < len(chosen):  # a moving scan that is registered to several
        fixed = short_names([pair.files["fixed"] for pair in pairs])
        chosen = [_fitted(f"{moving}_to_{base}") for moving, base in zip(chosen, fixed, strict=True)]
    names = [name or other for name, other in zip(names, chosen, strict=True)]
    taken: set[str] = set()
    for name in names:
        if not _ID.fullmatch(name) or len(name) > _LONGEST:
            raise InputError(
                f"'{name}': a pair's id is its folder's name; use up to {_LONGEST} letters, digits and . _ -"
            )
        if name.lower() in taken:
            raise InputError(f"'{name}': two pairs have this id; give each its own in a column 'id'")
        taken.add(name.lower())
    return [Pair(name, pair.files, pair.series) for name, pair in zip(names, pairs, strict=True)]


def stem(path: str | Path) -> str:
    """Return the name of a scan without its ending: a of a.nii.gz."""
    name = Path(path).name
    return _ENDING.sub("", name) or name


def _pair(fixed: str | Path, moving: str | Path) -> Pair:
    return Pair("", {"fixed": os.path.abspath(fixed), "moving": os.path.abspath(moving)}, {})


def _is_same(path: str | Path, other: str | Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def short_names(paths: Sequence[str]) -> list[str]:
    """Name scans by their files, with as many of their folders before as it takes to tell them apart.

    Names have letters, digits and . _ - only. Those that would be the same for all that, as of 心.nii and 肝.nii or of
    a.nii and A.nii, end with a checksum of the path.
    """
    different = len(set(paths))
    found: list[str] = []
    for depth in range(1, max((len(Path(path).parts) for path in paths), default=1) + 1):
        names = [_clean("_".join((*Path(path).parts[-depth:-1], stem(path)))) for path in paths]
        if len(set(map(str.lower, names))) > len(set(map(str.lower, found))):
            found = names
        if len(set(map(str.lower, found))) == different:
            return found
    shared = Counter(name.lower() for name, _ in set(zip(found, paths, strict=True)))
    pairs = zip(found, paths, strict=True)
    return [_with_checksum(name, path) if shared[name.lower()] > 1 else name for name, path in pairs]


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[-_LONGEST:].strip("._-") or "scan"


def _fitted(name: str) -> str:
    return name if len(name) <= _LONGEST else _with_checksum(name, name)


def _with_checksum(name: str, of: str) -> str:
    checksum = f"-{zlib.crc32(os.fsencode(of)):08x}"
    return name[: _LONGEST - len(checksum)] + checksum
