"""Store weights of a network that names structures in 8 bits, in half the space, and add what is known of them.

Usage: PYTHONPATH=Testing python -m training.shrink WEIGHTS.npz OUT.npz [--metadata MORE.json]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

from pddnet.io.text_files import read_json
from pddnet.io.weights_file import PLANE, SEMANTIC, read_weights, write_weights


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="as `pddnet train` writes them")
    parser.add_argument("out", type=Path, help="the file in 8 bits")
    parser.add_argument("--metadata", type=Path, help="JSON file: what to add to, or replace in, the metadata")
    args = parser.parse_args()
    shrink(args.weights, args.out, {} if args.metadata is None else read_json(args.metadata))
    print(f"{args.out}: {args.out.stat().st_size} bytes, SHA-256 {hashlib.sha256(args.out.read_bytes()).hexdigest()}")
    return 0


def shrink(weights: Path, out: Path, metadata: dict[str, Any]) -> None:
    """Write the weights in 8 bits, with more metadata."""
    arrays, known = read_weights(weights, SEMANTIC, PLANE)
    write_weights(out, arrays, {**known, **metadata}, in_8_bits=True)


if __name__ == "__main__":
    sys.exit(main())
