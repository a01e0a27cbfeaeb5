"""How well the semantic network names what is labelled in a folder of scans: the model card's numbers.

Usage: python Testing/training/overlap.py FOLDER [WEIGHTS.npz]      FOLDER as `pddnet train` takes it; default: bundled
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pddnet.features.semantic_net import BUNDLED_WEIGHTS, load, probabilities
from pddnet.io.volumes import read_labels, read_volume
from pddnet.training.config import labelled_scans
from pddnet.training.scans import dice, prepared


def main(folder: Path, weights: Path = BUNDLED_WEIGHTS) -> int:
    net = load(weights)
    found: dict[str, list[float]] = {}
    for case in labelled_scans(folder)[0]:
        image = read_volume(case.image)[0]
        scan, structures, annotated = prepared(image, read_labels(case.labels, image.grid)[0], case)
        for name, value in dice(probabilities(net, scan.values) * scan.body, structures, annotated).items():
            found.setdefault(name, []).append(value)
    for name, values in sorted(found.items(), key=lambda item: -np.mean(item[1])):
        print(f"{name:<16} {np.mean(values):.2f}  in {len(values)} scans")
    print(f"{'mean':<16} {np.mean([np.mean(values) for values in found.values()]):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
