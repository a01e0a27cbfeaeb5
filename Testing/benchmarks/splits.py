"""Which scans and label maps were held back, and from what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPLITS = Path(__file__).with_name("splits.json")


def splits(part: str) -> dict[str, Any]:
    """Return the names of the scans by their use; part is "ct", "same_patient" or, for label maps, "anatomy"."""
    found: dict[str, Any] = json.loads(SPLITS.read_text(encoding="utf-8"))[part]
    return found
