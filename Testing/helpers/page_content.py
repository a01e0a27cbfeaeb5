"""A report with all that a page may show."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers import samples
from pddnet.core.structures import Motion
from pddnet.evaluation import report
from pddnet.evaluation.metrics import LABEL_METRICS
from pddnet.evaluation.motion import motion_table

INPUTS = {
    "fixed": "/data/Muster^Erika/ct",
    "fixed_labels": "/data/Muster^Erika/ct/organs.nii.gz",
    "moving": "/data/b.nrrd",
}


def summary(status: str = "doubtful") -> dict[str, Any]:
    """A report as the command makes it, of a stand-in for the registration."""
    fixed, moving = samples.ramp(samples.FIXED), samples.ramp(samples.MOVING)
    result = samples.fake_register(status)(fixed, moving)
    row = {"label": 6} | {side: 0.5 for metric in LABEL_METRICS for side in metric.sides}
    motion = Motion((4.0, 5.0, 6.0), (1.0, -2.25, 3.0), None, 10.0, 8.0, 4.0, 5.0)
    made = report.registration_report(
        result, fixed, moving.grid, np.ones(result.field.grid.shape), seconds={"total": 12.0},
        warnings=[f"{INPUTS['fixed_labels']}: the label map is empty"], labels=report.label_section([row], guided=True),
        motion=motion_table({6: motion}, result.structures),
        settings={"start": "alignment", "masks": ["fixed"], "guided": True, "stages": []},
        weights={"semantic.npz": "602d" * 16}, inputs=INPUTS, outputs={"transform": "/out/Muster.h5"},
    )  # fmt: skip
    return report.plain(made)
