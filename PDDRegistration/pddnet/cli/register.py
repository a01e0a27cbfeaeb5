"""Check the arguments, read the inputs, register, write the outputs, report (`pddnet register`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ..core.image import Image
from ..core.intensity import INTENSITIES, check_intensity
from ..core.linear import TRANSFORM_TYPES, check_transform_type
from ..core.memo import Memo
from ..core.preset_overrides import adjusted
from ..core.presets import DEVICES, PRESETS, Preset, find_preset
from ..core.result import Progress
from ..errors import InputError
from ..evaluation import report
from ..evaluation.motion import motion_csv
from ..io import volumes
from ..io.atomic_outputs import OutputFiles
from ..io.dicom_objects import load_pydicom
from ..io.dicom_reg_writer import Series, read_series, registration_object
from ..io.file_identity import identity, stamp
from ..io.landmark_init import affine_transform, start_from_points
from ..io.landmarks import match_points
from ..io.planes import check_both_planes
from ..io.transforms import load_transform
from ..io.weights_file import PDD, PLANE, SEMANTIC, read_weights
from ..matching.progress import Clock
from ..networks.registry import NETWORKS, check_run
from ..page.content import Page
from ..page.html import html_page
from ..page.page import TITLE, page_of
from ..page.pdf import pdf_page
from ..page.pictures import check_matplotlib, draw
from ..page.preview import preview
from ..run import outputs as run_outputs
from ..run.outputs import (
    DICOM_REGISTRATION,
    MOTION,
    PAGE,
    PAGE_PDF,
    PREVIEW,
    REPORT,
    SIDECAR,
    OutputFile,
    argument_of,
    write_outputs,
)
from ..run.provenance import origin
from ..run.registration import FinishedRun, RunInputs, check_device, register
from .console import Console
from .exit_codes import OK, VERDICT_FAILED
from .label_maps import read_label_maps
from .output_files import output_files
from .register_plane import given_options, register_plane

_INPUTS = (
    *("fixed", "moving", "fixed_labels", "moving_labels", "fixed_mask", "moving_mask"),
    *("initial_transform", "fixed_points", "moving_points"),
)
_OPTIONS = (
    *("fixed_series", "moving_series", "guide_with_labels", "no_alignment", "preset", "transform_type", "network"),
    *("diffeomorphic", "intensity", "capture_range", "control_spacing", "smoothness", "iterations", "both_ways"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = "Find the transform that lays the moving scan over the fixed one."
    inputs = parser.add_argument_group("inputs (whatever SimpleITK reads, or folders of DICOM slices)")
    inputs.add_argument("--fixed", required=True, metavar="F", help="the scan that stays")
    inputs.add_argument("--moving", required=True, metavar="M", help="the scan that is laid over it")
    series = "of a folder of several DICOM series, the one of this number, UID or description"
    inputs.add_argument("--fixed-series", metavar="S", help=series)
    inputs.add_argument("--moving-series", metavar="S", help="the same for the moving scan")
    pixels = "of PNG or TIFF, mm: one number, or two along x and y"
    inputs.add_argument("--spacing", type=float, nargs="+", metavar="MM", help=pixels)
    inputs.add_argument(
        "--moving-spacing", type=float, nargs="+", metavar="MM", help="of the moving one, if it differs"
    )
    inputs.add_argument("--fixed-labels", metavar="A", help="label map of the fixed scan, for the organ table")
    inputs.add_argument("--moving-labels", metavar="B", help="label map of the moving scan, for the organ table")
    inputs.add_argument("--guide-with-labels", action="store_true", help="let both label maps guide the registration")
    inputs.add_argument("--fixed-mask", metavar="P", help="register only what lies in here")
    inputs.add_argument("--moving-mask", metavar="Q", help="the same for the moving scan")
    start = inputs.add_mutually_exclusive_group()
    start.add_argument("--initial-transform", metavar="I", help="ITK transform, fixed to moving, to start from")
    start.add_argument("--no-alignment", action="store_true", help="start from where the scans lie")
    inputs.add_argument(
        "--fixed-points", metavar="P", help="two or more landmarks to start from, as evaluate reads them"
    )
    inputs.add_argument("--moving-points", metavar="Q", help="the landmarks of the same names in the moving scan")
    how = parser.add_argument_group("how")
    how.add_argument("--preset", default="default", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    kinds = f"{', '.join(TRANSFORM_TYPES)} (default: %(default)s)"
    how.add_argument("--transform-type", default=TRANSFORM_TYPES[0], metavar="TYPE", help=kinds)
    how.add_argument(
        "--diffeomorphic", action="store_true", help="a deformation that never folds, with its own inverse"
    )
    scale = f"what the values are: {', '.join(INTENSITIES)} (default: %(default)s)"
    how.add_argument("--intensity", default=INTENSITIES[0], metavar="UNIT", help=scale)
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    how.add_argument(
        "--weights", metavar="W.npz",
        help="of your own training, of either network, or the bundled pdd.npz; for 2-D images of the network 'plane'",
    )  # fmt: skip
    how.add_argument(
        "--network", metavar="NAME", help="to predict the deformation: " + ", ".join(NETWORKS) + "; needs --weights"
    )
    how.add_argument("--capture-range", type=float, metavar="MM", help="largest displacement that is searched")
    how.add_argument("--control-spacing", type=float, metavar="MM", help="between control points, of the last stage")
    how.add_argument("--smoothness", type=float, metavar="X", help="how stiff, as a multiple of the preset's")
    how.add_argument("--iterations", type=int, metavar="N", help="steps of the optimisation; 0 leaves it out")
    ways = how.add_mutually_exclusive_group()
    ways.add_argument("--both-ways", action="store_true", default=None, help="register both directions, and average")
    ways.add_argument("--one-way", action="store_false", dest="both_ways", help="register one direction only")
    outputs = parser.add_argument_group("outputs (volumes: .nii.gz .nii .nrrd .mha)")
    for output in _output_files():
        outputs.add_argument(
            output.option, required=output.required, metavar=output.metavar, help=output.help, dest=output.argument
        )
    outputs.add_argument(
        "--sidecar", nargs="?", const=True, metavar="S.json",
        help="keep with what it was made, and the verdict; without a name beside T, as T.json",
    )  # fmt: skip
    outputs.add_argument("--report-title", metavar="TEXT", help="heading of the page")
    outputs.add_argument(
        "--report-names", action="store_true", help="show the files on the page; their names may tell the patient's"
    )


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    check_arguments(args, PLANE)
    for side in ("fixed", "moving"):
        volumes.check_readable(getattr(args, side))
    if check_both_planes([args.fixed, args.moving]):
        return register_plane(args, given_options(add_arguments, args, "--fixed", "--moving", "--output-transform"))
    _check_weights(args)
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
    paths = {name: getattr(args, name) for name in _INPUTS if getattr(args, name) is not None}
    for path in paths.values():
        volumes.check_readable(path)
    targets = {output.key: (getattr(args, output.argument), output.endings) for output in _output_files()}
    if args.sidecar:
        named = f"{args.output_transform}.json" if args.sidecar is True else args.sidecar
        targets[SIDECAR] = (named, REPORT.endings)
    with output_files(targets, paths.values()) as outputs:
        check_device(args.device)
        clock.lap("start")
        progress(0.0, "reading")
        series = _series(args) if DICOM_REGISTRATION.key in outputs else None
        files = _identities(paths, kept) if SIDECAR in outputs else {}  # now: whatever changes later is another file
        inputs = _read(args, kept)
        clock.lap("read")
        weights = Path(args.weights) if args.weights else None
        settings = {"device": args.device, "weights": weights, "network": args.network, "kept": kept}
        done = register(inputs, _preset(args), clock=clock, progress=progress, **settings)
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


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options on which the result depends, as the sidecar holds them; the weights are told apart."""
    return {name: getattr(args, name) for name in _OPTIONS}


def _identities(paths: dict[str, str], kept: Memo) -> dict[str, Any]:
    """Return size, time and SHA-256 of the inputs."""
    found = {name: identity(path) for name, path in paths.items() if name != "fixed"}
    fixed = paths["fixed"]
    return {"fixed": kept("fixed file", (), (fixed, stamp(fixed)), lambda: identity(fixed)), **found}


def _output_files() -> tuple[OutputFile, ...]:
    """List all files that can be written; the report is written last: if it exists, the run was complete."""
    return (*run_outputs.OUTPUTS, REPORT, PAGE, PAGE_PDF, PREVIEW, MOTION, DICOM_REGISTRATION)


def _preset(args: argparse.Namespace) -> Preset:
    return adjusted(
        find_preset(args.preset),
        capture_range=args.capture_range,
        control_spacing=args.control_spacing,
        smoothness=args.smoothness,
        iterations=args.iterations,
        both_ways=args.both_ways,
    )


def check_arguments(args: argparse.Namespace, *kinds: str) -> None:
    """Raise InputError where the arguments contradict each other, or name what there is not; before scans are read.

    kinds: of weights that may be given besides those for volumes.
    """
    _preset(args)
    if args.output_dicom_reg:
        load_pydicom()
    if args.report_html or args.report_pdf:
        check_matplotlib((PAGE if args.report_html else PAGE_PDF).option)
    elif args.report_title or args.report_names:
        page = "--report-html or --report-pdf"
        raise InputError(f"--report-title and --report-names belong to {page}; give one too, or leave them out")
    check_transform_type(args.transform_type)
    check_intensity(args.intensity)
    if bool(args.fixed_points) != bool(args.moving_points):
        raise InputError("--fixed-points and --moving-points belong together; give both or neither")
    if args.fixed_points and (args.initial_transform or args.no_alignment):
        raise InputError("a run starts from points, from a transform or from where the scans lie; give one of them")
    if args.device not in DEVICES:
        check_device(args.device)
    _check_weights(args, *kinds)
    _check_labels(args)


def _check_weights(args: argparse.Namespace, *kinds: str) -> None:
    """Raise InputError unless the weights are of a network for volumes, or of one of `kinds`."""
    weights = Path(args.weights) if args.weights else None
    if args.network:
        check_run(args.network, weights, _preset(args), args.transform_type)
    elif weights:
        read_weights(weights, SEMANTIC, PDD, *kinds)


def _check_labels(args: argparse.Namespace) -> None:
    if args.fixed_labels and not (args.moving_labels or args.output_motion):  # the motion needs those of one side only
        raise InputError("--fixed-labels needs --moving-labels, to compare with; give both or neither")
    if args.output_motion and not (args.fixed_labels or _preset(args).semantic):
        raise InputError("--output-motion needs --fixed-labels, or a preset that names structures, such as default")
    wanted = [output for output in run_outputs.OUTPUTS if getattr(args, output.argument)]
    for output in wanted:
        if output.only_ct and not _preset(args).hu:
            raise InputError(f"{output.option} is known of CT only; leave it out, or take another preset")
        if output.needs and not getattr(args, argument_of(output.needs)):
            raise InputError(f"{output.option} needs {output.needs}, {output.needs_for}")
    if args.guide_with_labels and not (args.fixed_labels and args.moving_labels):
        raise InputError("--guide-with-labels needs --fixed-labels and --moving-labels")
    warped = any(output.needs == "--moving-labels" for output in wanted)
    if args.moving_labels and not (args.fixed_labels or warped):
        raise InputError(
            "--moving-labels alone does nothing; give --fixed-labels to measure or --output-labels to warp"
        )


def _read_fixed(args: argparse.Namespace, kept: Memo) -> tuple[Image, list[str]]:
    """Read the fixed scan, unless the run before read the same file."""
    file = args.fixed, args.fixed_series, stamp(args.fixed)
    return kept("fixed volume", (), file, lambda: volumes.read_volume(args.fixed, series=args.fixed_series))


def _read(args: argparse.Namespace, kept: Memo) -> RunInputs:
    fixed, warnings = _read_fixed(args, kept)
    moving, more = volumes.read_volume(args.moving, series=args.moving_series)
    inputs = RunInputs(fixed, moving, warnings=warnings + more)
    inputs.bring_to_hu(_preset(args), args.intensity, (args.fixed, args.moving), kept)
    inputs.guided, inputs.align = args.guide_with_labels, not args.no_alignment
    inputs.transform_type, inputs.diffeomorphic = args.transform_type, args.diffeomorphic
    for side, image in (("fixed", fixed), ("moving", moving)):
        path = getattr(args, f"{side}_mask")
        if path is not None:
            mask, more = volumes.read_mask(path, image.grid)
            setattr(inputs, f"{side}_mask", mask)
            inputs.warnings += more
    _read_labels(args, inputs)
    if args.initial_transform:
        inputs.initial_transform, more = load_transform(args.initial_transform)
        inputs.warnings += more
    if args.fixed_points:
        _, *pairs, more = match_points(args.fixed_points, args.moving_points)
        inputs.initial_transform = affine_transform(start_from_points(*pairs))
        inputs.warnings += more
    inputs.check_start()
    return inputs


def _read_labels(args: argparse.Namespace, inputs: RunInputs) -> None:
    """Read the label maps on the grids of their scans."""
    paths, grids = (args.fixed_labels, args.moving_labels), (inputs.fixed.grid, inputs.moving.grid)
    fixed, moving, warnings = read_label_maps(paths, grids)
    inputs.warnings += warnings
    if fixed is not None:
        inputs.fixed_labels = fixed.flat
    if moving is None:
        return
    inputs.moving_labels = moving.flat
    if fixed is not None:
        inputs.label_layers = fixed.layers, moving.layers
    if len(moving.layers) > 1 and (args.output_labels or inputs.guided):
        shown = "segments overlap; the written or guiding map shows the last one there"
        inputs.warnings.append(f"{args.moving_labels}: {shown}")


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
