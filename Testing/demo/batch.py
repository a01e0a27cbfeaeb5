"""Paint four virtual patients, register three of them to the first (`pddnet batch`), and segment it by them.

Usage: PYTHONPATH=Testing python -m demo.batch [--out demo/batch] [--spacing 3.0] [--preset default]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pddnet.cli import main as command
from pddnet.cli.exit_codes import OK
from pddnet.process import prepare

PATIENTS = 4


def main() -> int:
    """Run the demo; return the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo/batch"), help="folder for patients and results")
    parser.add_argument("--spacing", default="3.0", help="mm, of the patients' voxels")
    parser.add_argument("--preset", default="default")
    args = parser.parse_args()
    patients = args.out / "patients"
    args.out.mkdir(parents=True, exist_ok=True)
    code = command.main(["phantom", "--out", str(patients), "--count", str(PATIENTS), "--spacing", args.spacing])
    if code != OK:
        return code
    table = args.out / "pairs.csv"
    table.write_text(_table(patients), "utf-8")
    results = args.out / "results"
    code = command.main(["batch", str(table), "--out", str(results), "--preset", args.preset])
    return _segment(patients, args.out, args.preset) if code == OK else code


def _segment(patients: Path, out: Path, preset: str) -> int:
    """Segment the first patient by the others; it is left out as an atlas of its own."""
    first = min(patients.glob("*/ct.nii.gz"))
    files = {"--out": "labels.seg.nrrd", "--disagreement": "disagreement.nii.gz", "--report": "segment.json"}
    outputs = [word for option, name in files.items() for word in (option, str(out / name))]
    return command.main(["segment", str(first), "--atlases", str(patients), *outputs, "--preset", preset])


def _table(patients: Path) -> str:
    """List all patients but the first with the first, and their label maps."""
    first, *others = sorted(path.parent.name for path in patients.glob("*/ct.nii.gz"))
    files = "patients/{0}/ct.nii.gz,patients/{1}/ct.nii.gz,patients/{0}/labels.nii.gz,patients/{1}/labels.nii.gz,{1}"
    return (
        "\n".join(["fixed,moving,fixed_labels,moving_labels,id", *(files.format(first, other) for other in others)])
        + "\n"
    )


if __name__ == "__main__":  # the workers of the batch load this file, too
    prepare()
    sys.exit(main())
