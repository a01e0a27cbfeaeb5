"""Register the sample pair, or two scans of the user's, with the `pddnet` command; measure and draw the result.

Usage: PYTHONPATH=Testing python -m demo.demo [--fixed A --moving B] [--out demo] [--picture COPY.png]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from demo import figure
from helpers.paths import LIBRARY
from pddnet.cli import main as command
from pddnet.cli.exit_codes import BAD_INPUT, OK, VERDICT_FAILED
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.evaluation import metrics, report
from pddnet.io.landmarks import match_points
from pddnet.io.transforms import read_transform
from pddnet.io.volumes import read_labels, read_volume
from pddnet.process import prepare

SAMPLE = LIBRARY / "Resources" / "SampleData"


def main() -> int:
    """Run the demo; return the command's exit code: 0, 2 for bad input, 3 for the verdict 'failed'."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixed", type=Path, help="the scan that stays (default: the sample pair's)")
    parser.add_argument("--moving", type=Path, help="the scan that is registered to it")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--picture", type=Path, help="where to put a copy of the picture")
    args = parser.parse_args()
    if bool(args.fixed) != bool(args.moving):
        parser.error("give both scans (make demo FIXED=a.nii.gz MOVING=b.nii.gz), or none for the sample pair")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ("registration.png", "warped_labels.nii.gz"):
        (args.out / name).unlink(missing_ok=True)  # an earlier demo's would not belong to this one
    inputs = _inputs(args.fixed, args.moving)
    code = command.main(["register", *_options(inputs, args.out)])
    if code not in (OK, VERDICT_FAILED):
        return code
    try:
        summary = _measure(inputs, args.out)
        print("\n" + _caption(summary))
        figure.draw(_case(inputs, args.out, summary), args.out / "registration.png")
    except InputError as error:
        print(f"demo: {error}", file=sys.stderr)
        return BAD_INPUT
    if args.picture:
        shutil.copyfile(args.out / "registration.png", args.picture)
    print(f"picture   {args.out / 'registration.png'}")
    return code


def _inputs(fixed: Path | None, moving: Path | None) -> dict[str, Path]:
    """Return the files of the run by their role: two scans, and for the sample pair labels, names and landmarks too."""
    if fixed and moving:
        return {"fixed": fixed, "moving": moving}
    known = {side: SAMPLE / f"{side}.nii.gz" for side in ("fixed", "moving")}
    known |= {f"{side}_labels": SAMPLE / f"{side}_labels.nii.gz" for side in ("fixed", "moving")}
    known |= {f"{side}_points": SAMPLE / f"{side}_landmarks.csv" for side in ("fixed", "moving")}
    return {**known, "names": SAMPLE / "labels.json"}


def _options(inputs: dict[str, Path], out: Path) -> list[str]:
    """Return the options of `pddnet register`. Labels are measured afterwards, by name."""
    options = {
        "fixed": inputs["fixed"],
        "moving": inputs["moving"],
        "output-transform": out / "transform.h5",
        "output-volume": out / "warped.nii.gz",
        "output-spread": out / "spread.nii.gz",
        "report": out / "report.json",
    }
    if "moving_labels" in inputs:
        options |= {"moving-labels": inputs["moving_labels"], "output-labels": out / "warped_labels.nii.gz"}
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _measure(inputs: dict[str, Path], out: Path) -> dict[str, Any]:
    """Print organ table and landmark errors, add them to the report, and return it."""
    summary = json.loads((out / "report.json").read_text(encoding="utf-8"))
    transform = read_transform(out / "transform.h5")
    if "fixed_labels" in inputs:
        names: dict[Any, str] = _names(inputs)
        fixed, moving = (read_labels(inputs[f"{side}_labels"])[0] for side in ("fixed", "moving"))
        warped = read_labels(out / "warped_labels.nii.gz")[0]
        table = metrics.label_table(fixed, moving.resample(fixed.grid, labels=True), warped)
        summary["labels"] = report.label_section(table, before="identity", guided=False)
        shown = [
            {**row, "label": names.get(row["label"], row["label"])} for row in table if row["dice_after"] is not None
        ]
        print("\n" + report.format_labels({**summary["labels"], "table": shown}))
    if "fixed_points" in inputs:
        landmarks, fixed_points, moving_points, _ = match_points(inputs["fixed_points"], inputs["moving_points"])
        before = metrics.tre(fixed_points, moving_points, lambda points: points)
        after = metrics.tre(
            fixed_points, moving_points, lambda points: np.array([transform.TransformPoint(p) for p in points.tolist()])
        )
        summary["tre_mm"] = report.tre_section(landmarks, before, after)
        print("\n" + report.format_tre(summary["tre_mm"]))
    (out / "report.json").write_text(report.to_json(summary), encoding="utf-8")
    return summary


def _case(inputs: dict[str, Path], out: Path, summary: dict[str, Any]) -> figure.Case:
    """Read what is drawn from the files that a user gets."""
    fixed, moving = (read_volume(inputs[side])[0] for side in ("fixed", "moving"))
    warped, spread = (Image.from_sitk(sitk.ReadImage(str(out / f"{name}.nii.gz"))) for name in ("warped", "spread"))
    field = DisplacementField.from_transform(read_transform(out / "transform.h5"), spread.grid)
    case = figure.Case(fixed, moving, warped, field, spread, caption=_caption(summary))
    if "fixed_labels" not in inputs:
        return case
    return replace(
        case,
        names=_names(inputs),
        fixed_labels=read_labels(inputs["fixed_labels"])[0],
        moving_labels=read_labels(inputs["moving_labels"])[0],
        warped_labels=read_labels(out / "warped_labels.nii.gz")[0],
    )


def _names(inputs: dict[str, Path]) -> dict[int, str]:
    if "names" not in inputs:
        return {}
    return {int(label): name for label, name in json.loads(inputs["names"].read_text(encoding="utf-8")).items()}


def _caption(summary: dict[str, Any]) -> str:
    parts = [f"verdict: {summary['verdict']['status']}"]
    if summary.get("labels") and summary["labels"]["mean"]["dice_after"] is not None:
        mean = summary["labels"]["mean"]
        parts.append(f"mean Dice {mean['dice_before']:.2f} before, {mean['dice_after']:.2f} after")
    if summary.get("tre_mm"):
        median = summary["tre_mm"]["median"]
        parts.append(f"median landmark error {median['before']:.0f} mm before, {median['after']:.1f} mm after")
    parts.append(f"{summary['seconds']['total']:.0f} s on {summary['device']}")
    return "      ".join(parts)


if __name__ == "__main__":
    prepare()
    sys.exit(main())
