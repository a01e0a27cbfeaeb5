"""Measure how well the network names structures: Dice, vertebra levels, and whether it tells a mirror image.

Usage: PYTHONPATH=Testing python -m benchmarks.naming [WEIGHTS.npz] [--out FILE.jsonl] [--before FILE.jsonl]

Scans: those held back, the one that chose the weights, those learned from, and patients painted from the held-back
maps, with pathology and without. Every scan is a row of FILE.jsonl; --before compares with such rows of other weights,
scan by scan. Intervals are 95 % bootstrap intervals over the scans.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.console import progress, table, title
from benchmarks.naming_scores import paired_differences, scores, with_interval
from benchmarks.splits import splits
from benchmarks.validation_labels import label_files
from benchmarks.validation_pairs import data_folder
from pddnet.features.semantic_net import BUNDLED_WEIGHTS, load
from pddnet.io.label_names import read_names
from pddnet.synthesis.anatomy import read_anatomy
from pddnet.synthesis.patient import PatientSource, synthesise
from pddnet.tensor.convert import to_array
from pddnet.training.config import ScanFiles
from pddnet.training.scans import read_labelled

Row = dict[str, Any]
REAL = {"held back": ("held_back",), "chose": ("choose",), "learned from": ("validation", "train", "tune")}
GROUPS = (*REAL, "painted", "painted, hard")
PAINTED_SHAPE = (64, 64, 88)  # voxels of 4 mm
FIRST_SEED = 9500  # apart from those of training and of other benchmarks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?", default=BUNDLED_WEIGHTS, help="default: the bundled ones")
    parser.add_argument("--patients", type=int, default=10, help="painted from each map, of each kind (%(default)s)")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="of scans; default: all")
    parser.add_argument("--out", type=Path, help="where the rows go")
    parser.add_argument("--before", type=Path, help="rows of other weights, to compare with")
    args = parser.parse_args()
    if data_folder() is None:
        print("the real scans are not here: set PDDNET_DATA to their folder")
        return 1
    net = load(args.weights)
    rows = []
    for group, name, values, structures, foreign in _scans(args.patients, args.groups):
        progress(f"{group}: {name}")
        rows.append({"group": group, "scan": name, **scores(net, values, structures, foreign)})
    if args.out:
        args.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print_tables(rows)
    if args.before:
        print_differences([json.loads(line) for line in args.before.read_text(encoding="utf-8").splitlines()], rows)
    return 0


def _scans(patients: int, groups: Sequence[str]) -> Iterator[tuple[str, str, Any, np.ndarray, np.ndarray | None]]:
    """Read and paint the scans of the groups: group, name, and what `scores` takes."""
    data = data_folder()
    assert data is not None  # `main` has looked
    for group, kinds in REAL.items():
        if group not in groups:
            continue
        for name in (name for kind in kinds for name in splits("ct")[kind]):
            if files := label_files(data / "ct" / name):
                case = ScanFiles(data / "ct" / name / "ct.nii.gz", files[0], read_names(files[1]))
                scan, structures, _ = read_labelled(case)
                yield group, name, scan.values, structures, None
    if not {"painted", "painted, hard"} & set(groups):
        return
    sources = [
        PatientSource(read_anatomy(data / "anatomy" / f"{name}.nii.gz")) for name in splits("anatomy")["held_back"]
    ]
    for source in sources:
        for seed in range(FIRST_SEED, FIRST_SEED + patients):
            for hard, group in enumerate(GROUPS[-2:]):
                if group in groups:
                    drawn = synthesise(source, PAINTED_SHAPE, seed, hard=bool(hard))
                    numbers, foreign = (to_array(part).astype(int) for part in (drawn.structures, drawn.foreign))
                    yield group, f"{source.anatomy.name} {seed}", drawn.values, numbers, foreign > 0


def print_tables(rows: list[Row]) -> None:
    """Print the means of every group, and the Dice of every structure in it."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    title("mean over the scans of the mean Dice, vertebrae by level apart; levels; what is named of a mirror image")
    body = []
    for group in groups:
        part = [row for row in rows if row["group"] == group]
        errors = np.array([error for row in part for error in row["level_errors"]])
        known = errors[np.isfinite(errors.astype(float))] if errors.size else errors
        exact = f"{100 * np.mean(known == 0):.0f} %" if known.size else "-"
        off = f"{np.mean(np.abs(known)):.2f}" if known.size else "-"
        told = [row["mirrored"] for row in part]
        cells = [with_interval([row[name] for row in part]) for name in ("organs", "bones", "vertebrae")]
        mirror = f"{np.median(told):.3f}, told in {np.sum(np.array(told) < 1)} of {len(told)}"
        cells += [exact, off, *(with_interval([row[name] for row in part]) for name in ("false", "foreign"))]
        body.append((group, str(len(part)), *cells, mirror))
    head = (
        "", "scans", "organs", "bones", "vertebrae", "level right", "levels off", "false naming", "foreign named",
        "mirror image",
    )  # fmt: skip
    table(head, body)
    for group in groups:
        title(f"{group}: Dice")
        part = [row["dice"] for row in rows if row["group"] == group]
        names = list(dict.fromkeys(name for dice in part for name in dice))
        found = {name: [dice[name] for dice in part if name in dice] for name in names}
        ordered = sorted(found.items(), key=lambda item: -np.mean(item[1]))
        table(("", "Dice", "scans"), [(name, with_interval(v), str(len(v))) for name, v in ordered])


def print_differences(before: list[Row], after: list[Row]) -> None:
    """Print how much the Dice rose from other weights, scan by scan, for every group."""
    title("after less before, of the same scans")
    body = []
    for group in dict.fromkeys(row["group"] for row in after):
        old, new = ([row for row in rows if row["group"] == group] for rows in (before, after))
        cells = [
            with_interval(paired_differences(old, new, name))
            for name in ("organs", "bones", "vertebrae", "level", "false", "foreign")
        ]
        body.append((group, *cells))
    table(("", "organs", "bones", "vertebrae", "level right", "false naming", "foreign named"), body)


if __name__ == "__main__":
    sys.exit(main())
