"""Segment a scan by atlases (`pddnet segment`)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.image import Image
from ..core.intensity import INTENSITIES, check_intensity
from ..core.presets import PRESETS, find_preset
from ..core.result import Progress
from ..errors import InputError
from ..evaluation import report
from ..fusion.fuse import METHODS
from ..io.atlas_folder import RULE, AtlasFiles, find_atlases
from ..io.atomic_outputs import IMAGES, REPORTS
from ..io.common_labels import CommonLabels
from ..io.segment_headers import Segment
from ..io.volumes import check_readable, read_volume
from ..io.weights_file import PDD, SEMANTIC, read_weights
from ..matching.progress import Clock
from ..run.provenance import weights_used
from ..run.registration import check_device
from ..run.segment import AtlasUse, Segmentation, segment
from ..run.segment_report import Row, format_rows, label_rows, leave_one_out, with_expected_dice
from ..run.warped_atlas import RegistrationSettings, Target
from .console import Console
from .exit_codes import OK
from .output_files import output_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = (
        "Segment a scan by atlases, which are scans with label maps. Each is registered to the scan; those whose "
        "verdict is 'failed' are dropped, the others vote on every voxel."
    )
    parser.add_argument("scan", metavar="SCAN", help="the scan to segment, a CT")
    parser.add_argument("--atlases", required=True, metavar="FOLDER", help=RULE)
    outputs = parser.add_argument_group("outputs (volumes: .nii.gz .nii .nrrd .mha)")
    outputs.add_argument(
        "--out", required=True, metavar="L", help="the label map; as .seg.nrrd with names and colours of the segments"
    )
    outputs.add_argument("--probability", metavar="P", help="share of the votes that the label has, 0..1")
    outputs.add_argument("--disagreement", metavar="D", help="share of the atlases that name something else, 0..1")
    outputs.add_argument("--report", metavar="R.json", help="volumes, disagreement, and what became of each atlas")
    how = parser.add_argument_group("how")
    how.add_argument("--method", default=METHODS[0], help=f"{', '.join(METHODS)} (default: %(default)s)")
    how.add_argument("--most", type=int, metavar="N", help="fuse the N best atlases only (default: all)")
    how.add_argument(
        "--leave-one-out", action="store_true",
        help="expected Dice of each organ: every atlas segmented by the others, n(n-1) more registrations",
    )  # fmt: skip
    how.add_argument("--series", metavar="S", help="of a folder of several DICOM series, as for register")
    how.add_argument("--preset", default="default", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    how.add_argument("--intensity", default=INTENSITIES[0], metavar="UNIT", help=", ".join(INTENSITIES))
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    how.add_argument("--weights", metavar="W.npz", help="of your own training, of either network")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    settings, console = settings_of(args), Console()
    summary = carry_out(args, settings, console, lambda use: console.line(_line(use)))
    _print(console, summary)
    return OK


def carry_out(
    args: argparse.Namespace,
    settings: RegistrationSettings,
    progress: Progress,
    told: Callable[[AtlasUse], None] = lambda use: None,
) -> dict[str, Any]:
    """Segment the scan, write the outputs, all or none, and return the report.

    args: checked by `settings_of`. told: called with every atlas when it was registered.

    Raises:
        InputError, Stopped, MemoryError: as for `run`.
    """
    clock, folder = Clock(), Path(args.atlases)
    atlases, warnings = find_atlases(folder)
    scan = check_readable(args.scan)
    atlases = _without(atlases, scan, warnings)
    if args.leave_one_out and len(atlases) < 2:
        raise InputError(f"{folder}: --leave-one-out needs two atlases or more; add some, or leave it out")
    inputs = [scan, *(path for atlas in atlases for path in (atlas.scan, atlas.labels))]
    targets = {
        "labels": (args.out, IMAGES),
        "probability": (args.probability, IMAGES),
        "disagreement": (args.disagreement, IMAGES),
        "report": (args.report, REPORTS),
    }
    with output_files(targets, inputs) as outputs:
        check_device(args.device)
        image, more = read_volume(scan, series=args.series)
        common = CommonLabels(folder)
        target = Target(image, str(scan), settings)
        found = segment(target, atlases, common, args.method, progress, most=args.most, told=told)
        rows = label_rows(found, common.name)
        warnings += more + _warnings(found, scan)
        if args.leave_one_out:
            expected, more = leave_one_out(atlases, common, settings, args.method, progress, most=args.most)
            rows, warnings = with_expected_dice(rows, expected), warnings + more
        progress(1.0, "writing")
        unnamed = {number: Segment(common.name(number), 0, number) for number in found.numbers}
        segments = {number: common.segments.get(number, each) for number, each in unnamed.items()}
        outputs.write_segmentation("labels", found.labels, segments)
        grid = found.labels.grid
        outputs.write_image("probability", Image(found.fused.probability, grid))
        outputs.write_image("disagreement", Image(found.fused.disagreement, grid))
        summary = _summary(args, settings, found, rows, report.unique(warnings), clock, outputs.paths)
        outputs.write_text("report", report.to_json(summary))
        outputs.commit()
    return summary


def settings_of(args: argparse.Namespace) -> RegistrationSettings:
    """Check the arguments, and return the settings of the registrations."""
    preset = find_preset(args.preset)
    if not preset.hu:
        raise InputError(f"the preset '{preset.name}' is not for CT, and atlases are compared in HU; take another one")
    check_intensity(args.intensity)
    if args.method not in METHODS:
        raise InputError(f"there is no method '{args.method}'; choose one of {', '.join(METHODS)}")
    if args.most is not None and args.most < 1:
        raise InputError(f"--most {args.most}: at least one atlas is needed; give 1 or more")
    weights = Path(args.weights) if args.weights else None
    if weights:
        read_weights(weights, SEMANTIC, PDD)  # report a wrong file before the scans are read
    return RegistrationSettings(preset, args.intensity, args.device, weights)


def _without(atlases: list[AtlasFiles], scan: Path, warnings: list[str]) -> list[AtlasFiles]:
    """Leave out an atlas that is the scan itself: it would answer with its own labels."""
    others = [atlas for atlas in atlases if not os.path.samefile(atlas.scan, scan)]
    if not others:
        raise InputError(f"{scan}: the only atlas is the scan itself; give others")
    if len(others) < len(atlases):
        warnings.append(f"{scan}: is an atlas of the folder; it was left out")
    return others


def _warnings(found: Segmentation, scan: Path) -> list[str]:
    """Tell which atlases were not used, and what the others' files and registrations had."""
    warnings: list[str] = []
    for use in found.atlases:
        if use.found is None or use.found.warped is None:
            warnings.append(f"atlas {use.files.name} was dropped: {use.reason}")
        else:
            warnings += [_named(text, use, scan) for text in use.found.warnings]
    return warnings


def _named(text: str, use: AtlasUse, scan: Path) -> str:
    """Say of which atlas a warning tells, unless it names its file itself."""
    told = text.startswith(tuple(f"{path}: " for path in (scan, use.files.scan, use.files.labels)))
    return text if told else f"atlas {use.files.name}: {text}"


def _summary(
    args: argparse.Namespace, settings: RegistrationSettings, found: Segmentation, rows: list[Row],
    warnings: list[str], clock: Clock, outputs: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    return {
        "command": "segment",
        "method": args.method,
        "preset": settings.preset.name,
        "weights": weights_used(settings.preset, settings.weights),
        "grid": report.grid_section(found.labels.grid),
        "labels": rows,
        "atlases": [use.as_json() for use in found.atlases],
        "warnings": warnings,
        "seconds": clock.seconds,
        "inputs": {"scan": args.scan, "atlases": args.atlases},
        "outputs": outputs,
        "versions": report.versions(),
    }


def _line(use: AtlasUse) -> str:
    """Say in one line what became of an atlas."""
    status = use.found.verdict.status if use.found else "not read"
    reasons = "; ".join(use.found.verdict.reasons) if use.found else use.reason
    return f"{use.files.name:24s}  {use.seconds:6.1f} s  {status}{': ' if reasons else ''}{reasons}"


def _print(console: Console, summary: dict[str, Any]) -> None:
    used = sum(atlas["used"] for atlas in summary["atlases"])
    console.line(f"\n{used} of {len(summary['atlases'])} atlases, fused by {summary['method']}\n")
    console.line(format_rows(summary["labels"]) + "\n")
    for warning in summary["warnings"]:
        console.line(f"warning   {warning}")
    for path in summary["outputs"].values():
        console.line(f"written   {path}")
