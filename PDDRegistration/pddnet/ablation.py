"""Ablation, the command `pddnet compare`: measures on labelled scans what each part of the method adds.

The table is laid out as Table 1 of Heinrich 2019 (doi:10.1007/978-3-030-32226-7_6).
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .core.field import DisplacementField
from .core.image import Image
from .core.intensity import hu_if_ct
from .core.presets import Preset, Stage, find_preset
from .errors import Cancelled, InputError
from .evaluation import metrics
from .evaluation.local_correlation import local_correlation
from .evaluation.metrics import LABEL_METRICS, MaskPair
from .io.label_names import UNKNOWN, find_names
from .io.landmarks import read_points
from .io.volumes import read_labels, read_volume
from .methods import Method
from .pipeline import register

Row = dict[str, float]
"""Measurements of one pair of scans by one configuration, by the keys of `columns`; NaN where nothing was measured."""


class Column(NamedTuple):
    """Column of the table: its key in a row, its caption and the digits after the point."""

    key: str
    caption: str
    digits: int


TRANSFORM_COLUMNS = (
    Column("tre", "TRE mm", 1),
    Column("lcc", "LCC", 3),
    Column("jacobian_std", "std J", 2),
    Column("sdlogj", "std log J", 2),
    Column("folding", "folds %", 2),
    Column("seconds", "seconds", 1),
)


def columns() -> list[Column]:
    """List the columns of the table: those of the label metrics, then those of the transform."""
    of_labels = [summary for metric in LABEL_METRICS for summary in metric.columns]
    return [*(Column(each.key, each.caption, each.digits) for each in of_labels), *TRANSFORM_COLUMNS]


def configurations(preset: Preset) -> dict[str, Preset | None]:
    """Take a preset apart: the whole of it, and without one part after the other; None: no registration.

    A part is left out of the stages for two scans of one patient, too. Rows of parts that the preset has not, which
    would repeat the whole, are left out.
    """
    found: dict[str, Preset | None] = {
        "before": None,
        "alignment alone": replace(preset, stages=(), refinement=None, one_patient=None),
        "no mean field": replace(preset, regularised=False),
        "no optimisation": _with_stages(preset, lambda stages: tuple(replace(each, iterations=0) for each in stages)),
        "one direction": _with_stages(preset, lambda stages: tuple(replace(each, both_ways=False) for each in stages)),
        "full": preset,
    }
    if len(preset.stages) > 1:
        found["one stage"] = _with_stages(preset, lambda stages: stages[:1])
    if preset.refinement:
        plain = preset.one_patient and replace(preset.one_patient, levels=())
        found["no refinement"] = replace(preset, refinement=None, one_patient=plain)
    if preset.semantic:
        found["MIND alone"] = replace(preset, semantic=0.0)
        found["structures alone"] = replace(preset, mind=False, one_patient=None)
        found["preset mind"] = find_preset("mind")  # MIND alone with the stages that suit it
    return {name: each for name, each in found.items() if name == "full" or each != preset}


def _with_stages(preset: Preset, change: Callable[[tuple[Stage, ...]], tuple[Stage, ...]]) -> Preset:
    """Change the stages of a preset, also those for two scans of one patient."""
    one = preset.one_patient and replace(preset.one_patient, stages=change(preset.one_patient.stages))
    return replace(preset, stages=change(preset.stages), one_patient=one)


@dataclass(frozen=True)
class Case:
    """Labelled scan; landmarks (3,) LPS mm by name, and the names of the label numbers, where they are known."""

    name: str
    image: Image
    labels: Image
    landmarks: dict[str, np.ndarray]
    names: dict[int, str] = field(default_factory=dict)


def read_cases(folder: Path) -> list[Case]:
    """Read CASE/ct.nii.gz and CASE/labels.nii.gz; CASE/landmarks.csv, and labels.json in CASE or FOLDER, if they exist.

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
    """Match the structures that both scans hold, by name where both have names, else by number.

    Returns:
        the label in the fixed and in the moving map of every structure.
    """
    fixed_labels, moving_labels = (set(np.unique(case.labels.array).tolist()) - {0} for case in (fixed, moving))
    if fixed.names and moving.names:
        moving_label = {name: label for label, name in moving.names.items()}
        matches = [(label, moving_label.get(name, 0)) for label, name in fixed.names.items() if name != UNKNOWN]
    else:
        matches = [(label, label) for label in sorted(fixed_labels)]
    return [match for match in matches if match[0] in fixed_labels and match[1] in moving_labels]


def pairs(cases: list[Case], limit: int | None) -> list[tuple[Case, Case]]:
    """Pair the cases in order: every case as fixed with the next one, then with the one after that, and so on."""
    n = len(cases)
    found = [(cases[i], cases[(i + step) % n]) for step, i in itertools.product(range(1, n), range(n))]
    return found[:limit]


class Comparison(NamedTuple):
    """Result of a comparison.

    Attributes:
        measured: the pairs that count, as "fixed / moving".
        rows: by configuration a row for each of these pairs.
        left_out: why a pair, or structures of it, could not be measured.
        structures: by the name of a structure that was asked for, what `rows` are of all.
    """

    measured: list[str]
    rows: dict[str, list[Row]]
    left_out: dict[str, str]
    structures: dict[str, dict[str, list[Row]]]


def compare(
    couples: list[tuple[Case, Case]], presets: Mapping[str, Preset | Method | None],
    report: Callable[[float, str], None], warn: Callable[[str], None], weights: Path | None = None,
    structures: Sequence[str] = (),
) -> Comparison:  # fmt: skip
    """Measure every pair with every configuration. A pair that fails in one of them is left out of all.

    Args:
        couples: fixed and moving cases.
        presets: by name, or methods, see `methods.methods`; None measures the pair as it is.
        report: called with the share that is done, 0..1, the pair and the configuration; it may raise `Cancelled`.
        warn: told of all that is left out.
        weights: of presets, see `register`; "MIND alone" does without those of the network that segments structures.
        structures: names of those that are measured by themselves besides.

    Raises:
        InputError: no pair could be measured, or no scan has a structure of that name.
    """
    _check_structures(couples, structures)
    found = Comparison([], {name: [] for name in presets}, {}, {each: {n: [] for n in presets} for each in structures})
    for number, (fixed, moving) in enumerate(couples):
        pair = f"{fixed.name} / {moving.name}"
        rows: dict[str, tuple[Row, dict[str, Row]]] = {}
        covered: dict[str, str] = {}
        name = ""
        try:
            for step, (name, preset) in enumerate(presets.items()):
                report((number + step / len(presets)) / len(couples), f"{pair}: {name}")
                row, by_structure, unknown = _measured(fixed, moving, preset, weights)
                rows[name] = row, by_structure
                if unknown:
                    covered[f"{pair}, {name}"] = f"'{UNKNOWN}' covers {', '.join(unknown)}"
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
        for name, (row, by_structure) in rows.items():
            found.rows[name].append(row)
            for structure in structures:
                found.structures[structure][name].append(by_structure.get(structure, _label_row([])))
    if not found.measured:
        raise InputError(f"none of the {len(couples)} pairs could be measured; correct the scans named above")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory of this machine does not suffice"
    return f"internal fault, {type(error).__name__}: {error}"


def _check_structures(couples: list[tuple[Case, Case]], structures: Sequence[str]) -> None:
    names = {name for couple in couples for case in couple for name in case.names.values()} - {UNKNOWN}
    if unknown := [each for each in structures if each not in names]:
        raise InputError(f"no scan has a structure '{unknown[0]}'; choose from {', '.join(sorted(names))}")


def _measured(
    fixed: Case, moving: Case, preset: Preset | Method | None, weights: Path | None
) -> tuple[Row, dict[str, Row], list[str]]:
    """Register a pair and measure it: the row, that of each structure, and the structures that "unknown" covers."""
    begun = time.perf_counter()
    field = None if preset is None else _registered(fixed.image, moving.image, preset, weights)
    seconds = time.perf_counter() - begun
    labels, covered = _label_values(fixed, moving, field)
    row = dict.fromkeys((column.key for column in columns()), math.nan)
    row |= _label_row(list(labels.values()))
    row |= {"tre": _tre(fixed, moving, field), "lcc": _lcc(fixed, moving, field)}
    if field is not None:
        statistics = metrics.jacobian_statistics(field.jacobian_determinant())
        row |= {"jacobian_std": statistics["std"], "sdlogj": statistics["sdlogj"]}
        row |= {"folding": statistics["folding_percent"], "seconds": seconds}
    return row, {name: _label_row([each]) for name, each in labels.items()}, covered


def _registered(fixed: Image, moving: Image, how: Preset | Method, weights: Path | None) -> DisplacementField:
    if isinstance(how, Method):
        return register(fixed, moving, how.preset, weights=how.weights, network=how.network).field
    return register(fixed, moving, how, weights=weights).field


def _lcc(fixed: Case, moving: Case, field: DisplacementField | None) -> float:
    """Measure the local correlation coefficient of two CTs; NaN of other scans."""
    fixed_hu, moving_hu = hu_if_ct(fixed.image), hu_if_ct(moving.image)
    if fixed_hu is None or moving_hu is None:
        return math.nan
    return local_correlation(fixed_hu, moving_hu, None if field is None else field.to_sitk())


def _label_values(
    fixed: Case, moving: Case, field: DisplacementField | None
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Measure the structures that both scans hold: return the values by structure and metric, and what is covered.

    A structure that was warped out of the view has Dice 0. One of which neither scan shows anything known is not
    measured, but named as covered by "unknown".
    """
    transform = None if field is None else field.to_sitk()
    fixed_labels = fixed.labels.array
    warped_labels = moving.labels.resample(fixed.image.grid, transform, labels=True).array
    known = ~(np.isin(fixed_labels, _unknown(fixed)) | np.isin(warped_labels, _unknown(moving)))
    found: dict[str, dict[str, float]] = {}
    covered = []
    for fixed_label, moving_label in common_labels(fixed, moving):
        name = fixed.names.get(fixed_label, f"label {fixed_label}")
        masks = (fixed_labels == fixed_label) & known, (warped_labels == moving_label) & known
        pair = MaskPair(*masks, fixed.image.grid.spacing)
        if pair.is_empty:
            covered.append(name)
            continue
        values = {metric.key: metric.measure(pair) for metric in LABEL_METRICS if metric.columns}
        found[name] = {key: value for key, value in values.items() if value is not None}
    return found, covered


def _label_row(structures: list[dict[str, float]]) -> Row:
    """Summarise the values of structures, each by metric, in the columns of the label metrics."""
    return {
        summary.key: summary.of([each[metric.key] for each in structures if metric.key in each])
        for metric in LABEL_METRICS
        for summary in metric.columns
    }


def _tre(fixed: Case, moving: Case, field: DisplacementField | None) -> float:
    """Mean target registration error in mm at the landmarks of one name; NaN where there are none."""
    names = [name for name in fixed.landmarks if name in moving.landmarks]
    if not names:
        return math.nan
    fixed_points, moving_points = (np.array([case.landmarks[name] for name in names]) for case in (fixed, moving))
    transform_points = np.asarray if field is None else field.transform_points
    return metrics.mean(metrics.tre(fixed_points, moving_points, transform_points))


def _unknown(case: Case) -> list[int]:
    return [label for label, name in case.names.items() if name == UNKNOWN]


def structure_table(rows: dict[str, list[Row]]) -> str:
    """Format the metrics of one structure; without those that summarise several."""
    keys = {metric.key for metric in LABEL_METRICS}
    return table(rows, heads=[column for column in columns() if column.key in keys])


def table(
    rows: dict[str, list[Row]], left_out: dict[str, str] | None = None, heads: Sequence[Column] | None = None
) -> str:
    """Format means and standard deviations over the pairs, and a line for all that was left out, as Markdown.

    heads: the columns; all by default.
    """
    heads = columns() if heads is None else heads
    lines = ["| | " + " | ".join(column.caption for column in heads) + " |", "|---|" + "---|" * len(heads)]
    for name, found in rows.items():
        cells = [_mean_and_deviation([row[column.key] for row in found], column.digits) for column in heads]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for place, reason in (left_out or {}).items():
        lines.append(f"| {place} | not measured: {_in_a_cell(reason)} |" + " |" * (len(heads) - 1))
    return "\n".join(lines)


def _mean_and_deviation(values: list[float], digits: int) -> str:
    known = np.array([value for value in values if math.isfinite(value)])
    return f"{known.mean():.{digits}f} ± {known.std():.{digits}f}" if known.size else "-"


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def find_configurations(preset: str, names: list[str] | None) -> dict[str, Preset | None]:
    """Look up the named configurations of a preset, or all.

    Raises:
        InputError: there is no such preset or configuration.
    """
    found = configurations(find_preset(preset))
    if unknown := [name for name in names or () if name not in found]:
        raise InputError(f"there is no configuration '{unknown[0]}'; choose from {', '.join(found)}")
    return {name: found[name] for name in names} if names else found
