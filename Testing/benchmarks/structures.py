"""Judge the verdicts on single structures: after registrations, and after one structure was moved on purpose.

`PYTHONPATH=Testing python -m benchmarks.structures`. Of the real scans, only those for tuning and validation are used.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np

from benchmarks.console import table
from benchmarks.validation_labels import organ_dice, outlines
from benchmarks.validation_pairs import Subject, real, real_names, some_view, virtual
from pddnet import pipeline
from pddnet.core.affine import Affine
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.core.structures import StructureFit, StructureMap
from pddnet.features.label_table import STRUCTURES
from pddnet.matching import job_run
from pddnet.matching.patient_sides import name_of, with_sides
from pddnet.matching.structure_report import NUMBERS, compare_structures
from pddnet.tensor.scan import Scan

REAL = (
    ("ts_example", "cort_liver"), ("cort_liver", "acrin_flt_breast_001"), ("acrin_flt_breast_001", "tcga_BC-A10X"),
    ("tcga_BC-A10X", "cort_liver"), ("acrin_nsclc_042", "lidc_0001"), ("cort_liver", "acrin_nsclc_042"),
    ("acrin_flt_breast_001", "ts_example"), ("tcga_BC-A10X", "ts_example"), ("lidc_0001", "acrin_flt_breast_001"),
    ("acrin_nsclc_042", "tcga_BC-A10X"), ("lidc_0001", "cort_liver"),
)  # fmt: skip
VIRTUAL = ((303, 304), (311, 312), (321, 322), (325, 326))
MOVED_MM = (12.0, 20.0, 30.0)
Compared = tuple[Scan, Scan, DisplacementField, Affine]  # what `compare_structures` was given


def main() -> None:
    """Print how many structures get each verdict, and how their Dice agrees with that of drawn outlines."""
    counts: dict[str, Counter[str]] = {}
    dice: list[tuple[float, float]] = []
    for fixed, moving, names in _pairs():
        compared = _registered(fixed, moving)
        for title, verdict in verdicts(compared):
            counts.setdefault(title, Counter())[verdict] += 1
        dice += outlined_dice(compared, *names)
    kinds = ("ok", "doubtful", "astray", "not compared")
    rows = [[title, *(f"{count[kind]}" for kind in kinds)] for title, count in counts.items()]
    table(["structures", *kinds], rows)
    if dice:
        ours, drawn = np.array(dice).T
        correlation = np.corrcoef(ours, drawn)[0, 1]
        print(f"Dice of {len(dice)} organs: {ours.mean():.2f}, of outlines {drawn.mean():.2f}, r = {correlation:.2f}")


def _pairs() -> Iterator[tuple[Subject, Subject, tuple[str, ...]]]:
    for pair in REAL if real_names() else ():
        yield real(pair[0]), real(pair[1]), pair
    for fixed, moving in VIRTUAL:
        yield virtual(fixed, some_view), virtual(moving, some_view), ()


def _registered(fixed: Subject, moving: Subject) -> Compared:
    """Register, and return what the structures were compared by."""
    given: list[Compared] = []

    def noted(fixed: Scan, moving: Scan, field: DisplacementField, affine: Affine, *rest: object) -> tuple[()]:
        given.append((fixed, moving, field, affine))
        return ()

    with patch.object(job_run, "compare_structures", noted):
        pipeline.register(fixed.image, moving.image)
    return given[0]


def verdicts(compared: Compared) -> Iterator[tuple[str, str]]:
    """Yield the verdict on every structure, as registered and after it alone was moved: (title, verdict)."""
    random = np.random.default_rng(0)
    for fit in compare_structures(*compared):
        yield "as registered", fit.verdict
        if fit.verdict == "not compared":
            continue
        for length in MOVED_MM:
            direction = random.normal(size=3)
            shift = length * direction / np.linalg.norm(direction)
            found = {each.name: each for each in compare_structures(*_with_one_moved(compared, fit, shift))}
            yield f"moved by {length:.0f} mm", found[fit.name].verdict if fit.name in found else "not compared"


def _with_one_moved(compared: Compared, fit: StructureFit, shift: np.ndarray) -> Compared:
    """Move one structure in what the network saw of the moving scan; shift: (3,) mm along the lattice's i, j, k."""
    fixed, moving, field, affine = compared
    assert moving.named is not None
    numbers = moving.named.numbers
    sided = (with_sides(numbers) or numbers).array
    wanted = [n for n in range(NUMBERS) if n % 64 < len(STRUCTURES) and name_of(n, STRUCTURES) == fit.name]
    there = np.argwhere(np.isin(sided, wanted))
    moved = there + np.rint(shift / numbers.grid.spacing).astype(int)[::-1]
    within = ((moved >= 0) & (moved < numbers.array.shape)).all(1)
    array, values = numbers.array.copy(), numbers.array[tuple(there[within].T)]
    array[tuple(there.T)] = 0
    array[tuple(moved[within].T)] = values
    named = StructureMap(Image(array, numbers.grid), moving.named.certainty)
    return fixed, dataclasses.replace(moving, named=named), field, affine


def outlined_dice(compared: Compared, fixed: str = "", moving: str = "") -> list[tuple[float, float]]:
    """Return the Dice by the network, and by the outlines, of every organ that was drawn in both scans."""
    drawn = [outlines(name) if name else None for name in (fixed, moving)]
    if drawn[0] is None or drawn[1] is None:
        return []
    fits = {fit.name: fit.dice for fit in compare_structures(*compared)}
    pairs = []
    for organ, value in organ_dice(drawn[0], drawn[1], compared[2]).items():
        name = organ.replace("_", " ")
        ours = [dice for key in (name, f"left {name}", f"right {name}") if (dice := fits.get(key)) is not None]
        if ours:
            pairs.append((float(np.mean(ours)), value))
    return pairs


if __name__ == "__main__":
    main()
