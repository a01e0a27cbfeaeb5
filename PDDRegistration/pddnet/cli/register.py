"""Register, write the outputs, report (`pddnet register`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ..core.memo import Memo
from ..core.result import Progress
from ..errors import InputError
from ..evaluation import report
from ..evaluation.motion import motion_csv
from ..io import volumes
from ..io.atomic_outputs import OutputFiles
from ..io.dicom_reg_writer import Series, read_series, registration_object
from ..io.file_identity import identity, stamp
from ..io.planes import check_both_planes
from ..io.weights_file import PLANE
from ..matching.progress import Clock
from ..page.content import Page
from ..page.html import html_page
from ..page.page import TITLE, page_of
from ..page.pdf import pdf_page
from ..page.pictures import draw
from ..page.preview import preview
from ..run.outputs import DICOM_REGISTRATION, MOTION, PAGE, PAGE_PDF, PREVIEW, REPORT, SIDECAR, write_outputs
from ..run.provenance import origin
from ..run.registration import FinishedRun, check_device, register
from .console import Console
from .exit_codes import OK, VERDICT_FAILED
from .output_files import output_files
from .register_arguments import INPUTS, add_arguments, check_arguments, check_weights, options, output_table, preset_of
from .register_inputs import read_inputs
from .register_plane import given_options, register_plane


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    check_arguments(args, PLANE)
    for side in ("fixed", "moving"):
        volumes.check_readable(getattr(args, side))
    if check_both_planes([args.fixed, args.moving]):
        return register_plane(args, given_options(add_arguments, args, "--fixed", "--moving", "--output-transform"))
    check_weights(args)
    if args.spacing or args.moving_spacing:
        raise InputError(
            "--spacing is for 2-D images that have none, such as PNG; volumes have their own, so leave it out"
        )
    console = Console()
    summary = carry_out(args, console, Memo(), console.clear)
    _print(console, summary)
    return VERDICT_FAILED if summary["verdict"]["status"] == "failed" else OK


def carry_out(
    args: argparse.Namespace, progress: Progress, kept: Memo, clear: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Read, register, write the outputs, and return the report. Raise InputError or Stopped.

    Args:
        args: that passed `check_arguments`.
        kept: what earlier runs of this process read and computed of the same fixed scan.
        clear: removes what `progress` shows.
    """
    clock = Clock()
    paths = {name: getattr(args, name) for name in INPUTS if getattr(args, name) is not None}
    for path in paths.values():
        volumes.check_readable(path)
    targets = {output.key: (getattr(args, output.argument), output.endings) for output in output_table()}
    if args.sidecar:
        named = f"{args.output_transform}.json" if args.sidecar is True else args.sidecar
        targets[SIDECAR] = (named, REPORT.endings)
    with output_files(targets, paths.values()) as outputs:
        check_device(args.device)
        clock.lap("start")
        progress(0.0, "reading")
        series = _series(args) if DICOM_REGISTRATION.key in outputs else None
        files = _identities(paths, kept) if SIDECAR in outputs else {}  # now: whatever changes later is another file
        inputs = read_inputs(args, kept)
        clock.lap("read")
        weights = Path(args.weights) if args.weights else None
        settings = {"device": args.device, "weights": weights, "network": args.network, "kept": kept}
        done = register(inputs, preset_of(args), clock=clock, progress=progress, **settings)
        clear()
        progress(1.0, "writing")
        write_outputs(outputs, done)
        if series:
            fixed, moving = series
            found = done.registration.linear or done.registration.field
            outputs.write_bytes(DICOM_REGISTRATION.key, registration_object(found, fixed, moving, datetime.now()))
        clock.lap("write")
        labels = _measure(done)
        outputs.write_text(MOTION.key, motion_csv(done.motion))
        clock.lap("measure")
        summary = done.report(clock, inverse="inverse" in outputs, labels=labels, inputs=paths, outputs=outputs.paths)
        if PAGE.key in outputs or PAGE_PDF.key in outputs:
            progress(1.0, "drawing")
            _write_page(outputs, _page(args, done, summary))
            clear()
        if PREVIEW.key in outputs:
            outputs.write_bytes(PREVIEW.key, preview(done.subject))
        if SIDECAR in outputs:
            made = {"options": options(args), "files": files}
            outputs.write_text(SIDECAR, report.to_json(origin(summary, paths) | made))
        outputs.write_text(REPORT.key, report.to_json(summary))
        outputs.commit()
    return summary


def _identities(paths: dict[str, str], kept: Memo) -> dict[str, Any]:
    """Return size, time and SHA-256 of the inputs."""
    found = {name: identity(path) for name, path in paths.items() if name != "fixed"}
    fixed = paths["fixed"]
    return {"fixed": kept("fixed file", (), (fixed, stamp(fixed)), lambda: identity(fixed)), **found}


def _measure(done: FinishedRun) -> dict[str, Any] | None:
    return done.measured_layers(*done.inputs.label_layers) if done.inputs.label_layers else None


def _series(args: argparse.Namespace) -> tuple[Series, Series]:
    return read_series(Path(args.fixed), args.fixed_series), read_series(Path(args.moving), args.moving_series)


def _page(args: argparse.Namespace, done: FinishedRun, summary: dict[str, Any]) -> Page:
    title = args.report_title or TITLE
    return page_of(summary, draw(done.subject), names=args.report_names, title=title, now=datetime.now())


def _write_page(outputs: OutputFiles, page: Page) -> None:
    if PAGE.key in outputs:
        outputs.write_text(PAGE.key, html_page(page))
    if PAGE_PDF.key in outputs:
        outputs.write_bytes(PAGE_PDF.key, pdf_page(page))


def _print(console: Console, summary: dict[str, Any]) -> None:
    console.line()
    if summary["labels"]:
        console.line(report.format_labels(summary["labels"]) + "\n")
    console.line(report.format_verdict(summary))
    for warning in summary["warnings"]:
        console.line(f"warning   {warning}")
    for path in summary["outputs"].values():
        console.line(f"written   {path}")
