"""Measure the Dice of the organs of a real pair, where both scans have been outlined."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.validation_pairs import REPOSITORY, real_folder
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.features.label_table import NUMBER, structure_of
from pddnet.io import label_names
from pddnet.io.volumes import read_labels, read_volume

OUTLINES = REPOSITORY / "Testing" / "labels"
ORGANS = (
    "spleen", "kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta", "vena_cava", "portal_vein",
    "pancreas", "adrenal_gland", "bladder", "psoas", "heart", "lung",
)  # fmt: skip
UNKNOWN = 255
LEAST_IN_VIEW = 0.1  # share of an organ that the transform must leave within the moving view, else its Dice is zero


def label_files(scan: Path) -> tuple[Path, ...]:
    """Return the label map of a scan's folder and its names: its own, or this project's; empty without any."""
    drawn = OUTLINES / scan.name
    labels = [path for folder in (scan, drawn) if (path := folder / "labels.nii.gz").exists()]
    names = [path for folder in (scan, drawn, OUTLINES) if (path := folder / "labels.json").exists()]
    return (labels[0], names[0]) if labels else ()


@lru_cache(maxsize=9)
def outlines(name: str) -> Image | None:
    """Read the structure numbers of a real scan on its own grid, UNKNOWN where undecided; None without outlines."""
    scan = real_folder(name)
    own, drawn = scan / "labels.nii.gz", OUTLINES / name / "labels.nii.gz"
    path = own if own.exists() else drawn
    if not path.exists():
        return None
    grid = read_volume(scan / "ct.nii.gz")[0].grid
    names = label_names.find_names(OUTLINES / name, OUTLINES)
    labels = read_labels(path, grid)[0].canonical()
    numbers = np.zeros(256, np.uint8)
    for label, text in names.items():
        numbers[label] = UNKNOWN if text == label_names.UNKNOWN else NUMBER.get(structure_of(text) or "", 0)
    return Image(numbers[labels.array], labels.grid)


def organ_dice(fixed: Image, moving: Image, field: DisplacementField) -> dict[str, float]:
    """Return the Dice of every organ outlined in both, within the moving scan's view and where neither is unknown.

    Args:
        fixed, moving: structure numbers as `outlines` gives them. field: fixed to moving points.
    """
    view = Image(np.ones(moving.array.shape, np.uint8), moving.grid)
    warped, in_view = (image.resample(fixed.grid, field.to_sitk(), labels=True).array for image in (moving, view))
    known = (in_view > 0) & (fixed.array != UNKNOWN) & (warped != UNKNOWN)
    found = {}
    for name in ORGANS:
        number = NUMBER[name]
        whole = fixed.array == number
        if not whole.any() or not (moving.array == number).any():
            continue
        fixed_organ, moving_organ = whole & known, (warped == number) & known
        lost = fixed_organ.sum() < LEAST_IN_VIEW * whole.sum()
        found[name] = 0.0 if lost else dice(fixed_organ, moving_organ)
    return found


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Dice of two masks of one shape; 0 where both are empty."""
    return float(2 * (first & second).sum() / max(first.sum() + second.sum(), 1))
