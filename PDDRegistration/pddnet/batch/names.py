"""Name the files of a pair after BIDS derivatives: from-MOVING_to-FIXED_mode-image_xfm.h5 and its companions."""

from __future__ import annotations

import re
from pathlib import Path

from .pairs import SCANS, Pair, short_names

REPORT = "report.json"
PREVIEW = "preview.png"
PAGE = "report.html"
MOTION = "motion.csv"
_LONGEST = 50  # characters of a label


def transform_name(pair: Pair) -> str:
    """Return the name of the transform: it resamples the image of the moving scan on the fixed one."""
    fixed, moving = labels(pair)
    return f"from-{moving}_to-{fixed}_mode-image_xfm.h5"


def sidecar_name(pair: Pair) -> str:
    """Return the name of the JSON file of the transform."""
    return Path(transform_name(pair)).with_suffix(".json").name


def warped_name(pair: Pair) -> str:
    """Return the name of the moving scan on the grid of the fixed one."""
    fixed, moving = labels(pair)
    return f"desc-{moving}_space-{fixed}_ct.nii.gz"


def warped_labels_name(pair: Pair) -> str:
    """Return the name of the moving label map on the grid of the fixed scan."""
    fixed, moving = labels(pair)
    return f"desc-{moving}_space-{fixed}_dseg.nii.gz"


def labels(pair: Pair) -> tuple[str, str]:
    """Return short names of the fixed and the moving scan, of letters and digits only as BIDS wants them."""
    names = short_names([pair.files[side] for side in SCANS])
    fixed, moving = (re.sub(r"[^A-Za-z0-9]", "", name)[-_LONGEST:] for name in names)
    return (fixed, moving) if fixed and moving and fixed != moving else ("fixed", "moving")
