"""Make the mean of several scans, in shape and intensity (`pddnet template`)."""

from __future__ import annotations

import argparse
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
from ..template.average import Member, Placed, Settings
from ..template.outputs import write_template
from ..template.rounds import TARGET, Round, made_from, make_round, round_folder
from ..template.task import TemplateTask
from . import batch as batches
from .console import Console
from .exit_codes import NOT_ALL_DONE, OK, VERDICT_FAILED
from .stops import leaving

MOST_ROUNDS = 5
TOLERANCE_MM = 1.0  # registrations of painted patients scatter by 0.8 mm from round to round
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
    rounds.add_argument("--spacing", type=float, default=2.0, metavar="MM", help="voxels of the mean (default: 2)")
    batches.add_how(parser)
    batches.add_where(parser)
    parser.set_defaults(warped=False, pages=False)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    console = Console()
    members = _members(args)
    out = Path(os.path.abspath(args.out))
    _make_folder(out)
    settings = Settings(args.spacing, args.intensity)
    rounds: list[Round] = []
    fixed, converged = members[0].scan, False
    while not converged and len(rounds) < args.rounds:
        number = len(rounds) + 1
        batch = _batch(args, out, number, fixed, members)
        console.line(f"round {number}: register to {'the first scan' if number == 1 else 'the mean'}")
        batches.complete(batch, args, console)
        if batch.done < len(batch.jobs):
            console.line(f"{batch.done} of {len(batch.jobs)} scans are registered; {_LEFT}")
            return NOT_ALL_DONE
        placed = _placed(batch, members)
        dropped = [member.id for member in members if member not in [each.member for each in placed]]
        with leaving(lambda: _LEFT):
            made = made_from(placed, _made(args, batch))
            found = make_round(
                number, round_folder(out, number), fixed, placed, dropped, settings, made, _told(console, "average")
            )
        console.clear()
        console.line(_line(found))
        rounds.append(found)
        previous, fixed = fixed, round_folder(out, number) / TARGET
        converged = found.residual_mm <= args.tolerance
    with leaving(lambda: _LEFT):
        task = TemplateTask(out, previous, placed, rounds, converged, settings)
        report = write_template(task, _told(console, "write"))
    console.clear()
    _print(console, task, report, args.tolerance)
    return VERDICT_FAILED if rounds[-1].dropped else OK


def _members(args: argparse.Namespace) -> list[Member]:
    """Check the arguments, and name the scans."""
    check_installed()
    batches.check(args)
    preset = find_preset(args.preset)
    if not preset.hu:
        raise InputError(f"the preset '{preset.name}' is not for CT, and scans are averaged in HU; take another one")
    if not 1 <= args.rounds <= MOST_ROUNDS:
        raise InputError(f"--rounds {args.rounds}: give 1 to {MOST_ROUNDS}")
    for name, value in (("tolerance", args.tolerance), ("spacing", args.spacing)):
        if not value > 0:
            raise InputError(f"--{name} {value:g}: give a length above 0 mm")
    scans = [Path(os.path.abspath(check_readable(path))) for path in args.scans]
    if len({os.path.realpath(scan) for scan in scans}) < len(scans):
        raise InputError("one of the scans is given twice; it would count twice in the mean, so leave one out")
    if len(scans) < 2:
        raise InputError(f"{scans[0]}: this is the only scan, and its own mean; give two or more")
    labels: Sequence[str | None] = args.labels or [None] * len(scans)
    if len(labels) != len(scans):
        raise InputError(f"{len(labels)} label maps and {len(scans)} scans; give --labels one for each, in their order")
    names = short_names([str(scan) for scan in scans])
    return [
        Member(name, scan, Path(os.path.abspath(check_readable(path))) if path else None)
        for name, scan, path in zip(names, scans, labels, strict=True)
    ]


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: the folder cannot be made ({error.strerror}); choose another one") from None
    sweep(out)


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
    console.line(f"written   {task.out / 'template.nii.gz'}; look at {task.out / 'template.html'}")
