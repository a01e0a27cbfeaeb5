"""How far the organs of a real pair come to lie on each other, where both scans have been outlined."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from benchmarks.validation_pairs import REPOSITORY, data_folder
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
LEAST = 0.1  # share of an organ that the map must leave within the moving view; with less its Dice is zero


@lru_cache(maxsize=9)
def outlines(name: str) -> Image | None:
    """Structure numbers of a real scan on its own grid, UNKNOWN where nobody knows; None without outlines."""
    own, drawn = (folder / name / "labels.nii.gz" for folder in (data_folder() / "ct", OUTLINES))
    path = own if own.exists() else drawn
    if not path.exists():
        return None
    grid = read_volume(data_folder() / "ct" / name / "ct.nii.gz")[0].grid
    names = label_names.find_names(OUTLINES / name, OUTLINES)
    labels = read_labels(path, grid)[0].canonical()
    numbers = np.zeros(256, np.uint8)
    for label, text in names.items():
        numbers[label] = UNKNOWN if text == label_names.UNKNOWN else NUMBER.get(structure_of(text) or "", 0)
    return Image(numbers[labels.array], labels.grid)


def organ_dice(fixed: Image, moving: Image, field: DisplacementField) -> dict[str, float]:
    """Dice of every organ outlined in both, where the moving scan shows something and neither is unknown.

    Args:
        fixed, moving: structure numbers as `outlines` gives them. field: fixed to moving points.
    """
    seen = Image(np.ones(moving.array.shape, np.uint8), moving.grid)
    carried, shown = (image.resample(fixed.grid, field.to_sitk(), labels=True).array for image in (moving, seen))
    known = (shown > 0) & (fixed.array != UNKNOWN) & (carried != UNKNOWN)
    found = {}
    for name in ORGANS:
        number = NUMBER[name]
        whole = fixed.array == number
        if not whole.any() or not (moving.array == number).any():
            continue
        here, there = whole & known, (carried == number) & known
        lost = here.sum() < LEAST * whole.sum()
        found[name] = 0.0 if lost else float(2 * (here & there).sum() / max(here.sum() + there.sum(), 1))
    return found
