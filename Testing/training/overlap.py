"""Measure the Dice of the semantic network on the labels of a folder of scans: the model card's numbers.

Usage: python Testing/training/overlap.py FOLDER [WEIGHTS.npz]      FOLDER as `pddnet train` takes it; default: bundled
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pddnet.features.semantic_codes import BUNDLED, load, probabilities
from pddnet.training.config import labelled_scans
from pddnet.training.scans import dice_by_structure, read_labelled


def main(folder: Path, weights: Path = BUNDLED) -> int:
    net = load(weights)
    found: dict[str, list[float]] = {}
    for case in labelled_scans(folder)[0]:
        scan, structures, annotated = read_labelled(case)
        segmented = probabilities(net, scan.values) * scan.body
        for name, value in dice_by_structure(segmented, structures, annotated).items():
            found.setdefault(name, []).append(value)
    for name, values in sorted(found.items(), key=lambda item: -np.mean(item[1])):
        print(f"{name:<16} {np.mean(values):.2f}  in {len(values)} scans")
    print(f"{'mean':<16} {np.mean([np.mean(values) for values in found.values()]):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
