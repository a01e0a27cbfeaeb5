"""Run the alignment alone on crops with a known common part: count those within 25 mm, and judge the verdict on misses.

The goal is set for the 50 crops of one patient, whose true map is known. The 18 of two people are judged by landmarks;
no affine map brings all of these together.

Usage: PYTHONPATH=Testing python -m benchmarks.alignment_crops [--only N N ...] [--threads N] [--no-verdict]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.console import line, table, title
from benchmarks.crops import COUNTS, Crops, all_crops
from benchmarks.validation_pairs import data_folder
from pddnet import pipeline
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.matching import alignment
from pddnet.matching.affine_search import Candidate
from pddnet.matching.deformation import Deformation
from pddnet.process import wait_passively

LIMIT_MM, GOAL = 25.0, 0.95  # GOAL: share of the crops
HALF_A_LEVEL_MM = 10.0  # vertebrae are 24 mm apart and more, crops scaled to 0.85 at the least
PRESET = "default"


@dataclass(frozen=True)
class Outcome:
    """The result of the alignment of one pair of crops.

    score and peak_ratio are the chosen candidate's; best_mm and best_score are those of the candidate of least error.
    """

    crops: Crops
    error_mm: float  # median distance at the common points
    head_foot_mm: float  # median error along head-foot, with its sign
    score: float
    peak_ratio: float
    best_mm: float
    best_score: float
    seconds: float

    @property
    def hit(self) -> bool:
        """Whether the error is within LIMIT_MM and, where the map is known, the alignment is on the right vertebra."""
        known = self.crops.names[0] == self.crops.names[1]
        right_level = not known or abs(self.head_foot_mm) <= HALF_A_LEVEL_MM
        return self.error_mm <= LIMIT_MM and right_level


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of single crops")
    parser.add_argument("--threads", type=int, help="torch's threads")
    parser.add_argument("--no-verdict", action="store_true", help="do not register the misses for their verdict")
    args = parser.parse_args()
    wait_passively()
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    if data_folder() is None:
        print("the real scans are not here (set PDDNET_DATA to their folder): only virtual patients are cropped")
    outcomes = []
    for number, crops in all_crops(args.only):
        outcomes.append(align(crops))
        print(_line(number, outcomes[-1]), flush=True)
    _summary(outcomes)
    misses = [outcome for outcome in outcomes if not outcome.hit]
    if misses and not args.no_verdict:
        _verdicts(misses)
    return 0


class _Aligned(Exception):
    """Leaves the pipeline where the deformation begins, with what it would start from."""

    def __init__(self, affine: Affine, box: Grid) -> None:
        super().__init__()
        self.affine, self.box = affine, box


def align(crops: Crops) -> Outcome:
    """Run the pipeline until the deformation begins: nothing of the alignment is copied here."""
    found: list[Candidate] = []
    search = alignment.align

    def watched(*args: Any, **options: Any) -> list[Candidate]:
        found.extend(search(*args, **options))
        return list(found)

    def leave(deformation: Deformation, affine: Affine, start: object) -> None:
        raise _Aligned(affine, deformation.prepared[0].box)

    start = time.perf_counter()
    with patch.object(alignment, "align", watched), patch.object(Deformation, "run", leave):
        try:
            pipeline.register(crops.fixed, crops.moving, PRESET)
        except _Aligned as reached:
            affine, box = reached.affine, reached.box
    seconds = time.perf_counter() - start
    candidates = [(errors(crops, candidate.affine)[0], candidate.score) for candidate in found]
    best_mm, best_score = min(candidates, default=(np.inf, 0.0))
    error_mm, head_foot_mm = errors(crops, affine)
    score = found[0].score if found else 0.0
    ratio = alignment.Alignment(affine, found).peak_ratio(box)
    return Outcome(crops, error_mm, head_foot_mm, score, ratio, best_mm, best_score, seconds)


def errors(crops: Crops, affine: Affine) -> tuple[float, float]:
    """Return the median distance at the common points and the median error along head-foot, both in mm."""
    gap = affine.points(crops.fixed_points) - crops.moving_points
    return float(np.median(np.linalg.norm(gap, axis=-1))), float(np.median(gap @ crops.spine))


def _line(number: int, o: Outcome) -> str:
    c = o.crops
    names = c.names[0] if c.names[0] == c.names[1] else " / ".join(c.names)
    miss = "" if o.hit else f"  MISS (best candidate {o.best_mm:.0f} mm, score {o.best_score:.2f})"
    return (
        f"{number:2d} {c.kind:<14} {names:<38} overlap {c.overlap_mm:3.0f} mm, {c.pose:<32} error {o.error_mm:5.1f} "
        f"along {o.head_foot_mm:+6.1f} mm, score {o.score:.2f}, peak ratio {o.peak_ratio:.2f}, {o.seconds:.1f} s{miss}"
    )


def _summary(outcomes: list[Outcome]) -> None:
    title("alignment alone")
    rows = []
    for kind in (*COUNTS, "all"):
        part = [o for o in outcomes if kind in (o.crops.kind, "all")]
        if part:
            hits = sum(o.hit for o in part)
            middle = np.median([o.error_mm for o in part])
            along = np.median([abs(o.head_foot_mm) for o in part])
            percent = f"{100 * hits / len(part):.0f} %"
            rows.append((kind, str(len(part)), str(hits), percent, f"{middle:.1f}", f"{along:.1f}"))
    table(("crops", "n", f"within {LIMIT_MM:.0f} mm", "share", "median error mm", "along head-foot mm"), rows)
    seconds = np.median([o.seconds for o in outcomes]) if outcomes else 0.0
    line("seconds (median)", f"{seconds:.1f}")
    known = [o for o in outcomes if o.crops.kind.endswith("same")]
    if known:
        share = sum(o.hit for o in known) / len(known)
        reached = "reached" if share >= GOAL else "MISSED"
        line("goal, one patient", f"{GOAL:.0%} within {LIMIT_MM:.0f} mm: {reached} ({share:.0%} of {len(known)})")


def _verdicts(misses: list[Outcome]) -> None:
    """Print the verdict of the whole registration on the crops that the alignment missed."""
    title("verdict of the whole registration on the misses")
    for o in misses:
        result = pipeline.register(o.crops.fixed, o.crops.moving, PRESET)
        gap = result.field.transform_points(o.crops.fixed_points) - o.crops.moving_points
        after = np.median(np.linalg.norm(gap, axis=-1))
        verdict = result.verdict
        print(
            f"{' / '.join(o.crops.names)}: alignment {o.error_mm:.0f} mm, at the end {after:.0f} mm: {verdict.status}"
            f" (risk {verdict.risk:.2f}) {'; '.join(verdict.reasons)}"
        )


if __name__ == "__main__":
    sys.exit(main())
