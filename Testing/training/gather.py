"""Lay out the data that the bundled weights were trained on under .data/, by links to the real scans (PDDNET_DATA).

Usage: PYTHONPATH=Testing python -m training.gather

Makes .data/anatomy (label maps), .data/validation (the labelled scan) and .data/outlined/train and test (scans with the
outlines of Testing/labels; test are the held-back ones, for `pddnet compare` alone). From the fourth run on:
.data/labelled/train and test (all with outlines or labels of their own) and .data/choose (which chooses the weights).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.splits import splits
from benchmarks.validation_labels import OUTLINES, label_files
from benchmarks.validation_pairs import REPOSITORY, data_folder


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    data = data_folder()
    if data is None:
        print("the real scans are not here: set PDDNET_DATA to their folder")
        return 1
    lay_out(data, REPOSITORY / ".data")
    return 0


def lay_out(data: Path, target: Path) -> None:
    """Link the real scans and label maps, with their outlines, into folders by the split that they belong to."""
    for path in sorted((data / "anatomy").iterdir()):
        _link(path, target / "anatomy" / path.name)
    scans = splits("ct")
    for name in scans["validation"]:
        _case(data, name, target / "validation" / name)
    for name in (*scans["validation"], *scans["tune"]):
        _case(data, name, target / "outlined" / "train" / name)
    for name in scans["held_back"]:
        if (OUTLINES / name).exists():
            _case(data, name, target / "outlined" / "test" / name)
    for name in scans["choose"]:
        _case(data, name, target / "choose" / name)
    for name in (*scans["validation"], *scans["tune"], *scans["train"]):
        _case(data, name, target / "labelled" / "train" / name)
    for name in scans["held_back"]:
        if label_files(data / "ct" / name):
            _case(data, name, target / "labelled" / "test" / name)


def _case(data: Path, name: str, folder: Path) -> None:
    """Link a scan, its landmarks, and its label map with names."""
    scan = data / "ct" / name
    _link(scan / "ct.nii.gz", folder / "ct.nii.gz")
    if (scan / "landmarks.csv").exists():
        _link(scan / "landmarks.csv", folder / "landmarks.csv")
    for file in label_files(scan):
        _link(file, folder / file.name)


def _link(source: Path, place: Path) -> None:
    """Link to a file; only a link is ever replaced, and nothing is written in the source's own folder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.parent.resolve() == source.parent.resolve():
        return  # the folder is itself a link to the source's: removing the place would remove the source
    if place.is_symlink():
        place.unlink()
    if place.exists():
        raise SystemExit(f"{place}: is a file of its own; move it away, links to {source.parent} go there")
    place.symlink_to(source.resolve())


if __name__ == "__main__":
    sys.exit(main())
