"""The report of a run as strict JSON, and its tables as text."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import numpy as np
import SimpleITK as sitk

from .. import __version__
from ..core.grid import Grid
from ..core.image import AIR, Image
from ..core.masks import body_mask, view_mask
from ..core.result import Registration
from . import metrics

_COLUMNS = ("dice", "hd95", "asd")
SMALLEST_BODY = 0.01  # of the view; below it the body was not found (another modality) and the view is taken
_FINEST_BODY = 2.0  # mm, of the voxels in which the body is looked for


def registration_report(
    result: Registration,
    fixed: Image,
    moving_grid: Grid,
    determinant: np.ndarray,
    *,
    seconds: dict[str, float],
    warnings: Iterable[str] = (),
    labels: dict[str, Any] | None = None,
    inputs: dict[str, str] | None = None,
    outputs: dict[str, str] | None = None,
    inverse_residual: float | None = None,
) -> dict[str, Any]:
    """The report of one registration.

    determinant: (D, H, W) of the result's field, from `DisplacementField.jacobian_determinant`.
    seconds: per stage of the whole command, in order; the stages of `result` are added where missing.
    labels: see `label_section`. inverse_residual: mm, of the inverse that was written, if one was.
    """
    verdict = result.verdict
    stages = {**result.seconds, **seconds} if not set(result.seconds) <= set(seconds) else dict(seconds)
    statistics, region = jacobian_section(determinant, result.field.grid, fixed)
    return {
        "command": "register",
        "verdict": {
            "status": verdict.status,
            "reasons": list(verdict.reasons),
            "risk": verdict.risk,
            "measures": dict(verdict.measures),
        },
        "preset": result.preset,
        "device": result.device,
        "seconds": stages,
        "jacobian": {"region": region, **statistics},
        "inverse_consistency_mm": result.inverse_consistency,
        "inverse_residual_mm": inverse_residual,
        "labels": labels,
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


def label_section(table: list[dict[str, Any]], *, before: str, guided: bool | None = None) -> dict[str, Any]:
    """The organ table with its means.

    table: from `metrics.label_table`. before: what 'before' means ('identity', 'initial transform').
    guided: whether the label maps took part in the registration; None where that is not known.
    """
    means: dict[str, float | None] = {}
    for column in _COLUMNS:
        sides = (f"{column}_before", f"{column}_after")
        known = [row for row in table if all(row.get(side) is not None for side in sides)]  # the same labels on both
        means |= {side: sum(row[side] for row in known) / len(known) if known else None for side in sides}
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
    """The organ table of two label maps under a transform (fixed to moving, LPS mm), on the fixed map's grid.

    start: what 'before' means; None for the identity. guided: as in `label_section`. progress: called with the share
    of the labels that are done; it may raise.
    """
    before = moving.resample(fixed.grid, start, labels=True)
    after = moving.resample(fixed.grid, transform, labels=True)
    table = metrics.label_table(fixed, before, after, progress)
    return label_section(table, before="identity" if start is None else "initial transform", guided=guided)


def tre_section(names: list[str], before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Target registration errors (N,) in mm by point, and their mean, median and largest."""
    rows = [{"name": n, "before": float(b), "after": float(a)} for n, b, a in zip(names, before, after, strict=True)]
    sides = {"before": before, "after": after}
    summary = {
        k: {s: float(f(v)) for s, v in sides.items()}
        for k, f in (("mean", np.mean), ("median", np.median), ("max", np.max))
    }
    return {"points": rows, **summary}


def jacobian_section(determinant: np.ndarray, grid: Grid, fixed: Image) -> tuple[dict[str, float], str]:
    """Statistics of the Jacobian determinant inside the fixed body and where: 'fixed body' or 'fixed view'."""
    coarse = fixed.coarsen(max(float(grid.spacing.max()), _FINEST_BODY))
    view = view_mask(coarse)
    seen = Image(view.array.astype(np.uint8), view.grid).resample(grid, labels=True).array > 0
    body = body_mask(coarse.resample(grid, fill=min(AIR, float(fixed.array.min())))).array & seen
    region, name = (body, "fixed body") if body.sum() > SMALLEST_BODY * seen.sum() else (seen, "fixed view")
    return metrics.jacobian_statistics(determinant, region), name


def grid_section(grid: Grid) -> dict[str, Any]:
    """A grid for the report: voxels and mm along i, j, k; LPS mm of the first voxel; direction by rows."""
    return {
        "size": grid.size.tolist(),
        "spacing_mm": grid.spacing.tolist(),
        "origin_lps_mm": grid.origin.tolist(),
        "direction": grid.direction.tolist(),
    }


def versions() -> dict[str, str | None]:
    """What computed the result."""
    found: dict[str, str | None] = {"pddnet": __version__, "python": platform.python_version()}
    found |= {"numpy": np.__version__, "SimpleITK": sitk.Version.VersionString(), "system": platform.platform()}
    try:
        found["torch"] = metadata.version("torch")
    except metadata.PackageNotFoundError:
        found["torch"] = None
    return found


def to_json(report: dict[str, Any]) -> str:
    """Strict JSON: numbers that are not finite become null."""
    return json.dumps(plain(report), indent=2, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """The value as strict JSON knows it: arrays as lists, numbers that are not finite as None."""
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
    """The organ table as text."""
    title = "Dice 0..1, HD95 and ASD in mm; before: " + section["before"]
    if section["guided"]:
        title += "; GUIDED by these labels, so this is no evaluation"
    head = ["label", "Dice before", "after", "HD95 before", "after", "ASD before", "after"]
    rows = [[str(row["label"]), *_cells(row)] for row in section["table"]]
    return title + "\n" + _align([head, *rows, ["mean", *_cells(section["mean"])]])


def format_tre(section: dict[str, Any]) -> str:
    """The target registration errors as text."""
    rows = [[row["name"], _number(row["before"], 1), _number(row["after"], 1)] for row in section["points"]]
    rows += [
        [key, *(_number(section[key][side], 1) for side in ("before", "after"))] for key in ("mean", "median", "max")
    ]
    return "TRE in mm\n" + _align([["point", "before", "after"], *rows])


def format_verdict(report: dict[str, Any]) -> str:
    """Verdict, reasons, time and folding in a few lines."""
    verdict, jacobian = report["verdict"], report["jacobian"]
    lines = [f"verdict   {verdict['status']}", *(f"          - {reason}" for reason in verdict["reasons"])]
    lines += [
        f"time      {report['seconds']['total']:.1f} s on {report['device']}, preset {report['preset']}",
        f"folding   {_number(jacobian['folding_percent'], 3)} % of the {jacobian['region']}"
        f" (std of log Jacobian {_number(jacobian['sdlogj'], 3)})",
        f"inverse   consistent to {_number(report['inverse_consistency_mm'], 2)} mm on average",
    ]
    return "\n".join(lines)


def unique(lines: Iterable[str]) -> list[str]:
    """The lines without repetitions, in order."""
    return list(dict.fromkeys(lines))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _cells(row: dict[str, Any]) -> list[str]:
    digits = {"dice": 3, "hd95": 1, "asd": 2}
    return [_number(row.get(f"{column}_{side}"), digits[column]) for column in _COLUMNS for side in ("before", "after")]


def _align(rows: list[list[str]]) -> str:
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if c == 0 else cell.rjust(width)
            for c, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
