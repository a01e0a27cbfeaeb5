"""Registers the sample pair, or two scans of the user's, with the `pddnet` command; measures and draws the result.

Usage: python Testing/demo/demo.py [--fixed A --moving B] [--out demo] [--picture COPY.png]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import SimpleITK as sitk

from demo import figure
from pddnet.cli import main as cli
from pddnet.cli.exit_codes import BAD_INPUT, OK, VERDICT_FAILED
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.evaluation import metrics, report
from pddnet.io import volumes as files
from pddnet.io.landmarks import match_points
from pddnet.io.transforms import read_transform
from pddnet.process import prepare

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "PDDRegistration" / "Resources" / "SampleData"


def main() -> int:
    """The demo; its exit code is the command's: 0, 2 for bad input, 3 for the verdict 'failed'."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixed", type=Path, help="the scan that stays (default: the sample pair's)")
    parser.add_argument("--moving", type=Path, help="the scan that is laid over it")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--picture", type=Path, help="where to put a copy of the picture")
    args = parser.parse_args()
    if bool(args.fixed) != bool(args.moving):
        parser.error("give both scans (make demo FIXED=a.nii.gz MOVING=b.nii.gz), or none for the sample pair")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in ("registration.png", "warped_labels.nii.gz"):
        (args.out / name).unlink(missing_ok=True)  # an earlier demo's would not belong to this one
    inputs = _inputs(args.fixed, args.moving)
    code = cli.main(["register", *_options(inputs, args.out)])
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
    """The files of the run by their meaning: two scans, and for the sample pair labels, names and landmarks too."""
    if fixed and moving:
        return {"fixed": fixed, "moving": moving}
    known = {side: SAMPLE / f"{side}.nii.gz" for side in ("fixed", "moving")}
    known |= {f"{side}_labels": SAMPLE / f"{side}_labels.nii.gz" for side in ("fixed", "moving")}
    known |= {f"{side}_points": SAMPLE / f"{side}_landmarks.csv" for side in ("fixed", "moving")}
    return {**known, "names": SAMPLE / "labels.json"}


def _options(inputs: dict[str, Path], out: Path) -> list[str]:
    """The arguments of `pddnet register`. Labels are measured afterwards, by name."""
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


def _measure(inputs: dict[str, Path], out: Path) -> dict:
    """Print organ table and landmark errors, add them to the report, and return it."""
    summary = json.loads((out / "report.json").read_text(encoding="utf-8"))
    transform = read_transform(out / "transform.h5")
    if "fixed_labels" in inputs:
        names = _names(inputs)
        fixed, moving = (files.read_labels(inputs[f"{side}_labels"])[0] for side in ("fixed", "moving"))
        warped = files.read_labels(out / "warped_labels.nii.gz")[0]
        table = metrics.label_table(fixed, moving.resample(fixed.grid, labels=True), warped)
        summary["labels"] = report.label_section(table, before="identity", guided=False)
        shown = [
            {**row, "label": names.get(row["label"], row["label"])} for row in table if row["dice_after"] is not None
        ]
        print("\n" + report.format_labels({**summary["labels"], "table": shown}))
    if "fixed_points" in inputs:
        names, fixed, moving, _ = match_points(inputs["fixed_points"], inputs["moving_points"])
        before = metrics.tre(fixed, moving, lambda points: points)
        after = metrics.tre(fixed, moving, lambda points: [transform.TransformPoint(p) for p in points.tolist()])
        summary["tre_mm"] = report.tre_section(names, before, after)
        print("\n" + report.format_tre(summary["tre_mm"]))
    (out / "report.json").write_text(report.to_json(summary), encoding="utf-8")
    return summary


def _case(inputs: dict[str, Path], out: Path, summary: dict) -> figure.Case:
    """What is drawn, read back from the files that a user gets."""
    volumes = [files.read_volume(inputs[side])[0] for side in ("fixed", "moving")]
    warped, spread = (Image.from_sitk(sitk.ReadImage(str(out / f"{name}.nii.gz"))) for name in ("warped", "spread"))
    labels = [None, None, None]
    if "fixed_labels" in inputs:
        paths = (inputs["fixed_labels"], inputs["moving_labels"], out / "warped_labels.nii.gz")
        labels = [files.read_labels(path)[0] for path in paths]
    field = DisplacementField.from_transform(read_transform(out / "transform.h5"), spread.grid)
    return figure.Case(*volumes, warped, *labels, _names(inputs), field, spread, _caption(summary))


def _names(inputs: dict[str, Path]) -> dict[int, str]:
    if "names" not in inputs:
        return {}
    return {int(label): name for label, name in json.loads(inputs["names"].read_text(encoding="utf-8")).items()}


def _caption(summary: dict) -> str:
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
