"""Reports: builds the report of a run, writes it as strict JSON, and formats its tables as text."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import SimpleITK as sitk

from .. import __version__
from ..core.grid import Grid
from ..core.image import Image
from ..core.linear import LinearTransform
from ..core.result import Registration
from ..core.structures import ASTRAY, DOUBTFUL, NOT_COMPARED, OK, StructureFit, worst_first
from .metrics import LABEL_METRICS, label_table
from .transform_quality import jacobian_in_body

MOST_NAMED = 4  # structures of one verdict in the sentence
_TRE_SUMMARIES: dict[str, Callable[[np.ndarray], np.floating]] = {"mean": np.mean, "median": np.median, "max": np.max}


def registration_report(
    result: Registration,
    fixed: Image,
    moving_grid: Grid,
    determinant: np.ndarray,
    *,
    seconds: dict[str, float],
    warnings: Iterable[str] = (),
    labels: dict[str, Any] | None = None,
    motion: list[dict[str, Any]] | None = None,
    settings: dict[str, Any] | None = None,
    weights: dict[str, str] | None = None,
    inputs: dict[str, str] | None = None,
    outputs: dict[str, str] | None = None,
    inverse_residual: float | None = None,
) -> dict[str, Any]:
    """Build the report of one registration.

    Args:
        determinant: (D, H, W) of the result's field, from `DisplacementField.jacobian_determinant`.
        seconds: per stage of the whole command, in order; the stages of `result` are added where missing.
        labels: see `label_section`.
        motion: see `motion.motion_table`.
        settings: what the user chose, beside the preset's name.
        weights: SHA-256 of the networks' weights, by file name.
        inverse_residual: mm, of the inverse that was written, if one was.
    """
    verdict = result.verdict
    all_told = set(result.seconds) <= set(seconds)
    stages = dict(seconds) if all_told else {**result.seconds, **seconds}
    statistics, region = jacobian_in_body(determinant, result.field.grid, fixed)
    return {
        "command": "register",
        "verdict": {
            "status": verdict.status,
            "reasons": list(verdict.reasons),
            "risk": verdict.risk,
            "measures": dict(verdict.measures),
        },
        "transform_type": result.transform_type,
        "linear": linear_section(result.linear),
        "diffeomorphic": result.diffeomorphic,
        "preset": result.preset,
        "settings": settings or {},
        "weights": weights or {},
        "device": result.device,
        "seconds": stages,
        "jacobian": {"region": region, **statistics},
        "inverse_consistency_mm": result.inverse_consistency,
        "inverse_residual_mm": inverse_residual,
        "labels": labels,
        "structures": structure_section(result.structures) if result.structures else None,
        "motion": motion or [],
        "grids": {
            "fixed": grid_section(fixed.grid),
            "moving": grid_section(moving_grid),
            "transform": grid_section(result.field.grid),
        },
        "warnings": unique([*warnings, *result.warnings]),
        "inputs": inputs or {},
        "outputs": outputs or {},
        "versions": versions(),
    }


def linear_section(linear: LinearTransform | None) -> dict[str, Any] | None:
    """Describe a linear result: fixed to moving points, LPS mm; None of a deformable one.

    Returns:
        matrix (4 x 4), centre_lps_mm (about which it turns), translation_mm (of that centre), rotation_degrees, scale.
    """
    if linear is None:
        return None
    return {
        "matrix": linear.matrix.tolist(),
        "centre_lps_mm": linear.centre.tolist(),
        "translation_mm": linear.translation_mm.tolist(),
        "rotation_degrees": linear.rotation_degrees,
        "scale": linear.scaling,
    }


def label_section(
    table: list[dict[str, Any]], *, before: str = "identity", guided: bool | None = None
) -> dict[str, Any]:
    """Build the report's section of the label metrics: the table, and its means over the labels known on both sides.

    Args:
        table: from `metrics.label_table`.
        before: what 'before' means ('identity', 'initial transform').
        guided: whether the label maps took part in the registration; None where that is not known.
    """
    means: dict[str, float | None] = {}
    for metric in LABEL_METRICS:
        known = [row for row in table if all(row.get(side) is not None for side in metric.sides)]
        for side in metric.sides:
            means[side] = sum(row[side] for row in known) / len(known) if known else None
    return {"guided": guided, "before": before, "table": table, "mean": means}


def measured_labels(
    fixed: Image,
    moving: Image,
    transform: sitk.Transform,
    *,
    start: sitk.Transform | None = None,
    guided: bool | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, Any]:
    """Measure two label maps under a transform (fixed to moving points, LPS mm), on the fixed map's grid.

    Args:
        start: what 'before' means; None for the identity.
        guided: as in `label_section`.
        progress: called with the share of the labels that are done; it may raise.

    Returns:
        the section, see `label_section`.
    """
    before = moving.resample(fixed.grid, start, labels=True)
    after = moving.resample(fixed.grid, transform, labels=True)
    table = label_table(fixed, before, after, progress, moving_labels=np.unique(moving.array).tolist())
    return label_section(table, before="identity" if start is None else "initial transform", guided=guided)


def measured_layers(
    fixed: Sequence[Image],
    moving: Sequence[Image],
    transform: sitk.Transform,
    *,
    start: sitk.Transform | None = None,
    guided: bool | None = None,
) -> dict[str, Any]:
    """Measure label maps that consist of layers, because their segments overlap; otherwise as `measured_labels`.

    Args:
        fixed, moving: label maps of one scan each; every label stands in one layer only.

    Returns:
        the section, see `label_section`, with the rows of all labels.
    """
    rows: dict[int, dict[str, Any]] = {}
    for fixed_layer in fixed:
        for moving_layer in moving:
            section = measured_labels(fixed_layer, moving_layer, transform, start=start, guided=guided)
            for row in section["table"]:
                known = rows.get(row["label"])
                if known is None or all(value is None for key, value in known.items() if key != "label"):
                    rows[row["label"]] = row
    table = [rows[label] for label in sorted(rows)]
    return label_section(table, before="identity" if start is None else "initial transform", guided=guided)


def structure_section(fits: tuple[StructureFit, ...]) -> dict[str, Any]:
    """Build the report's section of the structures that the network names: a sentence, and a row each, worst first."""
    table = [dataclasses.asdict(fit) | {"shift_mm": fit.shift_mm} for fit in worst_first(fits)]
    for row in table:
        del row["motion"]  # has a section of its own
    return {"summary": structure_summary(fits), "table": table}


def structure_summary(fits: tuple[StructureFit, ...]) -> str:
    """Say in one line which structures lie astray: 'left kidney astray by 3 cm; spleen doubtful; 21 of 23 ok'."""
    rows = worst_first(fits)
    compared = [fit for fit in rows if fit.verdict != NOT_COMPARED]
    if not compared:
        return "none could be compared"
    astray = [f"{fit.name} astray by {(fit.shift_mm or 0.0) / 10:.0f} cm" for fit in rows if fit.verdict == ASTRAY]
    doubtful = [fit.name for fit in rows if fit.verdict == DOUBTFUL]
    parts = _first(astray)
    if doubtful:
        parts.append(f"{', '.join(_first(doubtful))} doubtful")
    ok = sum(fit.verdict == OK for fit in compared)
    return "; ".join([*parts, f"{ok} of {len(compared)} ok"])


def _first(texts: list[str]) -> list[str]:
    """Return the first few texts, and how many more there are."""
    rest = len(texts) - MOST_NAMED
    return [*texts[:MOST_NAMED], f"{rest} more"] if rest > 0 else list(texts)


def tre_section(names: list[str], before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Build the report's section of the target registration errors (N,) in mm: by point, mean, median and largest."""
    section: dict[str, Any] = {
        "points": [
            {"name": name, "before": float(early), "after": float(late)}
            for name, early, late in zip(names, before, after, strict=True)
        ]
    }
    for key, summarise in _TRE_SUMMARIES.items():
        section[key] = {"before": float(summarise(before)), "after": float(summarise(after))}
    return section


def grid_section(grid: Grid) -> dict[str, Any]:
    """Describe a grid: voxels and mm along i, j, k; LPS mm of the first voxel; direction by rows."""
    return {
        "size": grid.size.tolist(),
        "spacing_mm": grid.spacing.tolist(),
        "origin_lps_mm": grid.origin.tolist(),
        "direction": grid.direction.tolist(),
    }


def versions() -> dict[str, str | None]:
    """Name the versions of what computed the result, and the system."""
    found: dict[str, str | None] = {"pddnet": __version__, "python": platform.python_version()}
    found |= {"numpy": np.__version__, "SimpleITK": sitk.Version.VersionString(), "system": platform.platform()}
    try:
        found["torch"] = metadata.version("torch")
    except metadata.PackageNotFoundError:
        found["torch"] = None
    return found


def to_json(report: dict[str, Any]) -> str:
    """Write strict JSON: numbers that are not finite become null."""
    return json.dumps(plain(report), indent=2, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Convert a value to what strict JSON holds: arrays to lists, numbers that are not finite to None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def format_labels(section: dict[str, Any]) -> str:
    """Format a section of label metrics (`label_section`) as a text table, a row per label and their mean."""
    title = f"{_captions_and_units()}; before: {section['before']}"
    if section["guided"]:
        title += "; GUIDED by these labels, so this is no evaluation"
    head = ["label"]
    for metric in LABEL_METRICS:
        head += [f"{metric.caption} before", "after"]
    rows = [[str(row["label"]), *_cells(row)] for row in section["table"]]
    return title + "\n" + _align([head, *rows, ["mean", *_cells(section["mean"])]])


def format_tre(section: dict[str, Any]) -> str:
    """Format a section of target registration errors (`tre_section`) as a text table."""
    errors = [(row["name"], row) for row in section["points"]]
    errors += [(key, section[key]) for key in _TRE_SUMMARIES]
    rows = [[name, _number(row["before"], 1), _number(row["after"], 1)] for name, row in errors]
    return "TRE in mm\n" + _align([["point", "before", "after"], *rows])


def format_verdict(report: dict[str, Any]) -> str:
    """Format verdict, reasons, time and folding in a few lines."""
    verdict, jacobian = report["verdict"], report["jacobian"]
    lines = [f"verdict   {verdict['status']}", *(f"          - {reason}" for reason in verdict["reasons"])]
    lines += [_linear_line(report["transform_type"], report["linear"])] if report.get("linear") else []
    lines += [
        f"time      {report['seconds']['total']:.1f} s on {report['device']}, preset {report['preset']}",
        f"folding   {_number(jacobian['folding_percent'], 3)} % of the {jacobian['region']}"
        f" (std of log Jacobian {_number(jacobian['sdlogj'], 3)})",
        f"inverse   consistent to {_number(report['inverse_consistency_mm'], 2)} mm on average",
    ]
    expected = verdict["measures"].get("expected_error_mm")
    if expected is not None:
        lines.append(f"error     {_number(expected, 1)} mm expected: 80 % of the errors lie below, at half of the body")
    if report["structures"]:
        lines.append(f"organs    {report['structures']['summary']}")
    return "\n".join(lines)


def _linear_line(transform_type: str, linear: dict[str, Any]) -> str:
    shift = " ".join(_number(mm, 1) for mm in linear["translation_mm"])
    angle, scale = _number(linear["rotation_degrees"], 1), _number(linear["scale"], 3)
    return f"linear    {transform_type}: shift {shift} mm (LPS), turn {angle} degrees, scale {scale}"


def unique(lines: Iterable[str]) -> list[str]:
    """Drop repeated lines; the order stays."""
    return list(dict.fromkeys(lines))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _cells(row: dict[str, Any]) -> list[str]:
    return [_number(row.get(side), metric.digits) for metric in LABEL_METRICS for side in metric.sides]


def _captions_and_units() -> str:
    """Name all label metrics, those of one unit together: 'Dice 0..1, HD95 and ASD in mm'."""
    captions: dict[str, list[str]] = {}
    for metric in LABEL_METRICS:
        captions.setdefault(metric.unit, []).append(metric.caption)
    groups = [" and ".join(names) + (f" in {unit}" if unit else " 0..1") for unit, names in captions.items()]
    return ", ".join(groups)


def _align(rows: list[list[str]]) -> str:
    """Put the cells of a text table below each other: the first column to the left, the others to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if c == 0 else cell.rjust(width)
            for c, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
