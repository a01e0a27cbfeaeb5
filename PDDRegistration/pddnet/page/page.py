"""Make the content of a registration's page from its report and its pictures; `html` and `pdf` set it.

The page names neither files nor folders, because they may say who the patient is, unless it is asked to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.presets import PRESETS
from ..core.structures import OK
from . import tables
from .content import Definitions, Lines, Page, VerdictText
from .pictures import Picture

TITLE = "Registration report"
_QUOTED = re.compile(r"(?<!\w)'.+?'(?!\w)")
_MEANINGS = {
    "ok": "Nothing speaks against this result.",
    "doubtful": "Look at the result before it is used.",
    "failed": "Do not use this result.",
}
_FOOTER = (
    "Made by pddnet {version}. Displacements map the fixed to the moving scan. The page holds no image data but its "
    "pictures. For research; not a medical device."
)


def page_of(
    report: dict[str, Any], pictures: Sequence[Picture], *, names: bool = False, title: str = TITLE, now: datetime
) -> Page:
    """Choose what the page shows.

    Args:
        report: of `pddnet register`, see `evaluation.report.registration_report`.
        pictures: see `pictures.draw`.
        names: whether to show the names of files, which may tell who the patient is.
        title: heading of the page.
        now: the date that it shows.
    """
    warnings = report["warnings"] if names else [without_paths(line, report["inputs"]) for line in report["warnings"]]
    sections = [
        Lines("Warnings", tuple(warnings)) if warnings else None,
        tables.labels(report["labels"]),
        tables.structures(report["structures"]),
        tables.motion(report["motion"]),
        Definitions("Settings", tuple(_settings(report))),
        Definitions("Scans", tuple(_scans(report, names))),
        Definitions("Made with", tuple(_versions(report))),
    ]
    return Page(
        title=title,
        date=f"{now.day} {now:%B %Y, %H:%M}",
        verdict=_verdict(report["verdict"]),
        figures=tuple(_key_figures(report)),
        pictures=tuple(pictures),
        sections=tuple(section for section in sections if section),
        footer=_FOOTER.format(version=__version__),
        generator=f"pddnet {__version__}",
    )


def without_paths(text: str, inputs: dict[str, str]) -> str:
    """Replace the paths of inputs in a sentence by what they are, such as 'fixed labels', and names in quotes by dots.

    Names of series and folders stand in quotes; they may be those of patients.
    """
    spelled = [(each, name) for name, path in inputs.items() for each in {path, str(Path(path))}]
    for path, name in sorted(spelled, key=lambda item: -len(item[0])):
        whole = rf"(?<![\w./\\-]){re.escape(path)}(?![\w-]|\.\w)"
        text = re.sub(whole, f"the {name.replace('_', ' ')}", text)
    return _QUOTED.sub("'...'", text)


def _verdict(verdict: dict[str, Any]) -> VerdictText:
    risk = f"Risk {tables.number(verdict['risk'], 2)} on a scale from 0 to 1."
    meaning = f"{_MEANINGS.get(verdict['status'], '')} {risk}".lstrip()
    return VerdictText(verdict["status"], meaning, tuple(verdict["reasons"]))


def _key_figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    """List the numbers that a reader looks for first."""
    figures = []
    expected = report["verdict"]["measures"].get("expected_error_mm")
    if expected is not None:
        figures.append((f"{tables.number(expected, 1)} mm", "expected error, median over the body"))
    if report["structures"]:
        compared = [row for row in report["structures"]["table"] if row["dice"] is not None]
        right = sum(row["verdict"] == OK for row in compared)
        figures.append((f"{right} of {len(compared)}", "structures in place"))
    labels = report["labels"]
    if labels and labels["mean"]["dice_after"] is not None:
        figures.append((tables.number(labels["mean"]["dice_after"], 2), "mean Dice of the label maps"))
    if report["linear"]:
        figures.append((f"{tables.number(report['linear']['rotation_degrees'], 1)}°", "rotation"))
    else:
        jacobian = report["jacobian"]
        folding = f"{tables.number(jacobian['folding_percent'], 3)} %"
        figures.append((folding, f"of the {jacobian['region'].removeprefix('fixed ')} folds"))
    if report["inverse_consistency_mm"] is not None:
        figures.append((f"{tables.number(report['inverse_consistency_mm'], 1)} mm", "between both directions"))
    figures.append((f"{tables.number(report['seconds']['total'], 0)} s", f"on {report['device']}"))
    return figures


def _settings(report: dict[str, Any]) -> list[tuple[str, str]]:
    chosen = report["settings"]
    preset = PRESETS.get(report["preset"])
    transform = report["transform_type"] + (", diffeomorphic" if report["diffeomorphic"] else "")
    rows = [("Preset", report["preset"] + (f" ({preset.purpose})" if preset else "")), ("Transform", transform)]
    if "start" in chosen:
        rows.append(("Start", chosen["start"]))
        rows.append(("Masks", " and ".join(chosen["masks"]) or "none"))
        rows.append(("Guided by labels", "yes" if chosen["guided"] else "no"))
    if chosen.get("stages"):
        rows.append(("Stages", "; ".join(_stage(stage) for stage in chosen["stages"])))
    return rows


def _stage(stage: dict[str, Any]) -> str:
    spacing = stage["control_spacing_mm"]
    points = "a fixed number of control points" if spacing is None else f"control points every {spacing:g} mm"
    return f"{points}, displacements to {stage['capture_range_mm']:g} mm"


def _scans(report: dict[str, Any], names: bool) -> list[tuple[str, str]]:
    rows = [(f"{side.capitalize()} grid", _grid(report["grids"][side])) for side in ("fixed", "moving", "transform")]
    if names:
        files = {**report["inputs"], **{f"output {name}": path for name, path in report["outputs"].items()}}
        rows += [(name.replace("_", " ").capitalize(), path) for name, path in files.items()]
    return rows


def _grid(grid: dict[str, Any]) -> str:
    size = " \u00d7 ".join(str(n) for n in grid["size"])
    spacing = " \u00d7 ".join(f"{mm:.3g}" for mm in grid["spacing_mm"])
    return f"{size} voxels of {spacing} mm"


def _versions(report: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(name, version or "-") for name, version in report["versions"].items()]
    return rows + [(f"SHA-256 of {name}", digest) for name, digest in report["weights"].items()]
