"""Declare the arguments of `pddnet register`, and check them before scans are read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.intensity import INTENSITIES, check_intensity
from ..core.linear import TRANSFORM_TYPES, check_transform_type
from ..core.preset_overrides import adjusted
from ..core.presets import DEVICES, PRESETS, Preset, find_preset
from ..errors import InputError
from ..io.dicom_objects import load_pydicom
from ..io.weights_file import PDD, SEMANTIC, read_weights
from ..networks.registry import NETWORKS, check_run
from ..page.pictures import check_matplotlib
from ..run import outputs as run_outputs
from ..run.outputs import DICOM_REGISTRATION, MOTION, PAGE, PAGE_PDF, PREVIEW, REPORT, OutputFile, argument_of
from ..run.registration import check_device

INPUTS = (
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
    _add_inputs(parser)
    _add_how(parser)
    _add_outputs(parser)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
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


def _add_how(parser: argparse.ArgumentParser) -> None:
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


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    outputs = parser.add_argument_group("outputs (volumes: .nii.gz .nii .nrrd .mha)")
    for output in output_table():
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


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options on which the result depends, as the sidecar holds them; the weights are told apart."""
    return {name: getattr(args, name) for name in _OPTIONS}


def output_table() -> tuple[OutputFile, ...]:
    """List all files that can be written; the report is written last: if it exists, the run was complete."""
    return (*run_outputs.OUTPUTS, REPORT, PAGE, PAGE_PDF, PREVIEW, MOTION, DICOM_REGISTRATION)


def preset_of(args: argparse.Namespace) -> Preset:
    """Return the preset with the settings that replace its own. Raise InputError where one of them cannot be."""
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
    preset_of(args)
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
    check_weights(args, *kinds)
    _check_labels(args)


def check_weights(args: argparse.Namespace, *kinds: str) -> None:
    """Raise InputError unless the weights are of a network for volumes, or of one of `kinds`."""
    weights = Path(args.weights) if args.weights else None
    if args.network:
        check_run(args.network, weights, preset_of(args), args.transform_type)
    elif weights:
        read_weights(weights, SEMANTIC, PDD, *kinds)


def _check_labels(args: argparse.Namespace) -> None:
    if args.fixed_labels and not (args.moving_labels or args.output_motion):  # the motion needs those of one side only
        raise InputError("--fixed-labels needs --moving-labels, to compare with; give both or neither")
    if args.output_motion and not (args.fixed_labels or preset_of(args).semantic):
        raise InputError("--output-motion needs --fixed-labels, or a preset that names structures, such as default")
    wanted = [output for output in run_outputs.OUTPUTS if getattr(args, output.argument)]
    for output in wanted:
        if output.only_ct and not preset_of(args).hu:
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
