"""Register every frame of a sequence to one of them, each from the result of its neighbour (`SequenceRun`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from .. import __version__
from ..core.affine import Affine
from ..core.image import Image
from ..core.intensity import AUTO
from ..core.linear import DEFORMABLE, RIGID, LinearTransform
from ..core.presets import Preset
from ..core.result import Progress
from ..core.sequence import start_frame, visiting_order
from ..errors import InputError
from ..evaluation import report
from ..evaluation.motion import label_motion, motion_at_rest, motion_table, sequence_csv
from ..io.atomic_outputs import OutputFiles
from ..io.sequence import Frame
from ..io.transforms import load_transform
from ..io.volumes import read_labels
from ..matching.progress import Clock
from . import provenance
from .outputs import write_outputs
from .registration import FinishedRun, RunInputs, register
from .sequence_folder import MADE_FROM, SequenceFolder

REFERENCE, FAILED = "reference", "failed"
Record = dict[str, Any]
"""Report of one frame, as JSON holds it: see `registration_report`, and `frame`, `start_frame` and `made_from`."""


@dataclass(frozen=True)
class SequenceSettings:
    """What holds for all frames."""

    preset: Preset
    transform_type: str = DEFORMABLE
    intensity: str = AUTO  # see `core.intensity.to_hu`
    align: bool = False  # whether frames without a neighbour to start from search for the alignment
    device: str = "auto"
    weights: Path | None = None  # of the user's own training


@dataclass
class SequenceRun:
    """Registration of all frames to a reference. `records` grows by one whole frame after the other."""

    frames: list[Frame]
    reference: int
    folder: SequenceFolder
    settings: SequenceSettings
    labels: Path | None = None  # label map of the reference, whose structures the motion table follows
    records: dict[int, Record] = dataclasses.field(default_factory=dict)

    def resume(self) -> None:
        """Take over the frames that an earlier run with the same inputs left whole.

        Raises:
            InputError: the folder holds frames that were made otherwise.
        """
        checksums = [frame.checksum() for frame in self.frames]
        settings = self.settings
        self._common = report.plain(
            {
                "reference": checksums[self.reference],
                "labels": Frame(self.labels).checksum() if self.labels else None,
                "preset": settings.preset.name,
                "transform_type": settings.transform_type,
                "intensity": settings.intensity,
                "alignment": settings.align,
                "weights": provenance.weights_used(settings.preset, settings.weights),
                "version": __version__,
            }
        )
        self._checksums = checksums
        for number in range(len(self.frames)):
            found = self.folder.whole(number, self._made_from(number))
            if found is not None:
                self.records[number] = found

    def run(self, progress: Progress, told: Callable[[Record], None] = lambda record: None) -> Record:
        """Register the frames that are missing, write the summaries, and return the report of the sequence.

        progress: called with (fraction 0..1 of the missing frames, stage). told: called with the record of each frame
        when its files are whole.

        Raises:
            InputError, Cancelled, MemoryError: as for `registration.register`; frames that are whole stay.
        """
        clock = Clock()
        progress(0.0, "reading")
        self._fixed, self._warnings = self.frames[self.reference].read()
        self._read_labels()
        missing = [n for n in visiting_order(len(self.frames), self.reference) if n not in self.records]
        if self.reference not in self.records:
            self._keep_reference()
        for done, number in enumerate(missing):
            self._register(number, _part(progress, done, len(missing), number))
            told(self.records[number])
        return self._summarise(clock)

    def _read_labels(self) -> None:
        self._labels: Image | None = None
        if self.labels is not None:
            self._labels, warnings = read_labels(self.labels, self._fixed.grid)
            self._warnings = self._warnings + warnings

    def _made_from(self, number: int) -> dict[str, Any]:
        return {"frame": self._checksums[number], **self._common}

    def _register(self, number: int, progress: Progress) -> None:
        """Register one frame and write its files, all or none."""
        clock, frame = Clock(), self.frames[number]
        progress(0.0, "reading")
        moving, warnings = frame.read()
        inputs = RunInputs(self._fixed, moving, fixed_labels=self._labels, warnings=self._warnings + warnings)
        inputs.transform_type, inputs.align = self.settings.transform_type, self.settings.align
        inputs.bring_to_hu(
            self.settings.preset, self.settings.intensity, (self.frames[self.reference].name, frame.name)
        )
        start, inputs.initial_transform = self._start(number)
        self._check_start(inputs, number, start)
        clock.lap("read")
        settings = self.settings
        done = register(
            inputs, settings.preset, clock=clock, progress=progress, device=settings.device, weights=settings.weights
        )
        with self._open(number) as files:
            write_outputs(files, done)
            clock.lap("write")
            self._commit(files, number, self._record(done, clock, number, start, files.paths))

    def _record(self, done: FinishedRun, clock: Clock, number: int, start: int | None, paths: dict[str, str]) -> Record:
        names = {"fixed": self.frames[self.reference].name, "moving": self.frames[number].name}
        return {
            "frame": number,
            "start_frame": start,
            **done.report(clock, inverse=False, inputs=names, outputs=_names(paths)),
        }

    def _start(self, number: int) -> tuple[int | None, sitk.Transform | None]:
        """Find the frame to start from, and its transform; None: the reference itself."""
        failed = [n for n, record in self.records.items() if record["verdict"]["status"] == FAILED]
        near = start_frame(number, self.reference, failed)
        return near, None if near is None else load_transform(self.folder.transform(near))[0]

    def _check_start(self, inputs: RunInputs, number: int, start: int | None) -> None:
        """Raise InputError where a frame does not overlap the reference at its start; it names the frame."""
        try:
            inputs.check_start()
        except InputError:
            where = "where it lies" if start is None else f"under the transform of frame {start}"
            advice = "let --align search for the start" if start is None else "leave it out, or correct its header"
            raise InputError(
                f"{self.frames[number].name}: {where}, frame {number} does not overlap the reference, frame "
                f"{self.reference}; {advice}"
            ) from None

    def _keep_reference(self) -> None:
        """Write the files of the reference: the identity, and itself."""
        grid = self._fixed.grid
        motion = motion_table(label_motion(self._labels, sitk.Transform(3, sitk.sitkIdentity)) if self._labels else {})
        with self._open(self.reference) as files:
            files.write_linear("transform", LinearTransform(Affine.identity(), RIGID, grid.centre))
            files.write_image("volume", self._fixed)
            verdict = {"status": REFERENCE, "reasons": []}
            record: Record = {"frame": self.reference, "start_frame": None, "command": "register", "verdict": verdict}
            record |= {"seconds": {"total": 0.0}, "motion": motion, "warnings": self._warnings}
            record |= {"inputs": {"fixed": self.frames[self.reference].name}, "outputs": _names(files.paths)}
            self._commit(files, self.reference, record)

    def _open(self, number: int) -> OutputFiles:
        return OutputFiles(self.folder.targets(number), [frame.path for frame in self.frames])

    def _commit(self, files: OutputFiles, number: int, record: Record) -> None:
        """Write the record last: where it exists, the frame is whole."""
        record = report.plain({**record, MADE_FROM: self._made_from(number)})
        files.write_text("report", report.to_json(record))
        files.commit()
        self.records[number] = record

    def _summarise(self, clock: Clock) -> Record:
        numbers = range(len(self.frames))
        tables = {number: self.records[number]["motion"] for number in numbers}
        tables[self.reference] = motion_at_rest(tables)
        summary = {
            "command": "sequence",
            "reference": self.reference,
            "frames": [_line(self.records[number], self.frames[number]) for number in numbers],
            "preset": self.settings.preset.name,
            "transform_type": self.settings.transform_type,
            "weights": self._common["weights"],
            "seconds": clock.seconds["total"],
            "warnings": report.unique(text for number in numbers for text in self.records[number]["warnings"]),
            "versions": report.versions(),
        }
        with OutputFiles(self.folder.summaries()) as files:
            files.write_text("motion", sequence_csv(tables))
            files.write_text("report", report.to_json(summary))
            files.commit()
        return summary


def _part(progress: Progress, done: int, count: int, number: int) -> Progress:
    """Make the progress of one frame a part of that of all."""
    return lambda fraction, stage: progress((done + fraction) / count, f"frame {number}: {stage}")


def _names(paths: dict[str, str]) -> dict[str, str]:
    """Shorten paths to their names: the folder may be moved."""
    return {key: Path(path).name for key, path in paths.items()}


def _line(record: Record, frame: Frame) -> Record:
    """Sum up one frame for the report of the sequence."""
    verdict = record["verdict"]
    return {
        "frame": record["frame"],
        "input": frame.name,
        "start_frame": record["start_frame"],
        "seconds": record["seconds"]["total"],
        "verdict": {"status": verdict["status"], "reasons": verdict["reasons"]},
        "outputs": record["outputs"],
    }
