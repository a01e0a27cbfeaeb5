"""Print what `same_patient.py` measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.console import table, title

Row = dict[str, Any]  # of one pair and one preset, as it stands in the file

# Errors below it count as no worse than the best translation: where nothing moves, that has no error at all.
STILL_MM = 0.3


def line(row: Row) -> str:
    """Return one line about a pair."""
    error, translation = row["error"], row["translation"]
    lung = "    -" if error["lung"] is None else f"{error['lung']:5.2f}"
    text = (
        f"{row['key']:<58} translation {translation['mean']:5.2f} / {translation['p95']:5.2f}  "
        f"{row['preset']} {error['mean']:5.2f} / {error['p95']:5.2f} mm  lung {lung}  {row['wall']:5.1f} s"
    )
    return text + (f"  {row['status']}" if "status" in row else "")


def summary(rows: Sequence[Row]) -> None:
    """Print the errors of whole scans and crops, by preset, those of held-back scans apart."""
    title("One patient at two dates: error in mm, mean / 95th percentile")
    head = ["", "preset", "pairs", "best translation", "error", "lung", "worst pair", "worse than translation", "ok"]
    body = []
    for held_back in (False, True):
        for whole in (True, False):
            chosen = [row for row in rows if row["whole"] == whole and row["held_back"] == held_back]
            for preset in dict.fromkeys(row["preset"] for row in chosen):
                name = f"{'whole scans' if whole else 'crops'}{', held back' if held_back else ''}"
                body.append([name, *_cells([row for row in chosen if row["preset"] == preset], preset)])
    table(head, body)


def _cells(rows: Sequence[Row], preset: str) -> list[str]:
    worst = max(rows, key=lambda row: row["error"]["mean"])
    lungs = [row["error"]["lung"] for row in rows if row["error"]["lung"] is not None]
    worse = sum(row["error"]["mean"] > max(row["translation"]["mean"], STILL_MM) for row in rows)
    judged = [row["status"] for row in rows if "status" in row]
    return [
        preset,
        str(len(rows)),
        _both(rows, "translation"),
        _both(rows, "error"),
        f"{np.mean(lungs):.2f}" if lungs else "-",
        f"{worst['error']['mean']:.2f} / {max(row['error']['p95'] for row in rows):.2f}",
        str(worse),
        f"{judged.count('ok')} of {len(judged)}" if judged else "-",
    ]


def _both(rows: Sequence[Row], name: str) -> str:
    return f"{np.mean([row[name]['mean'] for row in rows]):.2f} / {np.mean([row[name]['p95'] for row in rows]):.2f}"
