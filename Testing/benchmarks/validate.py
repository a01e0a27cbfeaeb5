"""Register all test pairs and print the errors at landmarks and how well the verdict predicts them.

Usage: PYTHONPATH=Testing python -m benchmarks.validate [--only real|virtual|none] [--limit N] [--preset default]
           [--jobs N] [--out FILE.jsonl]    write one line of JSON per pair, as it finishes; skip pairs in the file
       PYTHONPATH=Testing python -m benchmarks.validate --summary FILE.jsonl    print only the tables
       PYTHONPATH=Testing python -m benchmarks.validate --fit FILE.jsonl        fit the verdict's risk, cross-validated
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks import validation_tables
from benchmarks.console import progress
from benchmarks.validation_labels import organ_dice, outlines
from benchmarks.validation_pairs import KINDS, REPOSITORY, Pair, all_pairs, common, data_folder
from benchmarks.validation_tables import Row
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS
from pddnet.errors import InputError
from pddnet.evaluation.metrics import tre
from pddnet.process import wait_passively

OUT = REPOSITORY / ".data" / "validation.jsonl"  # beside demo/, which make clean empties


def main() -> int:
    args = _arguments()
    wait_passively()  # the processes that register inherit it
    if args.summary or args.fit:
        rows = read_rows(args.summary or args.fit)
        (validation_tables.summary if args.summary else validation_tables.fitted)(rows)
        return 0
    pairs = [pair for pair in all_pairs() if args.only in (None, pair.kind)]
    if data_folder() is None:
        print("the real scans are not here (set PDDNET_DATA to their folder): only virtual patients are registered")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["key"], row["preset"]) for row in (read_rows(args.out) if args.out.exists() else [])}
    keys = [pair.key for pair in pairs[: args.limit] if (pair.key, args.preset) not in done]
    progress(f"{len(keys)} pairs to register, {len(done)} already in {args.out}")
    cut = args.out.exists() and not args.out.read_bytes().endswith(b"\n")
    with args.out.open("a", encoding="utf-8") as file:
        file.write("\n" if cut else "")  # a killed run's half line must not swallow the next row
        for row in _measured(keys, args.preset, args.jobs, args.threads):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(_line(row), flush=True)
    wanted = {pair.key for pair in pairs}
    rows = [row for row in read_rows(args.out) if row["preset"] == args.preset and row["key"] in wanted]
    validation_tables.summary(rows)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=KINDS, help="pairs of one kind")
    parser.add_argument("--limit", type=int, help="only the first so many pairs")
    parser.add_argument("--preset", default="default", choices=PRESETS)
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--threads", type=int, help="torch's threads per process (default: torch's)")
    parser.add_argument("--out", type=Path, default=OUT, help="where the rows go (default: %(default)s)")
    parser.add_argument("--summary", type=Path, help="print the tables of such a file")
    parser.add_argument("--fit", type=Path, help="fit the verdict's risk to such a file")
    return parser.parse_args()


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a file; skip a last line that a killed run left half written."""
    rows = []
    for text in path.read_text(encoding="utf-8").splitlines():
        if not text:
            continue
        try:
            rows.append(json.loads(text))
        except ValueError:
            progress(f"{path}: skipped a broken line")
    return rows


def _measured(keys: list[str], preset: str, jobs: int, threads: int | None) -> Iterator[Row]:
    """Yield a row per pair, as they finish."""
    if jobs <= 1:
        yield from (measure(key, preset, threads) for key in keys)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(measure, key, preset, threads) for key in keys]):
            yield future.result()


def measure(key: str, preset: str, threads: int | None = None) -> Row:
    """Register one pair and measure it at its landmarks."""
    import torch

    from pddnet.pipeline import register

    if threads:
        torch.set_num_threads(threads)
    pair = next(pair for pair in all_pairs() if pair.key == key)
    fixed, moving = pair.load()
    names, fixed_points, moving_points = common(fixed, moving)
    row: Row = {"key": key, "kind": pair.kind, "fixed": pair.fixed, "moving": pair.moving, "scans": pair.scans}
    start = time.perf_counter()
    try:
        result = register(fixed.image, moving.image, preset)
    except InputError as error:
        return row | {"preset": preset, "error": str(error)}
    row |= {"preset": preset, "wall": time.perf_counter() - start, "seconds": result.seconds}
    row |= {"landmarks": names}
    if pair.kind != "none":  # without common anatomy any result is wrong
        row["before"] = np.linalg.norm(fixed_points - moving_points, axis=1).tolist()
        row["after"] = tre(fixed_points, moving_points, result.field.transform_points).tolist()
        row["spread"] = value_at(result.uncertainty, fixed_points).tolist()
        row["dice"] = _organs(pair, result.field)
    verdict = result.verdict
    return row | {
        "measures": verdict.measures, "status": verdict.status, "risk": verdict.risk, "reasons": verdict.reasons,
        "warnings": result.warnings,
    }  # fmt: skip


def _organs(pair: Pair, field: DisplacementField) -> dict[str, dict[str, float]]:
    """Return the Dice of the organs outlined in both scans, before and after; empty without outlines."""
    if pair.kind != "real":
        return {}
    fixed, moving = outlines(pair.fixed), outlines(pair.moving)
    if fixed is None or moving is None:
        return {}
    identity = DisplacementField(np.zeros_like(field.array), field.grid)
    return {"before": organ_dice(fixed, moving, identity), "after": organ_dice(fixed, moving, field)}


def value_at(image: Image, points: np.ndarray) -> np.ndarray:
    """Interpolate a volume linearly at LPS points (N, 3); outside, the border's values hold. Returns (N,)."""
    index = image.grid.point_to_index(points).T[::-1]
    return ndimage.map_coordinates(image.array.astype(np.float64), index, order=1, mode="nearest")


def _line(row: Row) -> str:
    if "error" in row:
        return f"{row['key']}: refused, {row['error']}"
    m = row["measures"]
    error = "no place is right"
    if "after" in row:
        after = row["after"]
        error = (
            f"TRE {np.median(row['before']):6.1f} -> median {np.median(after):5.1f} mean {np.mean(after):5.1f}"
            f" mm at {len(after):2d}"
        )
    measures = " ".join(f"{name} {value:.3g}" for name, value in m.items())
    return (
        f"{row['key']:<58} {error:<46} {row['status']:<8} risk {row['risk']:.2f} "
        f"{sum(row['seconds'].values()):5.1f} s  {measures}"
    )


if __name__ == "__main__":
    sys.exit(main())
