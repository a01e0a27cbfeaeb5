"""Write a template: the mean, maps over all scans, and what belongs to each scan (`write_template`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.field import DisplacementField
from ..core.image import Image
from ..errors import InputError
from ..evaluation.report import grid_section, to_json, unique
from ..fusion.fuse import Warped, fuse
from ..io.atomic_outputs import OutputFiles
from ..io.common_labels import CommonLabels
from ..io.spill import spilled
from ..io.volumes import read_volume
from .average import Placed, Told, body_of, check_enough, on_mean_shape, read_hu, shape_of
from .moments import Moments
from .page import template_page
from .shape import log_jacobian, mean_length_mm
from .tables import Row, rounds_csv, scans_csv
from .task import COMMAND, REPORT, TemplateTask

_SCANS = 0.9  # share of the time
_MAJORITY = "majority"


def write_template(task: TemplateTask, told: Told) -> dict[str, Any]:
    """Write all files of a template, all or none, unless they are whole; return the report.

    Raises:
        InputError: a file cannot be read or written.
    """
    report = task.whole()
    if report is not None:
        return report
    check_enough(task.placed)
    targets = task.targets()
    _make_folders({path.parent for path, _ in targets.values()})
    inputs = [path for each in task.placed for path in (each.member.scan, each.member.labels) if path]
    with OutputFiles(targets, inputs) as outputs:
        work = _Work(task, outputs)
        for number, (each, field, values) in enumerate(
            on_mean_shape(task.placed, work.fixed, work.shape, task.settings)
        ):
            told(_SCANS * number / len(task.placed), each.member.id)
            work.add(each, field, values)
        told(_SCANS, "writing")
        report = work.finish()
        for path in (*task.left_over(), task.out / REPORT):  # the report last: without it nothing is vouched for
            path.unlink(missing_ok=True)
        outputs.commit()
    return report


class _Work:
    """What is known so far: sums over the scans."""

    def __init__(self, task: TemplateTask, outputs: OutputFiles) -> None:
        self.task, self._outputs = task, outputs
        self.fixed = read_hu(task.fixed, task.settings)
        self.shape = shape_of(self.fixed, task.placed, task.settings)
        self._template, _ = read_volume(task.mean_of(len(task.rounds)))
        self._body = body_of(self._template)
        grid = self.shape.grid
        self._values, self._jacobian = Moments(grid.shape), Moments(grid.shape)
        self._total = np.zeros_like(self.shape.back.array)  # of the displacements
        labels = task.placed[0].member.labels
        self._common = CommonLabels(labels.parent) if labels else None
        self._warped: list[Warped] = []
        self._rows: list[Row] = []
        self._warnings: list[str] = []

    def add(self, each: Placed, field: DisplacementField, values: Image) -> None:
        """Write what belongs to a scan, and add it to the sums. field: from the template; values: on its grid."""
        name, grid = each.member.id, self.shape.grid
        logarithm = log_jacobian(field).resample(grid)
        self._outputs.write_field(f"transform of {name}", field)
        self._outputs.write_image(f"log_jacobian of {name}", logarithm)
        self._values.add(values.array)
        self._jacobian.add(np.where(np.isfinite(values.array), logarithm.array, np.nan))
        self._total += field.array
        self._rows.append(_row(each, field, self._body))
        if self._common is not None and each.member.labels is not None:
            warped, warnings = _warped_labels(each.member.labels, each, field, values, self._common)
            self._warped.append(warped)
            self._warnings += warnings

    def finish(self) -> dict[str, Any]:
        """Write what is known of all scans together, and return the report."""
        grid, outputs, task = self.shape.grid, self._outputs, self.task
        outputs.write_image("template", self._template)
        maps = {
            "intensity_std": self._values.deviation,
            "log_jacobian_mean": self._jacobian.mean,
            "log_jacobian_std": self._jacobian.deviation,
            "count": self._values.count,
        }
        for name, values in maps.items():
            outputs.write_image(name, Image(values, grid))
        self._write_labels()
        outputs.write_text("scans", scans_csv(self._rows))
        outputs.write_text("rounds", rounds_csv(task.rounds))
        mean = DisplacementField(self._total / len(task.placed), self.shape.back.grid)
        report = {
            "command": COMMAND,
            "version": __version__,
            "converged": task.converged,
            "mean_displacement_mm": mean_length_mm(mean, self._body),
            "grid": grid_section(grid),
            "scans": self._rows,
            "rounds": [asdict(each) for each in task.rounds],
            "made": task.made,
            "warnings": unique(self._warnings),
        }
        pictures = {"Standard deviation of the intensity, HU": maps["intensity_std"]}
        pictures |= {"Standard deviation of the log-Jacobian": maps["log_jacobian_std"]}
        outputs.write_text("page", template_page(task, self._template, pictures, report))
        outputs.write_text("report", to_json(report))
        return report

    def _write_labels(self) -> None:
        """Let the labels vote, one scan one vote."""
        if self._common is None:
            return
        grid, common = self.shape.grid, self._common
        fused = fuse(self._template.array, self._warped, _MAJORITY, (1.0, 1.0, 1.0))
        self._outputs.write_image("labels", Image(fused.labels, grid))
        self._outputs.write_image("probability", Image(fused.probability, grid))
        numbers = sorted({int(number) for each in self._warped for number in np.unique(each.labels)} - {0})
        self._outputs.write_text("names", to_json({str(number): common.name(number) for number in numbers}))


def _row(each: Placed, field: DisplacementField, body: Image) -> Row:
    """Measure how a scan differs from the template, over its body."""
    inside = body.resample(field.grid).array > 0
    determinant = field.jacobian_determinant()[inside]
    logarithm = log_jacobian(field).array[inside]
    return {
        "id": each.member.id,
        "scan": str(each.member.scan),
        "displacement_mm": mean_length_mm(field, body),
        "log_jacobian_mean": float(logarithm.mean()),
        "log_jacobian_std": float(logarithm.std()),
        "folding_percent": 100.0 * float((determinant <= 0).mean()),
    }


def _warped_labels(
    path: Path, each: Placed, field: DisplacementField, values: Image, common: CommonLabels
) -> tuple[Warped, list[str]]:
    """Read a label map and bring it onto the template's grid, with warnings; it votes where its scan shows anything."""
    scan, _ = read_volume(each.member.scan)
    labels, warnings = common.read(path, scan.grid)
    named = spilled(labels.resample(values.grid, field.to_sitk(), labels=True).array.astype(np.uint16))
    seen = spilled(values.array.astype(np.float16))
    return Warped(named, seen, seen), warnings  # the difference to the target has no say in a majority


def _make_folders(folders: Iterable[Path]) -> None:
    for folder in sorted(folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: the folder cannot be made ({error.strerror}); choose another one") from None
