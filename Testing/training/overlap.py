"""Measure the Dice of the semantic network on a folder of labelled scans: the model card's numbers.

Usage: PYTHONPATH=Testing python -m training.overlap FOLDER [WEIGHTS.npz]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from pddnet.features.semantic_net import BUNDLED_WEIGHTS, load, probabilities
from pddnet.training.config import labelled_scans
from pddnet.training.scans import dice_by_structure, read_labelled


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="labelled scans, laid out as for `pddnet train`")
    parser.add_argument("weights", type=Path, nargs="?", default=BUNDLED_WEIGHTS, help="default: the bundled ones")
    args = parser.parse_args()
    net = load(args.weights)
    found: dict[str, list[float]] = {}
    for case in labelled_scans(args.folder)[0]:
        scan, structures, annotated = read_labelled(case)
        segmented = probabilities(net, scan.values) * scan.body
        for name, value in dice_by_structure(segmented, structures, annotated).items():
            found.setdefault(name, []).append(value)
    for name, values in sorted(found.items(), key=lambda item: -np.mean(item[1])):
        print(f"{name:<16} {np.mean(values):.2f}  in {len(values)} scans")
    print(f"{'mean':<16} {np.mean([np.mean(values) for values in found.values()]):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
