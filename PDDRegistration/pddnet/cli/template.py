"""Make the mean of several scans, in shape and intensity (`pddnet template`)."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..batch.cluster import check_installed
from ..batch.pairs import Pair, short_names
from ..batch.run import FAILED, Batch
from ..core.presets import find_preset
from ..errors import InputError
from ..io.atomic_outputs import sweep
from ..io.volumes import check_readable
from ..template.average import Member, Placed, Settings, check_label_maps
from ..template.outputs import write_template
from ..template.rounds import TARGET, Round, made_from, make_round, round_folder
from ..template.task import TemplateTask
from . import batch as batches
from .console import Console
from .exit_codes import NOT_ALL_DONE, OK, VERDICT_FAILED
from .stops import leaving

MOST_ROUNDS = 5
LEAST_SPACING_MM, MOST_SPACING_MM = 0.5, 8.0
TOLERANCE_MM = 1.0  # painted patients with voxels of 4 mm stay above it, see docs/results/template.md
_LEFT = "what is whole is kept, and the same command goes on from there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = (
        "Make the mean of several scans, in shape and intensity: all are registered to the first one, averaged, and "
        "registered to their mean, until the mean no longer moves. The same command goes on where it was stopped."
    )
    parser.add_argument("scans", nargs="+", metavar="SCANS", help="two CTs or more; the first one is the start")
    parser.add_argument("--labels", nargs="+", metavar="L", help="label maps of the scans, in the same order")
    parser.add_argument("--out", required=True, metavar="T", help="the folder for the results")
    rounds = parser.add_argument_group("rounds")
    rounds.add_argument(
        "--rounds", type=int, default=MOST_ROUNDS, metavar="N", help="at most, 1 to 5 (default: %(default)s)"
    )
    rounds.add_argument(
        "--tolerance", type=float, default=TOLERANCE_MM, metavar="MM",
        help="end when a round moves the mean less, on average over the body (default: %(default)s)",
    )  # fmt: skip
    rounds.add_argument(
        "--spacing", type=float, default=2.0, metavar="MM", help="voxels of the mean, 0.5 to 8 (default: 2)"
    )
    batches.add_how(parser)
    batches.add_where(parser)
    parser.set_defaults(warped=False, pages=False)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    console, members = Console(), _members(args)
    out = _folder(args.out, members)
    check_label_maps(members)
    course = _Course(args, out, members, console)
    while not course.ended:
        if not course.go_on():
            return NOT_ALL_DONE
    with leaving(lambda: _LEFT):
        report = write_template(course.task, _told(console, "write"))
    console.clear()
    _print(console, course.task, report, args.tolerance)
    return VERDICT_FAILED if course.rounds[-1].dropped else OK


class _Course:
    """The rounds so far, and what the next one needs."""

    def __init__(self, args: argparse.Namespace, out: Path, members: Sequence[Member], console: Console) -> None:
        self._args, self._out, self._members, self._console = args, out, members, console
        self._settings = Settings(args.spacing, args.intensity)
        self._fixed = members[0].scan  # of the last round
        self._placed: list[Placed] = []  # in the last round
        self.rounds: list[Round] = []

    @property
    def ended(self) -> bool:
        """Tell whether the mean no longer moves, or no more rounds are allowed."""
        return self._converged or len(self.rounds) == self._args.rounds

    @property
    def task(self) -> TemplateTask:
        """Return what there is to write after the last round."""
        return TemplateTask(self._out, self._fixed, self._placed, self.rounds, self._converged, self._settings)

    @property
    def _converged(self) -> bool:
        return bool(self.rounds) and self.rounds[-1].residual_mm <= self._args.tolerance

    def go_on(self) -> bool:
        """Do one more round; return whether all scans were registered. Raise InputError or Stopped."""
        number = len(self.rounds) + 1
        if self.rounds:
            self._fixed = round_folder(self._out, number - 1) / TARGET
        self._console.line(f"round {number}: register to {'the mean' if self.rounds else 'the first scan'}")
        batch = _batch(self._args, self._out, number, self._fixed, self._members)
        batches.complete(batch, self._args, self._console)
        if batch.done < len(batch.jobs):
            self._console.line(f"{batch.done} of {len(batch.jobs)} scans are registered; {_LEFT}")
            return False
        self._placed = _placed(batch, self._members)
        with leaving(lambda: _LEFT):
            self.rounds.append(self._average(number, _made(self._args, batch)))
        self._console.clear()
        self._console.line(_line(self.rounds[-1]))
        return True

    def _average(self, number: int, made: dict[str, Any]) -> Round:
        used = {each.member.id for each in self._placed}
        dropped = [member.id for member in self._members if member.id not in used]
        folder, told = round_folder(self._out, number), _told(self._console, "average")
        made = made_from(self._placed, made)
        return make_round(number, folder, self._fixed, self._placed, dropped, self._settings, made, told)


def _members(args: argparse.Namespace) -> list[Member]:
    """Check the arguments, and name the scans."""
    check_installed()
    batches.check(args)
    _check_settings(args)
    scans = [Path(os.path.abspath(check_readable(path))) for path in args.scans]
    if len({os.path.realpath(scan) for scan in scans}) < len(scans):
        raise InputError("one of the scans is given twice; it would count twice in the mean, so leave one out")
    if len(scans) < 2:
        raise InputError(f"{scans[0]}: this is the only scan, and its own mean; give two or more")
    labels: Sequence[str | None] = args.labels or [None] * len(scans)
    if len(labels) != len(scans):
        raise InputError(f"{len(labels)} label maps and {len(scans)} scans; give --labels one for each, in their order")
    return [
        Member(name, scan, Path(os.path.abspath(check_readable(path))) if path else None)
        for name, scan, path in zip(short_names([str(scan) for scan in scans]), scans, labels, strict=True)
    ]


def _check_settings(args: argparse.Namespace) -> None:
    """Raise InputError where a setting of this command names what there is not."""
    preset = find_preset(args.preset)
    if not preset.hu:
        raise InputError(f"the preset '{preset.name}' is not for CT, and scans are averaged in HU; take another one")
    if not 1 <= args.rounds <= MOST_ROUNDS:
        raise InputError(f"--rounds {args.rounds}: give 1 to {MOST_ROUNDS}")
    if not 0 < args.tolerance < math.inf:
        raise InputError(f"--tolerance {args.tolerance:g}: give a length above 0 mm")
    if not LEAST_SPACING_MM <= args.spacing <= MOST_SPACING_MM:
        raise InputError(f"--spacing {args.spacing:g}: give {LEAST_SPACING_MM:g} to {MOST_SPACING_MM:g} mm")


def _folder(given: str, members: Sequence[Member]) -> Path:
    """Make the folder of the results, unless a scan lies there; return its absolute path. Raises InputError."""
    out = Path(os.path.abspath(given))
    for path in (path for member in members for path in (member.scan, member.labels) if path):
        if Path(os.path.realpath(out)) in Path(os.path.realpath(path)).parents:
            raise InputError(f"{path}: lies in the folder of the results, {given}; give --out another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: the folder cannot be made ({error.strerror}); choose another one") from None
    sweep(out)
    return out


def _batch(args: argparse.Namespace, out: Path, number: int, fixed: Path, members: Sequence[Member]) -> Batch:
    """Make the batch of a round: every scan to one, but that itself."""
    pairs = [
        Pair(member.id, {"fixed": str(fixed), "moving": str(member.scan)}, {})
        for member in members
        if member.scan != fixed
    ]
    return batches.make_batch(args, round_folder(out, number), pairs)


def _placed(batch: Batch, members: Sequence[Member]) -> list[Placed]:
    """List the scans that count, with their transforms: all but those whose registration failed."""
    jobs = {job.id: job for job in batch.jobs}
    return [
        Placed(member, jobs[member.id].path("transform") if member.id in jobs else None)
        for member in members
        if member.id not in jobs or batch.outcomes[member.id].row["verdict"] != FAILED
    ]


def _made(args: argparse.Namespace, batch: Batch) -> dict[str, Any]:
    """Return on what a mean depends, besides its scans and their transforms."""
    registered = {name: batch.jobs[0].made[name] for name in ("options", "weights")}  # the same for all
    return {"version": __version__, "spacing_mm": args.spacing, "intensity": args.intensity, **registered}


def _told(console: Console, what: str) -> Callable[[float, str], None]:
    return lambda share, name: console(share, what)


def _line(found: Round) -> str:
    """Say in one line what a round found."""
    dropped = f", without {', '.join(found.dropped)} (failed)" if found.dropped else ""
    return (
        f"round {found.number}: the mean moved by {found.residual_mm:.2f} mm, sharpness "
        f"{found.sharpness_hu_per_mm:.2f} HU/mm, spread {found.spread_hu:.1f} HU{dropped}"
    )


def _print(console: Console, task: TemplateTask, report: dict[str, Any], tolerance_mm: float) -> None:
    last = task.rounds[-1]
    if task.converged:
        console.line(f"converged: the last round moved the mean by {last.residual_mm:.2f} mm, {tolerance_mm:g} allowed")
    else:
        console.line(
            f"not converged in {len(task.rounds)} rounds: the last one moved the mean by {last.residual_mm:.2f} mm"
        )
    console.line(f"unbiased: the mean displacement to the scans is {report['mean_displacement_mm']:.3f} mm")
    for warning in report["warnings"]:
        console.line(f"warning   {warning}")
    console.line(f"written   {task.out / 'template.nii.gz'}; look at {task.out / 'template.html'}")
