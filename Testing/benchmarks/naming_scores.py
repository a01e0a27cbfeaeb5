"""Score the structures that the network names in one scan: Dice, vertebra levels, false naming, the mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.scores import interval
from pddnet.features.label_table import BONES, LEVELS, NUMBER, SOFT, STRUCTURES
from pddnet.features.semantic_net import SemanticNet, probabilities
from pddnet.tensor.convert import to_array

FEWEST_VOXELS = 20  # of a structure that counts
FIRST_VERTEBRA = NUMBER[f"vertebra_{LEVELS[0]}"]


def scores(
    net: SemanticNet, values: torch.Tensor, structures: np.ndarray, foreign: np.ndarray | None = None
) -> dict[str, Any]:
    """Name the structures of a scan, and of its mirror image, and compare with the truth.

    Args:
        values: (3, D, H, W) as `Scan.values`. structures: (D, H, W) numbers, -1 where unknown.
        foreign: (D, H, W) bool, where there is pathology that is none of the structures; None where nobody knows.

    Returns:
        dice: by structure; organs, bones, vertebrae: its means, None without any; level_errors: see `level_errors`;
        level: share of the vertebrae whose level is right; false: share of what is named that is none of the
        structures; foreign: share of the foreign voxels that are named; mirrored: how much is named of the mirror
        image, by probability, over that of the scan.
    """
    found = probabilities(net, values) * values[1]
    best = to_array(found.argmax(0)).astype(np.int64)
    dice = dice_of(best, structures)
    errors = level_errors(best, structures)
    mirrored = probabilities(net, values.flip(-1)) * values[1].flip(-1)
    named = (best > 0) & (structures >= 0)
    return {
        "dice": dice,
        "organs": _mean([dice[name] for name in SOFT if name in dice]),
        "bones": _mean([dice[name] for name in BONES if name in dice]),
        "vertebrae": _mean([value for name, value in dice.items() if name.startswith("vertebra")]),
        "level_errors": errors,
        "level": _mean([float(error == 0) for error in errors]),
        "false": float((named & (structures == 0)).sum() / max(named.sum(), 1)),
        "foreign": _mean((best[foreign] > 0).tolist()) if foreign is not None else None,
        "mirrored": _named(mirrored) / max(_named(found), 1e-6),
    }


def dice_of(best: np.ndarray, structures: np.ndarray) -> dict[str, float]:
    """Compute the Dice of every structure with FEWEST_VOXELS or more in the truth (D, H, W), where that is known."""
    known = structures >= 0
    best = np.where(known, best, -1)
    result = {}
    for number in np.unique(structures[structures > 0]).tolist():
        truth, named = structures == number, best == number
        if truth.sum() >= FEWEST_VOXELS:
            result[STRUCTURES[number]] = float(2 * (truth & named).sum() / (truth.sum() + named.sum()))
    return result


def level_errors(best: np.ndarray, structures: np.ndarray) -> list[int]:
    """Count by how many levels each vertebra of the truth is misnamed; positive: named lower than it is.

    A vertebra's name is that of most of its voxels that are named vertebrae; one without any is left out.
    """
    errors = []
    for number in range(FIRST_VERTEBRA, len(STRUCTURES)):
        truth = structures == number
        named = best[truth]
        named = named[named >= FIRST_VERTEBRA]
        if truth.sum() >= FEWEST_VOXELS and named.size:
            errors.append(int(np.bincount(named).argmax()) - number)
    return errors


def with_interval(values: Sequence[float | None]) -> str:
    """Format the mean of those values that are there, with its interval."""
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return "-"
    low, high = interval(np.mean, known)
    return f"{known.mean():.3f} ({low:.3f} to {high:.3f})"


def paired_differences(before: list[dict[str, Any]], after: list[dict[str, Any]], name: str) -> list[float]:
    """Return after less before of the scans that both have, where both have the score."""
    old = {row["scan"]: row[name] for row in before}
    pairs = [(old.get(row["scan"]), row[name]) for row in after]
    return [new - past for past, new in pairs if past is not None and new is not None]


def _named(found: torch.Tensor) -> float:
    """Sum the probability of what is named, of probabilities (structures, D, H, W)."""
    best, number = found.max(0)
    return float(best[number > 0].sum())


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
