"""Section a: compare correlation and inference at the paper's size, the library against the published operations.

Each runs in a process of its own (`operations_run.py`), so that its peak memory can be measured.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.console import goal, line, progress, table, title
from benchmarks.measure import GB, Run, run

STEPS = ("correlation", "inference", "expectation")


def report() -> None:
    """Run both forms and print ratio, difference and memory."""
    title("a  correlation + inference at the paper's size")
    line("features", "16 channels, 78 x 56 x 95 voxels (233 x 168 x 286 / 3)")
    line("cost volume", "32^3 control points x 15^3 displacements, 0.4 of the range: 111 million cells")
    line("inference", "min-conv, mean field, mix, min-conv, mean field, softmax, expectation\n")
    with tempfile.TemporaryDirectory(prefix="pddnet-bench-") as folder:
        runs = {form: _run(form, Path(folder) / form) for form in ("library", "published")}
        seconds = {form: json.loads(done.output) for form, done in runs.items()}
        rows = [[step, *(f"{seconds[form][step]:.2f} s" for form in runs), _ratio(seconds, step)] for step in STEPS]
        for form in runs:
            seconds[form]["total"] = sum(seconds[form][step] for step in STEPS)
        rows.append(["total", *(f"{seconds[form]['total']:.2f} s" for form in runs), _ratio(seconds, "total")])
        peaks = {form: max(done.peak, seconds[form]["peak"]) / GB for form, done in runs.items()}
        rows.append(["peak memory of the process", *(f"{peak:.2f} GB" for peak in peaks.values()), ""])
        table(["", "library", "published", "ratio"], rows)
        print()
        differences = {name: _difference(Path(folder), name) for name in ("costs", "regularised", "mean")}
    for name, value in differences.items():
        line(f"largest difference, {name}", f"{value:.1e} of the largest value")
    worst, ratio = max(differences.values()), seconds["published"]["total"] / seconds["library"]["total"]
    print()
    line("times faster", f"{ratio:.1f}", goal(ratio, 10, at_least=True))
    line("largest relative difference", f"{worst:.1e}", goal(worst, 1e-4))
    line("peak memory", f"{peaks['library']:.2f} GB", goal(peaks["library"], 2.5))


def _run(form: str, folder: Path) -> Run:
    progress(f"{form} operations")
    folder.mkdir()
    done = run([sys.executable, "-m", "benchmarks.operations_run", form, str(folder)])
    if done.code:
        raise SystemExit(f"the {form} operations ended with code {done.code}")
    return done


def _ratio(seconds: dict[str, dict[str, float]], step: str) -> str:
    return f"{seconds['published'][step] / seconds['library'][step]:.1f}"


def _difference(folder: Path, name: str) -> float:
    """Return the largest absolute difference over the largest value, plane by plane: the arrays are large."""
    a, b = (np.load(folder / form / f"{name}.npy", mmap_mode="r") for form in ("library", "published"))
    assert a.shape == b.shape, (name, a.shape, b.shape)
    largest = max(float(np.abs(plane).max()) for plane in b)
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True)) / largest
