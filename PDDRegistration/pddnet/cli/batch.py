"""Register many pairs, and sum them up (`pddnet batch`)."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ..batch import pairs as batch_pairs
from ..batch.cluster import check_installed, cores, has_workers, local_cluster, running_cluster, size_of
from ..batch.jobs import Outputs
from ..batch.pairs import Pair
from ..batch.records import Outcome
from ..batch.run import Batch
from ..core.intensity import INTENSITIES, check_intensity
from ..core.linear import TRANSFORM_TYPES, check_transform_type
from ..core.presets import DEVICES, PRESETS, find_preset
from ..errors import InputError
from ..io.paths import check_path, is_utf8
from ..io.weights_file import PDD, SEMANTIC, read_weights
from ..page.pictures import check_matplotlib
from .console import Console
from .exit_codes import NOT_ALL_DONE, OK, VERDICT_FAILED
from .pair_jobs import PairJobs, PairSettings
from .stops import leaving

if TYPE_CHECKING:
    from distributed import Client

RUNNER: list[str] = []  # the program that registers, and its arguments; empty: our own worker
_LONGEST_ID = 32  # characters, in a line of the console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = (
        "Register many pairs of scans. Pairs that are whole in the folder, and made from the same files with the same "
        "settings, are kept: the same command goes on where it was stopped."
    )
    which = parser.add_argument_group("pairs (one of a table, --moving-glob and --bids)")
    which.add_argument("table", nargs="?", metavar="PAIRS.csv", help=f"columns: {', '.join(batch_pairs.COLUMNS)}")
    which.add_argument("--fixed", metavar="F", help="the scan that stays")
    which.add_argument("--moving-glob", metavar="G", help="pattern of the scans that are laid over it, in quotes")
    which.add_argument("--bids", metavar="DIR", help="each subject's scans to its first one, or all to --fixed")
    which.add_argument("--bids-suffix", default="ct", metavar="S", help="sub-*_S.nii.gz (default: %(default)s)")
    add_how(parser)
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--out", required=True, metavar="OUT", help="the folder for the results, OUT/ID of each pair")
    outputs.add_argument("--warped", action="store_true", help="write every moving scan on the fixed grid, too")
    outputs.add_argument("--pages", action="store_true", help="write a page with pictures of every pair, too")
    add_where(parser)


def add_how(parser: argparse.ArgumentParser) -> None:
    """Declare with which settings pairs are registered."""
    how = parser.add_argument_group("how, as of register")
    how.add_argument("--preset", default="default", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    how.add_argument("--transform-type", default=TRANSFORM_TYPES[0], metavar="TYPE", help=", ".join(TRANSFORM_TYPES))
    how.add_argument("--diffeomorphic", action="store_true", help="deformations that never fold")
    how.add_argument("--intensity", default=INTENSITIES[0], metavar="UNIT", help=", ".join(INTENSITIES))
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    how.add_argument("--weights", metavar="W.npz", help="of your own training, of either network")


def add_where(parser: argparse.ArgumentParser) -> None:
    """Declare on which machines pairs are registered."""
    where = parser.add_argument_group("where")
    place = where.add_mutually_exclusive_group()
    place.add_argument("--workers", type=int, metavar="N", help="pairs at a time (default: by cores and memory)")
    place.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that runs, such as tcp://host:8786")
    where.add_argument("--threads", type=int, default=0, metavar="N", help="cores of one registration")
    where.add_argument("--limit-memory", type=float, metavar="GB", help="end a registration that needs more")
    where.add_argument("--resources", metavar="NAME=X", help="what a Dask worker must have for a pair, such as GPU=1")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    console = Console()
    check_installed()
    check(args)
    batch = make_batch(args, Path(os.path.abspath(args.out)), _pairs(args))
    written = complete(batch, args, console)
    console.line(f"{batch.done} of {len(batch.jobs)} pairs are whole; look at {batch.out / 'summary.html'}")
    if batch.done < len(batch.jobs) or not written:
        return NOT_ALL_DONE
    return VERDICT_FAILED if batch.has_failed_verdicts else OK


def complete(batch: Batch, args: argparse.Namespace, console: Console) -> bool:
    """Register what is missing; return whether the summaries are whole. Raise InputError or Stopped.

    args: has those of `add_where`.
    """
    batch.make_folder()
    if kept := batch.resume():
        console.line(f"{kept} of {len(batch.jobs)} pairs are whole in {batch.out} and kept")
    with leaving(lambda: _left(batch)):
        return _run(batch, args, console) if batch.missing else _summarise(batch, console)


def _run(batch: Batch, args: argparse.Namespace, console: Console) -> bool:
    """Register what is missing, and write the summaries even if that is interrupted; return whether they are whole."""
    console(0.0, "start")
    try:
        with _cluster(batch, args) as client:
            if not has_workers(client):
                console.line(f"{args.scheduler}: no Dask worker is there yet; waiting for one")
            batch.run(client, _Teller(batch, console))
    finally:
        console.clear()
        batch.resume()  # what was finished when nobody listened any more
        written = _summarise(batch, console)
    return written


def _summarise(batch: Batch, console: Console) -> bool:
    """Write the summaries; return whether that could be done."""
    try:
        batch.write_summaries()
    except InputError as error:  # a full disk: what became of the pairs was printed
        console.line(f"warning   {error}")
        return False
    return True


class _Teller:
    """Print what became of each pair, and how long the others may take."""

    def __init__(self, batch: Batch, console: Console) -> None:
        self._batch, self._console = batch, console
        self._start, self._count, self._finished = time.monotonic(), len(batch.missing), 0

    def __call__(self, outcome: Outcome) -> None:
        self._finished += not outcome.busy
        width = len(str(len(self._batch.jobs)))
        self._console.line(f"{self._batch.done:{width}d} of {len(self._batch.jobs)}  {_line(outcome)}")
        left = self._count - self._finished
        seconds = (time.monotonic() - self._start) / max(self._finished, 1) * left
        self._console(self._finished / self._count, f"{_roughly(seconds)} left" if left else "finish")


def _line(outcome: Outcome) -> str:
    """Say in one line what became of a pair."""
    if not outcome.done:
        return f"{outcome.id:{_LONGEST_ID}s}  {'waits' if outcome.busy else 'not done'}: {outcome.reason}"
    row = outcome.row
    reasons = f": {'; '.join(row['reasons'])}" if row["reasons"] else ""
    return f"{outcome.id:{_LONGEST_ID}s}  {row['seconds']:6.1f} s  {row['verdict']}{reasons}"


def _roughly(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{10 * round(seconds / 10)} s" if seconds > 10 else f"{seconds:.0f} s"


def _left(batch: Batch) -> str:
    return f"{batch.done} of {len(batch.jobs)} pairs are whole in {batch.out}, and the same command goes on from there"


def make_batch(args: argparse.Namespace, out: Path, pairs: Sequence[Pair]) -> Batch:
    """Make the batch of these pairs in the folder `out`, an absolute path. Raises InputError.

    args: has those of `add_how` and `add_where`.
    """
    if not is_utf8(out):
        raise InputError(f"{out}: the folder's name is not in UTF-8, and ITK cannot write there; choose another")
    chosen = (args.preset, args.transform_type, args.intensity, args.device, args.diffeomorphic, args.weights)
    settings = PairSettings(*chosen)
    make = PairJobs(out, settings, Outputs(args.warped, args.pages), RUNNER, 1000.0 * (args.limit_memory or 0.0))
    return Batch(out, [make(pair) for pair in pairs], _resources(args.resources))


def check(args: argparse.Namespace) -> None:
    """Raise InputError where the arguments of `add_how` or `add_where` name what there is not."""
    find_preset(args.preset)
    check_transform_type(args.transform_type)
    check_intensity(args.intensity)
    if args.device not in DEVICES:
        raise InputError(f"there is no device '{args.device}'; choose one of {', '.join(DEVICES)}")
    if args.weights:
        read_weights(Path(args.weights), SEMANTIC, PDD)
    if args.pages:
        check_matplotlib("--pages")
    for name, least in (("workers", 1), ("threads", 0), ("limit_memory", 0.1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise InputError(f"--{name.replace('_', '-')} {value:g}: give {least:g} or more")


def _pairs(args: argparse.Namespace) -> list[Pair]:
    if sum(bool(way) for way in (args.table, args.moving_glob, args.bids)) != 1:
        raise InputError("give one of a table, --fixed with --moving-glob, and --bids; see pddnet batch --help")
    fixed = check_path(args.fixed) if args.fixed else None
    if args.bids:
        return batch_pairs.from_bids(check_path(args.bids), args.bids_suffix, fixed)
    if args.table:
        if fixed:
            raise InputError("--fixed belongs to --moving-glob or --bids; the table has a column for it")
        pairs = batch_pairs.from_table(Path(args.table))
    elif fixed is None:
        raise InputError("--moving-glob needs --fixed, the scan that stays")
    else:
        pairs = batch_pairs.from_pattern(fixed, args.moving_glob)
    if not pairs:
        raise InputError(f"{args.table}: there are no pairs in it")
    return pairs


def _cluster(batch: Batch, args: argparse.Namespace) -> AbstractContextManager[Client]:
    """Start or find the cluster, and share the cores of this machine among the registrations on it."""
    if args.scheduler:
        batch.share_cores(args.threads)
        return running_cluster(args.scheduler)
    missing = len(batch.missing)
    workers = min(args.workers, missing) if args.workers else size_of(missing, 1000.0 * (args.limit_memory or 0.0))
    batch.share_cores(args.threads or max(cores() // workers, 1))
    return local_cluster(workers, batch.resources)


def _resources(text: str | None) -> dict[str, float] | None:
    """Read what a Dask worker must have: GPU=1."""
    if text is None:
        return None
    name, _, number = text.partition("=")
    try:
        return {name: float(number)}
    except ValueError:
        raise InputError(f"--resources {text}: give a name and a number, such as GPU=1") from None
