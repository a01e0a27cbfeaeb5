"""`pddnet compare`: what each part of the method is worth on labelled scans, as the paper's Table 1."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .core.field import DisplacementField
from .core.image import Image
from .core.presets import Preset, find_preset
from .errors import Cancelled, InputError
from .evaluation import metrics
from .io.label_names import UNKNOWN, find_names
from .io.landmarks import read_points
from .io.volumes import read_labels, read_volume
from .pipeline import register

COLUMNS = ("dice", "dice30", "hd95", "tre", "jacobian_std", "folding", "seconds")
HEADS = ("Dice %", "Dice30 %", "HD95 mm", "TRE mm", "std J", "folds %", "seconds")


def configurations(preset: Preset) -> dict[str, Preset | None]:
    """The preset whole, and without one part after the other; None: nothing is done."""
    stages = preset.stages
    found: dict[str, Preset | None] = {
        "before": None,
        "alignment alone": replace(preset, stages=(), refinement=None),
        "no mean field": replace(preset, regularised=False),
        "no optimisation": replace(preset, stages=tuple(replace(stage, iterations=0) for stage in stages)),
        "one direction": replace(preset, stages=tuple(replace(stage, both_ways=False) for stage in stages)),
        "full": preset,
    }
    if len(stages) > 1:
        found["one stage"] = replace(preset, stages=stages[:1])
    if preset.refinement:
        found["no refinement"] = replace(preset, refinement=None)
    if preset.semantic:
        found["MIND alone"] = replace(preset, semantic=0.0)
        found["structures alone"] = replace(preset, mind=False)
        found["preset mind"] = find_preset("mind")  # MIND alone with the stages that suit it
    return found


@dataclass(frozen=True)
class Case:
    """A labelled scan; landmarks (3,) LPS mm by name, and what the labels' numbers mean, where that is known."""

    name: str
    image: Image
    labels: Image
    landmarks: dict[str, np.ndarray]
    names: dict[int, str] = field(default_factory=dict)


def read_cases(folder: Path) -> list[Case]:
    """CASE/ct.nii.gz with CASE/labels.nii.gz; CASE/landmarks.csv, and labels.json in CASE or FOLDER, if there are any.

    Raises:
        InputError: there are fewer than two, or a file cannot be used.
    """
    cases = []
    for path in sorted(folder.glob("[!.]*/ct.nii.gz")):
        image = read_volume(path)[0]
        points = path.with_name("landmarks.csv")
        landmarks = read_points(points) if points.exists() else {}
        labels = read_labels(path.with_name("labels.nii.gz"), image.grid)[0]
        cases.append(Case(path.parent.name, image, labels, landmarks, find_names(path.parent, folder)))
    if len(cases) < 2:
        raise InputError(f"{folder}: fewer than two cases with ct.nii.gz and labels.nii.gz; there is nothing to pair")
    return cases


def common_labels(fixed: Case, moving: Case) -> list[tuple[int, int]]:
    """The label in either scan of every structure that both hold: by name where both have names, else by number."""
    here, there = (set(np.unique(case.labels.array).tolist()) - {0} for case in (fixed, moving))
    number = {name: label for label, name in moving.names.items()}
    found = [(label, number.get(name, 0)) for label, name in fixed.names.items() if name != UNKNOWN]
    if not (fixed.names and moving.names):
        found = [(label, label) for label in sorted(here)]
    return [(ours, theirs) for ours, theirs in found if ours in here and theirs in there]


def pairs(cases: list[Case], limit: int | None) -> list[tuple[Case, Case]]:
    """Ordered pairs: every case as fixed with the next one, then with the one after that, and so on."""
    n = len(cases)
    found = [(cases[i], cases[(i + step) % n]) for step, i in itertools.product(range(1, n), range(n))]
    return found[:limit]


class Comparison(NamedTuple):
    """What was measured, and what was not.

    Attributes:
        measured: the pairs that count, as "fixed / moving".
        rows: by configuration a row of COLUMNS for each of them, NaN for what is not there.
        left_out: why a pair, or structures of it, could not be measured.
    """

    measured: list[str]
    rows: dict[str, list[dict[str, float]]]
    left_out: dict[str, str]


def compare(
    couples: list[tuple[Case, Case]], presets: dict[str, Preset | None], report: Callable[[float, str], None],
    warn: Callable[[str], None], weights: Path | None = None,
) -> Comparison:  # fmt: skip
    """Measure every pair with every configuration. A pair that fails in one of them is left out of all.

    Args:
        warn: told of all that is left out.
        weights: see `register`; "MIND alone" does without those of the network that names structures.

    Raises:
        InputError: no pair could be measured.
    """
    found = Comparison([], {name: [] for name in presets}, {})
    for number, (fixed, moving) in enumerate(couples):
        pair = f"{fixed.name} / {moving.name}"
        rows: dict[str, dict[str, float]] = {}
        covered: dict[str, str] = {}
        name = ""
        try:
            for place, (name, preset) in enumerate(presets.items()):
                report((number + place / len(presets)) / len(couples), f"{pair}: {name}")
                rows[name], structures = _measured(fixed, moving, preset, weights)
                if structures:
                    covered[f"{pair}, {name}"] = f"'{UNKNOWN}' covers {', '.join(structures)}"
        except Cancelled:
            raise
        except Exception as error:  # whatever it is, the other pairs stand
            if not isinstance(error, InputError) and os.environ.get("PDDNET_TRACEBACK"):
                raise
            reason = _reason(error)
            warn(f"{pair}: {reason}; the pair is left out")
            found.left_out[pair] = f"{name}: {reason}"
            continue
        for place, reason in covered.items():
            warn(f"{place}: {reason}; not measured there")
        found.left_out.update(covered)
        found.measured.append(pair)
        for name, row in rows.items():
            found.rows[name].append(row)
    if not found.measured:
        raise InputError(f"none of the {len(couples)} pairs could be measured; correct the scans named above")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory of this machine does not suffice"
    return f"internal fault, {type(error).__name__}: {error}"


def _measured(
    fixed: Case, moving: Case, preset: Preset | None, weights: Path | None
) -> tuple[dict[str, float], list[str]]:
    begun = time.perf_counter()
    field = None if preset is None else register(fixed.image, moving.image, preset, weights=weights).field
    return _row(fixed, moving, field, time.perf_counter() - begun)


def _row(
    fixed: Case, moving: Case, found: DisplacementField | None, seconds: float
) -> tuple[dict[str, float], list[str]]:
    """One pair's numbers, over the structures that both scans hold, and the structures that "unknown" covers.

    A structure moved out of the view has Dice 0. One of which neither scan shows anything known is not measured.
    """
    moved = moving.labels.resample(fixed.image.grid, None if found is None else found.to_sitk(), labels=True).array
    dices, far, covered = [], [], []
    known = ~(np.isin(fixed.labels.array, _unknown(fixed)) | np.isin(moved, _unknown(moving)))
    for ours, theirs in common_labels(fixed, moving):
        here, there = (fixed.labels.array == ours) & known, (moved == theirs) & known
        dice = metrics.dice(here, there)
        if dice is None:
            covered.append(fixed.names.get(ours, f"label {ours}"))
            continue
        dices.append(dice)
        if here.any() and there.any():
            far.append(metrics.hausdorff95(*metrics.surface_distances(here, there, fixed.image.grid.spacing)))
    row = dict.fromkeys(COLUMNS, math.nan)
    row |= {"dice": 100 * _mean(dices), "dice30": 100 * metrics.dice30(dices), "hd95": _mean(far)}
    if names := [name for name in fixed.landmarks if name in moving.landmarks]:
        points = (np.array([case.landmarks[name] for name in names]) for case in (fixed, moving))
        row["tre"] = _mean(metrics.tre(*points, np.asarray if found is None else found.transform_points))
    if found is not None:
        statistics = metrics.jacobian_statistics(found.jacobian_determinant())
        row |= {"jacobian_std": statistics["std"], "folding": statistics["folding_percent"], "seconds": seconds}
    return row, covered


def _unknown(case: Case) -> list[int]:
    return [label for label, name in case.names.items() if name == UNKNOWN]


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def table(rows: dict[str, list[dict[str, float]]], left_out: dict[str, str] | None = None) -> str:
    """Means and standard deviations over the pairs, and a line for all that was left out; a Markdown table."""
    lines = ["| | " + " | ".join(HEADS) + " |", "|---|" + "---|" * len(HEADS)]
    for name, found in rows.items():
        cells = []
        for column in COLUMNS:
            values = np.array([row[column] for row in found])
            values = values[np.isfinite(values)]
            digits = 2 if column in ("jacobian_std", "folding") else 1
            cells.append(f"{values.mean():.{digits}f} ± {values.std():.{digits}f}" if values.size else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for place, reason in (left_out or {}).items():
        lines.append(f"| {place} | not measured: {_in_a_cell(reason)} |" + " |" * (len(HEADS) - 1))
    return "\n".join(lines)


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def find_configurations(preset: str, names: list[str] | None) -> dict[str, Preset | None]:
    """The named configurations of a preset, or all.

    Raises:
        InputError: there is no such preset or configuration.
    """
    found = configurations(find_preset(preset))
    if unknown := [name for name in names or () if name not in found]:
        raise InputError(f"there is no configuration '{unknown[0]}'; choose from {', '.join(found)}")
    return {name: found[name] for name in names} if names else found
