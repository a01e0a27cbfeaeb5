"""Report a segmentation by atlases: volumes, where the atlases disagree, and what Dice to expect of each organ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.result import Progress
from ..errors import InputError
from ..evaluation.metrics import dice
from ..io.atlas_folder import AtlasFiles
from ..io.common_labels import CommonLabels
from ..io.volumes import read_volume
from .segment import Segmentation, segment
from .warped_atlas import RegistrationSettings, Target

Row = dict[str, Any]
"""What is known of one label: label, name, volume_ml, probability, disagreement, expected_dice, cases."""


def label_rows(found: Segmentation, name_of: Callable[[int], str]) -> list[Row]:
    """Measure every label: its volume, and the means of probability and disagreement over its voxels."""
    numbers = found.numbers
    count = max(numbers, default=0) + 1
    voxels, probability, disagreement = np.zeros(count), np.zeros(count), np.zeros(count)
    for labels, share, others in zip(
        found.fused.labels, found.fused.probability, found.fused.disagreement, strict=True
    ):
        flat = labels.ravel()
        voxels += np.bincount(flat, minlength=count)
        probability += np.bincount(flat, share.ravel(), count)
        disagreement += np.bincount(flat, others.ravel(), count)
    millilitres = float(found.target.grid.spacing.prod()) / 1000
    return [
        {
            "label": number,
            "name": name_of(number),
            "volume_ml": float(voxels[number] * millilitres),
            "probability": _mean(probability[number], voxels[number]),
            "disagreement": _mean(disagreement[number], voxels[number]),
            "expected_dice": None,
            "cases": 0,
        }
        for number in numbers
    ]


def leave_one_out(
    atlases: Sequence[AtlasFiles], common: CommonLabels, settings: RegistrationSettings, method: str,
    progress: Progress, *, most: int | None = None,
) -> tuple[dict[int, list[float]], list[str]]:  # fmt: skip
    """Segment each atlas by the others; return the Dice coefficients of each label, and warnings.

    A label that an atlas has and the fused map lacks counts as 0; one that neither has does not count.

    An atlas that the others cannot segment is a warning.

    Raises:
        Cancelled, MemoryError: as for `registration.register`.
    """
    found: dict[int, list[float]] = {}
    warnings: list[str] = []
    for done, left in enumerate(atlases):
        others = [atlas for atlas in atlases if atlas is not left]

        def part(fraction: float, stage: str, done: int = done, name: str = left.name) -> None:
            progress((done + fraction) / len(atlases), f"{name} by {stage}")

        try:
            scan, _ = read_volume(left.scan)
            truth, _ = common.read(left.labels, scan.grid)
            fused = segment(Target(scan, str(left.scan), settings), others, common, method, part, most=most)
        except InputError as error:
            warnings.append(f"leave-one-out: {error}")
            continue
        for number in np.unique(truth.array[truth.array > 0]).tolist():
            found.setdefault(number, []).append(dice(truth.array == number, fused.fused.labels == number) or 0.0)
    return found, warnings


def with_expected_dice(rows: Sequence[Row], dice_of: dict[int, list[float]]) -> list[Row]:
    """Add the mean Dice of leave-one-out to the rows, and over how many atlases it was taken."""
    return [
        {**row, "expected_dice": float(np.mean(known)), "cases": len(known)}
        if (known := dice_of.get(row["label"]))
        else row
        for row in rows
    ]


def format_rows(rows: Sequence[Row]) -> str:
    """Write the rows as a table for a console."""
    header = ("label", "name", "ml", "probability", "disagreement", "expected Dice")
    cells = [header, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in cells)
    )


def _cells(row: Row) -> tuple[str, ...]:
    shares = (row[key] for key in ("probability", "disagreement", "expected_dice"))
    return (
        str(row["label"]),
        row["name"],
        f"{row['volume_ml']:.1f}",
        *("-" if x is None else f"{x:.2f}" for x in shares),
    )


def _mean(total: float, count: float) -> float | None:
    return float(total / count) if count else None
