"""What is known of a pair that was registered: whether its files are whole, and its line of the summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.file_identity import is_same, is_unchanged
from ..io.text_files import read_json
from .jobs import Job

DONE, NOT_DONE = "done", "not done"
Row = dict[str, Any]
"""What the summary says of a pair that is whole: verdict, risk, reasons and the numbers of `row_of`."""


@dataclass(frozen=True)
class Outcome:
    """What became of a pair: its row, or the reason why it is not done. busy: another run works on it."""

    id: str
    row: Row = field(default_factory=dict)
    reason: str = ""
    busy: bool = False
    kept: bool = False  # an earlier run had registered it

    @property
    def done(self) -> bool:
        """Tell whether its files are whole."""
        return bool(self.row)


def whole(job: Job, *, at_once: bool) -> Row | None:
    """Return the row of a pair whose files are whole and made from the same inputs with the same settings, or None.

    at_once: compare inputs by size and time only, and take those that differ for changed; else by what they hold.
    """
    same: Callable[[str | Path, dict[str, Any]], bool] = is_unchanged if at_once else is_same
    try:
        sidecar, report = (read_json(job.path(name)) for name in ("sidecar", "report"))
        files = sidecar["files"]
        if {name: sidecar[name] for name in job.made} != job.made or files.keys() != job.files.keys():
            return None
        if not all(same(path, files[name]) for name, path in job.files.items()):
            return None
        if any(sidecar[name] != report["verdict"][name] for name in ("status", "risk", "reasons")):
            return None  # a later run of the pair's id, of other scans, has replaced the report
        return row_of(report) if all(job.path(name).is_file() for name in job.outputs) else None
    except (InputError, OSError, KeyError, TypeError, AttributeError):  # missing, or not ours
        return None


def row_of(report: dict[str, Any]) -> Row:
    """Take what the summary shows out of the report of a pair."""
    verdict, labels = report["verdict"], report.get("labels")
    mean = labels["mean"] if labels else {}
    return {
        "verdict": verdict["status"],
        "risk": verdict["risk"],
        "reasons": list(verdict["reasons"]),
        "expected_error_mm": verdict["measures"].get("expected_error_mm"),
        "dice_before": mean.get("dice_before"),
        "dice_after": mean.get("dice_after"),
        "seconds": report["seconds"]["total"],
        "warnings": len(report["warnings"]),
    }
