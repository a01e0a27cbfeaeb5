"""Define the common label table: the structures that the semantic network segments, and their names in data sets.

Left and right are one structure: a displacement search of a few centimetres never crosses the body. Vertebrae are
separate structures, by level.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LEVELS = (*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)))
SOFT = (
    "spleen", "kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta", "vena_cava", "portal_vein",
    "pancreas", "adrenal_gland", "bladder", "psoas", "heart", "lung", "colon", "small_bowel", "erector_spinae",
    "gluteus",
)  # fmt: skip
PAIRED = ("kidney", "adrenal_gland", "psoas", "lung", "erector_spinae", "gluteus", "rib", "hip", "femur")
BONES = ("rib", "sternum", "sacrum", "hip", "femur")
STRUCTURES = (
    "background",
    *SOFT,
    *BONES,
    *(f"vertebra_{level}" for level in LEVELS),
)  # the number of a structure is its position here
NUMBER = {name: number for number, name in enumerate(STRUCTURES)}

# The first pattern found in a lower-case name gives its structure; "": a structure that the table does not contain.
_PATTERNS = tuple(
    (re.compile(pattern), structure)
    for pattern, structure in (
        (r"disc|spinal_cord|canal|artery|arteries|renal_vein|renal_pelvis|hepatic_vein|iliac_ve|skin|body", ""),
        (r"spleen", "spleen"),
        (r"kidney", "kidney"),
        (r"gall_?bladder", "gallbladder"),
        (r"esophagus", "oesophagus"),  # and oesophagus
        (r"liver", "liver"),
        (r"stomach", "stomach"),
        (r"aorta|^arota$", "aorta"),  # as AMOS spells it
        (r"vena_cava_sup|superior_vena", ""),
        (r"vena_cava|post_?cava|(?:^|_)ivc(?:_|$)", "vena_cava"),
        (r"portal|splenic_vein", "portal_vein"),
        (r"pancreas", "pancreas"),
        (r"adrenal|suprarenal", "adrenal_gland"),
        (r"bladder", "bladder"),
        (r"psoas", "psoas"),
        (r"heart|atrial", "heart"),
        (r"lung", "lung"),
        (r"colon|large_(?:bowel|intestine)", "colon"),  # bowel alone may be either, or both
        (r"small_(?:bowel|intestine)|duodenum|ileum|jejunum", "small_bowel"),
        (r"autochthon|erector", "erector_spinae"),
        (r"gluteus", "gluteus"),
        (r"costal_cart|sternum", "sternum"),
        (r"(?:^|_)ribs?(?:_|\d|$)", "rib"),
        (r"sacrum|vertebrae?_s1", "sacrum"),
        (r"(?:^|_)hip(?:_|$)|^pelvis", "hip"),
        (r"femur", "femur"),
    )
)
_VERTEBRA = re.compile(r"(?:vertebrae?_|thoracic_?|lumbar_?)([tl]?)(\d+)$")

# Names that, together, only the maps of the TotalSegmentator data set v2 have: its authors looked for all of the table.
_OF_COMPLETE_MAPS = ("autochthon", "spinal_cord")


def told_apart(names: Iterable[str], present: frozenset[int]) -> frozenset[int]:
    """Return the structures (numbers) that a label map tells apart: those present, or all where all were looked for.

    Args:
        names: the names of its labels.
        present: the structures with a voxel in it.
    """
    text = " ".join(names).lower()
    complete = all(part in text for part in _OF_COMPLETE_MAPS)
    return frozenset(range(1, len(STRUCTURES))) if complete and present else present


def structure_of(name: str) -> str | None:
    """Return the structure of the common table that a label name means; None where there is none.

    Understands the names of the TotalSegmentator, AMOS and BTCV data sets, the SPL abdominal atlas, the HuBMAP
    reference organs and this project's virtual patients.
    """
    name = re.sub(r"[\s\-]+", "_", name.strip().lower())
    if vertebra := _VERTEBRA.match(name):
        level = (vertebra[1] or name[0]).upper() + vertebra[2]
        return f"vertebra_{level}" if level in LEVELS else None
    for pattern, structure in _PATTERNS:
        if pattern.search(name):
            return structure or None
    return None
