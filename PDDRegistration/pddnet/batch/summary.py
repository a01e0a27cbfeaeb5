"""The summary of a batch: one line for each pair, those first that need looking at."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__
from .jobs import Job
from .records import DONE, NOT_DONE, Outcome

COLUMNS = (
    *("id", "state", "verdict", "risk", "expected_error_mm", "dice_before", "dice_after", "seconds"),
    *("warnings", "reasons", "fixed", "moving", "transform"),
)
_ORDER = {"failed": 1, "doubtful": 2, "ok": 3}  # what is not done comes before
Line = dict[str, Any]
"""What the summary says of a pair, by the names of COLUMNS; and `files`, the names of its outputs."""


def sorted_lines(jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> list[Line]:
    """Make the lines, sorted by what needs looking at first."""
    lines = [_line(job, outcomes.get(job.id)) for job in jobs]
    return sorted(lines, key=_urgency)


def _line(job: Job, outcome: Outcome | None) -> Line:
    common = {"id": job.id, "fixed": job.files["fixed"], "moving": job.files["moving"]}
    if outcome is None or not outcome.done:
        reason = outcome.reason if outcome else "the run ended before"
        return {**dict.fromkeys(COLUMNS), **common, "state": NOT_DONE, "reasons": [reason], "files": {}}
    return {
        **common,
        **outcome.row,
        "state": DONE,
        "transform": f"{job.id}/{job.outputs['transform']}",
        "files": {name: f"{job.id}/{file}" for name, file in job.outputs.items()},
    }


def _urgency(line: Line) -> tuple[Any, ...]:
    """Sort by verdict, then by risk and by expected error, the highest first."""
    return (
        _ORDER.get(line["verdict"], 0),
        -(line["risk"] or 0.0),
        -(line["expected_error_mm"] or 0.0),
        line["id"],
    )


def csv_table(lines: Sequence[Line]) -> str:
    """Write the lines as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for line in lines:
        shown = {**line, "reasons": "; ".join(line["reasons"])}
        table.writerow([_cell(shown[name]) for name in COLUMNS])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else value


def dataset_description() -> dict[str, Any]:
    """Describe the folder as BIDS wants it of derivatives."""
    made_by = {"Name": "pddnet", "Version": __version__}
    return {
        "Name": "Registrations by pddnet batch",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
    }
