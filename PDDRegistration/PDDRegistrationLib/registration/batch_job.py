"""Register the pairs of a batch, one request to the worker after the other (`BatchJob`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.batch.claim import forget
from pddnet.batch.jobs import Job
from pddnet.batch.pairs import Pair
from pddnet.batch.records import Outcome
from pddnet.batch.run import Batch
from pddnet.core.intensity import AUTO, check_intensity
from pddnet.core.linear import DEFORMABLE, check_transform_type
from pddnet.core.preset_overrides import adjusted
from pddnet.core.presets import find_preset
from pddnet.errors import InputError
from pddnet.io.paths import is_utf8

from ..scene.scan_files import ScanFiles
from ..worker.client import Worker
from ..worker.failure import Failure, noMemory
from .batch_rows import BatchRow

ENDING = ("cancelled", "torch_missing", "mismatch")
"""Kinds of failures that end the batch; after others the next pair has its turn."""


@dataclass(frozen=True)
class BatchSelection:
    """Choice for a batch.

    folder: for the results. earlier: pairs of earlier runs in that folder and what became of them, which the summary
    names, too. The other fields are those of `Selection`, for all pairs.
    """

    rows: tuple[BatchRow, ...]
    folder: str
    earlier: tuple[tuple[Job, Outcome], ...] = ()
    preset: str = "default"
    device: str = "auto"
    transformType: str = DEFORMABLE
    intensity: str = AUTO
    diffeomorphic: bool = False
    adjust: Mapping[str, Any] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """Return the folder as an absolute path."""
        return Path(os.path.abspath(self.folder))

    def check(self) -> None:
        """Raise InputError where the choice cannot be carried out."""
        adjusted(find_preset(self.preset), **self.adjust)
        check_transform_type(self.transformType)
        check_intensity(self.intensity)
        if not self.rows:
            raise InputError(_("Tick the pairs to register."))
        if not self.folder:
            raise InputError(_("Choose a folder for the results."))
        if self.out.exists() and not self.out.is_dir():
            raise InputError(_("{path}: this is a file; choose a folder for the results.").format(path=self.out))
        if not is_utf8(self.out):
            text = _("{path}: the folder's name is not in UTF-8; choose another one.")
            raise InputError(text.format(path=ascii(str(self.out))))

    def settings(self) -> dict[str, Any]:
        """Return the settings in the words of the worker's request."""
        return {
            "preset": self.preset,
            "transform_type": self.transformType,
            "intensity": self.intensity,
            "device": self.device,
            "diffeomorphic": self.diffeomorphic,
            "adjust": dict(self.adjust),
        }


class BatchJob:
    """Register pairs in turn. The scene is only read; the files of a pair are written all together, or none.

    It ends with one call of onFinished or onFailed; the rows that were done before stay done.
    """

    def __init__(
        self,
        worker: Worker,
        selection: BatchSelection,
        onRow: Callable[[BatchRow, Outcome], None] | None = None,
        onProgress: Callable[[BatchRow, float, str], None] | None = None,
        onFinished: Callable[[], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> None:
        """Start with the first pair; raise InputError, with nothing started, where that cannot be.

        Args:
            worker: whose tasks are those of `pddnet.cli.slicer_tasks`.
            onRow: called with each pair when it is done, or cannot be. onProgress: with a pair that is registered, the
                fraction of its time, 0 to 1, and the stage.
        """
        selection.check()
        self.selection, self._worker = selection, worker
        self._onRow, self._onProgress, self._onFinished, self._onFailed = onRow, onProgress, onFinished, onFailed
        self._batch = _batchOf(selection)
        self._batch.make_folder()
        self._files = ScanFiles(slicer.app.temporaryPath)
        # the process keeps what belongs to a fixed scan until another one comes
        self._left = sorted(selection.rows, key=lambda row: row.pair.files["fixed"])
        self._number: int | None = None  # of the request that is open
        self._busy = self._advancing = self._ended = False
        self.failure: Failure | None = None
        self.summaryFailure = ""  # why summary.csv could not be written
        self._advance()

    @property
    def isRunning(self) -> bool:
        """Return whether the job has not ended yet."""
        return not self._ended

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """Return what became of the pairs so far, by their ids."""
        known = self._batch.outcomes
        return {row.pair.id: known[row.pair.id] for row in self.selection.rows if row.pair.id in known}

    def cancel(self) -> None:
        """Cancel the job; what is done stays, and onFailed is called with kind 'cancelled', within seconds."""
        if self._busy and self._number is not None:
            self._worker.cancel(self._number)

    def wait(self) -> dict[str, Outcome]:
        """Block until the job ends, and return what became of the pairs, by their ids.

        Raises:
            Cancelled, WorkerError: the job ended before the last pair.
        """
        while self.isRunning and self._number is not None:
            self._worker.waitFor(self._number)
        if self.failure is not None:
            raise self.failure.asException()
        return self.outcomes

    def _advance(self) -> None:
        """Send the next pair to the worker, unless one is there; pairs that cannot be sent are passed over."""
        if self._advancing:  # called again by a request that failed at once
            return
        self._advancing = True
        try:
            while self._left and not self._busy and self.failure is None:
                self._try(self._left.pop(0))
        finally:
            self._advancing = False
        if not self._busy:
            self._end()

    def _try(self, row: BatchRow) -> None:
        """Send a pair to the worker, or tell why that cannot be; the others go on."""
        self._busy = True
        try:
            self._number = self._send(row)
        except InputError as error:
            self._tell(row, Outcome(row.pair.id, reason=str(error)))
        except MemoryError:
            self._tell(row, Outcome(row.pair.id, reason=noMemory()))
        except Exception:
            logging.exception("a pair of the batch could not be sent")
            text = _("The pair could not be read; the Python console says why.")
            self._tell(row, Outcome(row.pair.id, reason=text))

    def _send(self, row: BatchRow) -> int:
        pair = Pair(row.pair.id, self._filesOf(row), row.pair.series)
        request = {"do": "pair", "pair": vars(pair), "out": str(self.selection.out)}
        request["settings"] = self.selection.settings()
        progress = partial(self._onProgress, row) if self._onProgress is not None else None
        done, failed = partial(self._onDone, row), partial(self._onRowFailed, row)
        return self._worker.submit(request, progress, done, failed)

    def _filesOf(self, row: BatchRow) -> dict[str, str]:
        """Return the paths of a pair's files; volumes of the scene are written now."""
        if row.fixedVolume is None or row.movingVolume is None:
            return row.pair.files
        volumes = {"fixed": row.fixedVolume, "moving": row.movingVolume}
        return {side: str(self._files.volume(node, row.pair.files[side])) for side, node in volumes.items()}

    def _onDone(self, row: BatchRow, answer: dict[str, Any]) -> None:
        self._tell(row, Outcome(**answer))
        self._advance()

    def _onRowFailed(self, row: BatchRow, failure: Failure) -> None:
        if failure.kind in ENDING:
            self.failure = failure
            self._clean(row)
            self._busy = False
        else:
            self._tell(row, Outcome(row.pair.id, reason=failure.message))
        self._advance()

    def _tell(self, row: BatchRow, outcome: Outcome) -> None:
        self._busy = False
        self._clean(row)
        self._batch.outcomes[outcome.id] = outcome
        try:
            if self._onRow is not None:
                self._onRow(row, outcome)
        except Exception:  # the next pair has its turn all the same
            logging.exception("a callback of the batch failed")

    def _clean(self, row: BatchRow) -> None:
        """Delete what nobody needs any more of a pair: the file of its moving volume, and a folder without results."""
        if row.movingVolume is not None:
            self._files.forget(row.pair.files["moving"])
        forget(self.selection.out / row.pair.id)

    def _end(self) -> None:
        self._ended = True
        self._files.remove()
        if self.outcomes:
            try:
                self._batch.write_summaries(page=False)
            except InputError as error:
                self.summaryFailure = str(error)
            except Exception:
                logging.exception("the summary of the batch could not be written")
                self.summaryFailure = _("The summary could not be written; the Python console says why.")
        if self.failure is None and self._onFinished is not None:
            self._onFinished()
        if self.failure is not None and self._onFailed is not None:
            self._onFailed(self.failure)


def _batchOf(selection: BatchSelection) -> Batch:
    """Return the pairs to register, of which nothing is known yet, after those of earlier runs."""
    jobs = [row.job(selection.out) for row in selection.rows]
    ids = {job.id for job in jobs}
    earlier = [(job, outcome) for job, outcome in selection.earlier if job.id not in ids]
    outcomes = {job.id: outcome for job, outcome in earlier}
    return Batch(selection.out, [*(job for job, _outcome in earlier), *jobs], outcomes=outcomes)
