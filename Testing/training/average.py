"""Write the running average in a training's last checkpoint as weights, while the training goes on.

Usage: PYTHONPATH=Testing python -m training.average CONFIG.json OUT.npz
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pddnet.features.semantic_net import SemanticNet, save
from pddnet.io.weights_file import read_arrays
from pddnet.tensor.convert import to_tensor
from pddnet.training.config import TrainingConfig, read_config

PREFIX = "average."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="of the training, as for `pddnet train`")
    parser.add_argument("out", type=Path, help="the weights file")
    args = parser.parse_args()
    print(f"iteration {write_average(read_config(args.config), args.out)}")
    return 0


def write_average(config: TrainingConfig, out: Path) -> int:
    """Write the averaged semantic network of a training's checkpoint; return its iteration."""
    arrays = read_arrays(config.out / "checkpoint.npz")
    net = SemanticNet(config.width)
    average = {name.removeprefix(PREFIX): to_tensor(a) for name, a in arrays.items() if name.startswith(PREFIX)}
    net.load_state_dict(average)
    iteration = int(arrays["number.number"])
    save(net, out, {"data": config.data, "training": {"iterations": iteration}})
    return iteration


if __name__ == "__main__":
    sys.exit(main())
