"""Register every frame of a 2-D sequence over time to one of them, and carry its labels through the frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..core.field import DisplacementField
from ..core.plane import Plane, inverted, to_displacements, to_transform
from ..core.result import Progress
from ..core.sequence import start_frame, visiting_order
from ..evaluation import report
from ..io.atomic_outputs import IMAGES, TABLES, OutputFiles
from ..io.planes import file_of
from .plane import PlaneInputs, register_planes
from .sequence_folder import SequenceFolder

FAILED, REFERENCE = "failed", "reference"
COLUMNS = "frame,label,x_mm,y_mm,area_mm2"


@dataclass
class PlaneSequence:
    """Frames of one size or several, in order, and where their results go."""

    frames: Sequence[Plane]
    names: Sequence[str]
    reference: int
    folder: SequenceFolder
    labels: Plane | None = None  # of the reference
    align: bool = False  # whether the neighbours of the reference search for their start
    weights: Path | None = None  # of the network `plane`, see `PlaneInputs`
    warnings: list[str] = field(default_factory=list)

    def run(self, progress: Progress) -> Iterator[dict[str, Any]]:
        """Register frame by frame, each from its neighbour; yield the record of each when its files are whole.

        Raises:
            InputError: a file cannot be written. Cancelled: the progress callback stopped the run.
        """
        self.records: dict[int, dict[str, Any]] = {}
        self._rows: dict[int, list[str]] = {}
        found: dict[int, sitk.Transform] = {}
        fixed = self.frames[self.reference]
        self._keep_reference(fixed)
        for number in visiting_order(len(self.frames), self.reference):
            failed = [n for n, record in self.records.items() if record["verdict"]["status"] == FAILED]
            start = start_frame(number, self.reference, failed)
            inputs = PlaneInputs(fixed, self.frames[number], align=self.align and start is None, weights=self.weights)
            inputs.initial_transform = None if start is None else found[start]
            done = register_planes(inputs, _part(progress, len(self.records), len(self.frames), number))
            found[number] = done.found.to_sitk()
            record = done.report({}, {"fixed": self.names[self.reference], "moving": self.names[number]}, {})
            record |= {"frame": number, "start_frame": start}
            warped = done.found.warp(self.frames[number], fixed)
            self._write(number, done.found.field, warped, record)
            yield record
        self._summarise()

    def _keep_reference(self, fixed: Plane) -> None:
        """Write the files of the reference: no displacement, and itself."""
        still = DisplacementField(np.zeros((*fixed.grid.shape, 3), np.float32), fixed.grid)
        verdict = {"status": REFERENCE, "reasons": []}
        self._write(self.reference, still, fixed, {"frame": self.reference, "start_frame": None, "verdict": verdict})

    def _write(self, number: int, moved: DisplacementField, warped: Plane, record: dict[str, Any]) -> None:
        """Write the files of one frame, all or none."""
        targets = self.folder.targets(number)
        labels = self._carried(number, moved)
        path = self.folder.volume(number)
        targets["labels"] = (path.with_name(path.name.replace("_warped", "_labels")) if labels else None, IMAGES)
        with OutputFiles(targets, [file_of(Path(name)) for name in self.names]) as files:
            files.write_plane_field("transform", to_displacements(moved))
            if "volume" in files:
                files.write_plane("volume", warped.as_stored())
            if labels:
                files.write_plane("labels", labels.as_stored())
                self._rows[number] = _places(number, labels)
            files.write_text("report", report.to_json(record))
            files.commit()
        self.records[number] = record

    def _carried(self, number: int, moved: DisplacementField) -> Plane | None:
        """Warp the reference's labels to a frame: by the inverse of its transform, which leads from it to the frame."""
        if self.labels is None:
            return None
        frame = self.frames[number]
        return self.labels.resample(frame, to_transform(inverted(moved, frame.grid)), labels=True)

    def _summarise(self) -> None:
        lines = [line for number in sorted(self._rows) for line in self._rows[number]]
        motion, _ = self.folder.summaries()["motion"]
        summary = {
            "command": "sequence",
            "dimension": 2,
            "reference": self.reference,
            "frames": [self._line(number) for number in sorted(self.records)],
            "warnings": report.unique(self.warnings),
            "versions": report.versions(),
        }
        targets = {**self.folder.summaries(), "motion": (motion if lines else None, TABLES)}
        with OutputFiles(targets) as files:
            files.write_text("motion", "\n".join([COLUMNS, *lines]) + "\n")
            files.write_text("report", report.to_json(summary))
            files.commit()

    def _line(self, number: int) -> dict[str, Any]:
        record = self.records[number]
        verdict = {key: record["verdict"][key] for key in ("status", "reasons")}
        return {
            "frame": number,
            "input": self.names[number],
            "start_frame": record["start_frame"],
            "verdict": verdict,
        }


def _places(number: int, labels: Plane) -> list[str]:
    """Give centroid (mm, in the frame's coordinates) and area of every label, a line each."""
    lines = []
    for label in sorted(set(np.unique(labels.image.array).tolist()) - {0}):
        _, rows, columns = np.nonzero(labels.image.array == label)
        x, y, _ = labels.grid.index_to_point([columns.mean(), rows.mean(), 0])
        lines.append(f"{number},{label},{x:.3f},{y:.3f},{len(rows) * labels.grid.spacing[:2].prod():.2f}")
    return lines


def _part(progress: Progress, done: int, count: int, number: int) -> Progress:
    """Make the progress of one frame a part of that of all."""
    return lambda fraction, stage: progress((done + fraction) / count, f"frame {number}: {stage}")
