"""The alignment alone on crops with a known common part: how many end within 25 mm, and whether a miss is noticed.

The goal is set for the 50 crops of one patient, whose true map is known; the 18 of two people are judged by landmarks,
which no affine map brings together, and are the harder part that users meet.

Usage: python Testing/benchmarks/alignment_crops.py [--only N N ...] [--threads N] [--no-verdict]
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
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
from pddnet.process import wait_passively
from pddnet.tensor.scan import Scan

LIMIT, GOAL = 25.0, 0.95  # mm; share of the crops
HALF_A_LEVEL = 10.0  # mm; vertebrae are 24 mm apart and more, crops scaled to 0.85 at the least
PRESET = "default"


@dataclass(frozen=True)
class Outcome:
    """What the alignment did with one pair of crops; lengths in mm."""

    crops: Crops
    error: float  # median distance at the common points
    along: float  # median error along head-foot, with its sign
    score: float
    peak_ratio: float
    best: float  # the least error among all candidates
    best_score: float
    seconds: float

    @property
    def hit(self) -> bool:
        """Within LIMIT; where the map is known, also on the right vertebra: not half a level off."""
        known = self.crops.names[0] == self.crops.names[1]
        return self.error <= LIMIT and (not known or abs(self.along) <= HALF_A_LEVEL)


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
    """The pipeline has come to the deformation: what it would start from."""

    def __init__(self, affine: Affine, box: Grid) -> None:
        super().__init__()
        self.affine, self.box = affine, box


def align(crops: Crops) -> Outcome:
    """The pipeline as it is, left where the deformation would begin: nothing of the alignment is copied here."""
    found: list[Candidate] = []
    search = alignment.align

    def watched(*args: object, **options: object) -> list[Candidate]:
        found.extend(search(*args, **options))
        return list(found)

    def leave(fixed: Scan, moving: Scan, box: Grid, affine: Affine, *_: object, **__: object) -> None:
        raise _Aligned(affine, fixed.box)

    start = time.perf_counter()
    with patch.object(alignment, "align", watched), patch.object(pipeline, "deform", leave):
        try:
            pipeline.register(crops.fixed, crops.moving, PRESET)
        except _Aligned as reached:
            affine, box = reached.affine, reached.box
    seconds = time.perf_counter() - start
    every = [errors(crops, candidate.affine)[0] for candidate in found]
    best = int(np.argmin(every)) if every else None
    return Outcome(
        crops, *errors(crops, affine), found[0].score if found else 0.0,
        alignment.Alignment(affine, found).peak_ratio(box),
        np.inf if best is None else every[best], 0.0 if best is None else found[best].score, seconds,
    )  # fmt: skip


def errors(crops: Crops, affine: Affine) -> tuple[float, float]:
    """Median distance at the common points, and the median error along head-foot."""
    gap = affine.points(crops.here) - crops.there
    return float(np.median(np.linalg.norm(gap, axis=-1))), float(np.median(gap @ crops.spine))


def _line(number: int, o: Outcome) -> str:
    c = o.crops
    names = c.names[0] if c.names[0] == c.names[1] else " / ".join(c.names)
    miss = "" if o.hit else f"  MISS (best candidate {o.best:.0f} mm, score {o.best_score:.2f})"
    return (
        f"{number:2d} {c.kind:<14} {names:<38} overlap {c.overlap:3.0f} mm, {c.pose:<32} error {o.error:5.1f} "
        f"along {o.along:+6.1f} mm, score {o.score:.2f}, peak ratio {o.peak_ratio:.2f}, {o.seconds:.1f} s{miss}"
    )


def _summary(outcomes: list[Outcome]) -> None:
    title("alignment alone")
    rows = []
    for kind in (*COUNTS, "all"):
        part = [o for o in outcomes if kind in (o.crops.kind, "all")]
        if part:
            hits = sum(o.hit for o in part)
            middle = np.median([o.error for o in part])
            along = np.median([abs(o.along) for o in part])
            share = f"{100 * hits / len(part):.0f} %"
            rows.append((kind, str(len(part)), str(hits), share, f"{middle:.1f}", f"{along:.1f}"))
    table(("crops", "n", f"within {LIMIT:.0f} mm", "share", "median error mm", "along head-foot mm"), rows)
    seconds = np.median([o.seconds for o in outcomes]) if outcomes else 0.0
    line("seconds (median)", f"{seconds:.1f}")
    known = [o for o in outcomes if o.crops.kind.endswith("same")]
    if known:
        share = sum(o.hit for o in known) / len(known)
        reached = "reached" if share >= GOAL else "MISSED"
        line("goal, one patient", f"{GOAL:.0%} within {LIMIT:.0f} mm: {reached} ({share:.0%} of {len(known)})")


def _verdicts(misses: list[Outcome]) -> None:
    """What the whole registration says of the crops that the alignment missed."""
    title("verdict of the whole registration on the misses")
    for o in misses:
        result = pipeline.register(o.crops.fixed, o.crops.moving, PRESET)
        gap = result.field.transform_points(o.crops.here) - o.crops.there
        after = np.median(np.linalg.norm(gap, axis=-1))
        verdict = result.verdict
        print(
            f"{' / '.join(o.crops.names)}: alignment {o.error:.0f} mm, at the end {after:.0f} mm: {verdict.status}"
            f" (risk {verdict.risk:.2f}) {'; '.join(verdict.reasons)}"
        )


if __name__ == "__main__":
    sys.exit(main())
