"""Register pairs of one patient at two dates, made from real scans with the truth known, and print the errors.

Usage: PYTHONPATH=Testing python -m benchmarks.same_patient [--preset default] [--only whole|crops]
           [--split tune|held-back] [--jobs N] [--out FILE.jsonl]
                             write one line of JSON per pair and preset; skip those in the file
       PYTHONPATH=Testing python -m benchmarks.same_patient --summary FILE.jsonl    print only the tables
       PYTHONPATH=Testing python -m benchmarks.same_patient --greedy    register with Greedy (pip install picsl-greedy)
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from benchmarks import same_patient_scans, same_patient_tables
from benchmarks.console import progress
from benchmarks.same_patient_pairs import PAIRS, SamePatient
from benchmarks.same_patient_scans import Truth
from benchmarks.same_patient_tables import Row
from benchmarks.validate import read_rows
from benchmarks.validation_pairs import REPOSITORY, data_folder
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS
from pddnet.io.volumes import read_volume
from pddnet.process import wait_passively

OUT = REPOSITORY / ".data" / "same_patient.jsonl"
SCANS = REPOSITORY / ".data" / "same_patient"  # the pairs, made once
GREEDY = "greedy"


def main() -> int:
    args = _arguments()
    wait_passively()  # the processes that register inherit it
    if args.summary:
        same_patient_tables.summary(read_rows(args.summary))
        return 0
    if data_folder() is None:
        print("the real scans are not here; set PDDNET_DATA to their folder")
        return 0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    name = GREEDY if args.greedy else args.preset
    done = {(row["key"], row["preset"]) for row in (read_rows(args.out) if args.out.exists() else [])}
    numbers = [number for number, pair in enumerate(PAIRS) if _wanted(pair, args) and (pair.key, name) not in done]
    progress(f"{len(numbers)} pairs to register by {name}, {len(done)} rows already in {args.out}")
    with args.out.open("a", encoding="utf-8") as file:
        for row in _measured(numbers, name, args.jobs, args.threads):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(same_patient_tables.line(row), flush=True)
    same_patient_tables.summary(read_rows(args.out))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="default", choices=PRESETS)
    parser.add_argument("--greedy", action="store_true", help="register with Greedy instead, for comparison")
    parser.add_argument("--only", choices=("whole", "crops"), help="whole scans, or crops")
    parser.add_argument("--split", choices=("tune", "held-back"), help="the scans that may choose settings, or not")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--threads", type=int, help="torch's threads per process (default: torch's)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the rows go (default: %(default)s)")
    parser.add_argument("--summary", type=Path, help="print the tables of such a file")
    return parser.parse_args()


def _wanted(pair: SamePatient, args: argparse.Namespace) -> bool:
    kind = args.only in (None, "whole" if pair.whole else "crops")
    return kind and args.split in (None, "held-back" if pair.held_back else "tune")


def _measured(numbers: list[int], name: str, jobs: int, threads: int | None) -> Iterator[Row]:
    """Yield a row per pair, as they finish."""
    if jobs <= 1:
        yield from (measure(number, name, threads) for number in numbers)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(measure, number, name, threads) for number in numbers]):
            yield future.result()


def measure(number: int, name: str, threads: int | None = None) -> Row:
    """Register one pair by a preset (or by Greedy), and measure the errors at its points."""
    pair = PAIRS[number]
    fixed, moving, truth = load(pair)
    shifts = truth.moving - truth.fixed
    row: Row = {
        "key": pair.key, "kind": pair.kind, "whole": pair.whole, "held_back": pair.held_back, "preset": name,
        "moves": pair.moves, "translation": _statistics(np.linalg.norm(shifts - shifts.mean(0), axis=1), truth),
    }  # fmt: skip
    start = time.perf_counter()
    moved, more = _by_greedy(pair, truth) if name == GREEDY else _by_preset(fixed, moving, truth, name, threads)
    error = np.linalg.norm(moved - truth.moving, axis=1)
    return row | {"wall": time.perf_counter() - start, "error": _statistics(error, truth)} | more


def _statistics(error_mm: npt.NDArray[np.float64], truth: Truth) -> dict[str, float | None]:
    lung = error_mm[truth.lung]
    return {
        "mean": float(error_mm.mean()),
        "p95": float(np.percentile(error_mm, 95)),
        "lung": float(lung.mean()) if len(lung) else None,
    }


def _by_preset(
    fixed: Image, moving: Image, truth: Truth, preset: str, threads: int | None
) -> tuple[npt.NDArray[np.float64], Row]:
    import torch

    from pddnet.pipeline import register

    if threads:
        torch.set_num_threads(threads)
    result = register(fixed, moving, preset)
    determinant = result.field.jacobian_determinant()
    index = np.rint(result.field.grid.point_to_index(truth.fixed)).astype(int)[:, ::-1]
    at = determinant[tuple(index.T)]
    verdict = result.verdict
    return result.field.transform_points(truth.fixed), {
        "seconds": result.seconds, "status": verdict.status, "risk": verdict.risk, "reasons": verdict.reasons,
        "measures": verdict.measures, "warnings": result.warnings,
        "jacobian": {"least": float(at.min()), "most": float(at.max()), "std": float(at.std())},
    }  # fmt: skip


def _by_greedy(pair: SamePatient, truth: Truth) -> tuple[npt.NDArray[np.float64], Row]:
    """Register rigidly and deformably by normalised cross-correlation, as Greedy's own documentation advises."""
    from picsl_greedy import Greedy3D

    files = _files(pair)
    greedy = Greedy3D()
    scans = f"-i {files['fixed']} {files['moving']} -threads 2"
    greedy.execute(f"{scans} -a -dof 6 -ia-image-centers -n 100x50x10 -m NCC 4x4x4 -o rigid", rigid=None)
    greedy.execute(f"{scans} -it rigid -n 100x50x10 -m NCC 2x2x2 -s 2vox 0.5vox -o warp", warp=None)
    warp = sitk.DisplacementFieldTransform(sitk.Cast(greedy["warp"], sitk.sitkVectorFloat64))
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])  # Greedy writes matrices in RAS
    matrix = turned @ np.asarray(greedy["rigid"]) @ turned
    deformed = np.array([warp.TransformPoint(point) for point in truth.fixed.tolist()])
    return deformed @ matrix[:3, :3].T + matrix[:3, 3], {}


def _files(pair: SamePatient) -> dict[str, Path]:
    """Return where a pair is kept: the name changes with its settings and with the code that makes it."""
    recipe = repr(pair) + inspect.getsource(same_patient_scans)
    stem = f"{pair.scan}_{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    return {side: SCANS / f"{stem}_{side}.nii.gz" for side in ("fixed", "moving")} | {"truth": SCANS / f"{stem}.npz"}


def load(pair: SamePatient) -> tuple[Image, Image, Truth]:
    """Read a pair, which is made once."""
    files = _files(pair)
    if not files["truth"].exists():
        SCANS.mkdir(parents=True, exist_ok=True)
        fixed, moving, truth = same_patient_scans.make(pair)
        for image, side in ((fixed, "fixed"), (moving, "moving")):
            sitk.WriteImage(image.to_sitk(), str(files[side]))
        np.savez(files["truth"], fixed=truth.fixed, moving=truth.moving, lung=truth.lung)
    with np.load(files["truth"], allow_pickle=False) as known:
        truth = Truth(known["fixed"], known["moving"], known["lung"])
    return read_volume(files["fixed"])[0], read_volume(files["moving"])[0], truth


if __name__ == "__main__":
    sys.exit(main())
