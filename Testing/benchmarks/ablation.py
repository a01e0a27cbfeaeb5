"""Measure what each part of the preset `default` is worth, as `pddnet compare` does, on scans that were held back.

Usage: PYTHONPATH=Testing python -m benchmarks.ablation real|painted [--pairs N]

real: all ordered pairs of the outlined scans. painted: pairs of ten patients painted from the held-back maps, over all
labels of these maps. The row with pdd-net's features is the preset `mind` with the bundled pdd.npz.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.console import progress
from benchmarks.splits import splits
from benchmarks.validation_pairs import REPOSITORY, data_folder
from pddnet.ablation import Case, compare, configurations, pairs, read_cases, table
from pddnet.core.presets import find_preset
from pddnet.io.weights_file import FOLDER
from pddnet.phantom.write import write_patients
from pddnet.synthesis.from_maps import patients_from_maps
from training.gather import lay_out

PATIENTS, FIRST_SEED, VOXEL_MM = 10, 9000, 3.0
PAINTED_PAIRS = 12
WITH_PDD = "preset mind with pdd-net's features"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", choices=("real", "painted"))
    parser.add_argument("--pairs", type=int, help=f"the first so many (all of the real ones, {PAINTED_PAIRS} painted)")
    args = parser.parse_args()
    data = data_folder()
    if data is None:
        print("the real scans are not here: set PDDNET_DATA to their folder")
        return 0
    if args.scans == "real":
        cases, limit = _real(data), args.pairs
    else:
        cases, limit = _painted(data), args.pairs or PAINTED_PAIRS
    _measure(pairs(cases, limit))
    return 0


def _real(data: Path) -> list[Case]:
    lay_out(data, REPOSITORY / ".data")
    return read_cases(REPOSITORY / ".data" / "outlined" / "test")


def _painted(data: Path) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        maps, patients = Path(folder, "maps"), Path(folder, "patients")
        maps.mkdir()
        for name in splits("anatomy")["held_back"]:
            for suffix in (".nii.gz", ".json"):
                (maps / f"{name}{suffix}").symlink_to(data / "anatomy" / f"{name}{suffix}")
        write_patients(patients, patients_from_maps(maps, VOXEL_MM), PATIENTS, FIRST_SEED)
        return read_cases(patients)


def _measure(couples: list[tuple[Case, Case]]) -> None:
    presets = configurations(find_preset("default"))
    whole = compare(couples, presets, _report, progress)
    learned = compare(couples, {WITH_PDD: find_preset("mind")}, _report, progress, FOLDER / "pdd.npz")
    print(f"{len(whole.measured)} pairs; mean and standard deviation over the pairs\n")
    print(table(whole.rows | learned.rows, whole.left_out | learned.left_out))


def _report(share: float, text: str) -> None:
    progress(f"{100 * share:.0f} % {text}")


if __name__ == "__main__":
    sys.exit(main())
