"""A batch: find what is whole, register the rest on a cluster, and write the summaries."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..evaluation import report
from ..io.atomic_outputs import PAGES, REPORTS, TABLES, OutputFiles
from .cluster import run_tasks
from .jobs import Job
from .page import summary_page
from .records import Outcome, whole
from .summary import csv_table, dataset_description, sorted_lines
from .task import register_pair

if TYPE_CHECKING:
    from distributed import Client

WAIT_SECONDS = 1.0  # before pairs that another run works on are looked at again
FAILED = "failed"  # the verdict


@dataclass
class Batch:
    """The pairs of a batch and what became of them. `outcomes` grows by one pair after the other."""

    out: Path
    jobs: Sequence[Job]
    resources: dict[str, float] | None = None  # that a worker of the cluster must have for a pair
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def make_folder(self) -> None:
        """Make the folder of the results, if it is not there. Raises InputError where it cannot be made."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.out}: the folder cannot be made ({error.strerror}); choose another one") from None

    def resume(self) -> int:
        """Take over the pairs that are whole without our knowing, as far as that shows at once; return how many are."""
        for job in self.missing:
            found = whole(job, at_once=True)
            if found is not None:
                self.outcomes[job.id] = Outcome(job.id, found, kept=True)
        return self.done

    def share_cores(self, threads: int) -> None:
        """Let every registration use that many cores; 0: as the environment of the workers says."""
        self.jobs = [dataclasses.replace(job, threads=threads) for job in self.jobs]

    @property
    def missing(self) -> list[Job]:
        """List the pairs that are not whole, those of one fixed scan one after the other."""
        missing = [job for job in self.jobs if not self._is_done(job)]
        return sorted(missing, key=lambda job: job.files["fixed"])  # stable

    @property
    def done(self) -> int:
        """Count the pairs that are whole."""
        return sum(self._is_done(job) for job in self.jobs)

    def run(self, client: Client, told: Callable[[Outcome], None], wait: Callable[[float], None] = time.sleep) -> None:
        """Register what is missing. told: called with every pair that is finished, or left to another run.

        A pair on which another run works is looked at again, until that run has finished or left it.
        """
        left = self.missing
        while left:
            busy = []
            for number, answer in run_tasks(client, register_pair, [job.as_json() for job in left], self.resources):
                job = left[number]
                outcome = Outcome(job.id, reason=answer) if isinstance(answer, str) else Outcome(**answer)
                first = not (outcome.busy and self._is_busy(job))
                self.outcomes[job.id] = outcome
                if outcome.busy:
                    busy.append(job)
                if first:
                    told(outcome)
            left = busy
            if left:
                wait(WAIT_SECONDS)

    def write_summaries(self, *, page: bool = True) -> None:
        """Write summary.csv, summary.html and dataset_description.json. Raises InputError where that fails.

        page: whether to write summary.html, which needs Jinja2.
        """
        lines = sorted_lines(self.jobs, self.outcomes)
        targets = {
            "table": (self.out / "summary.csv", TABLES),
            "page": (self.out / "summary.html" if page else None, PAGES),
            "description": (self.out / "dataset_description.json", REPORTS),
        }
        with OutputFiles(targets) as files:
            files.write_text("table", csv_table(lines))
            if page:
                files.write_text("page", summary_page(lines))
            files.write_text("description", report.to_json(dataset_description()))
            files.commit()

    @property
    def has_failed_verdicts(self) -> bool:
        """Tell whether the verdict of a pair is 'failed'."""
        return any(outcome.row.get("verdict") == FAILED for outcome in self.outcomes.values())

    def _is_done(self, job: Job) -> bool:
        return job.id in self.outcomes and self.outcomes[job.id].done

    def _is_busy(self, job: Job) -> bool:
        return job.id in self.outcomes and self.outcomes[job.id].busy
