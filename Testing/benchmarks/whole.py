"""Sections b and c: measure `pddnet register` on a whole pair, cold and warm, and its growth with the volume."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import pairs
from benchmarks.console import goal, line, progress, table, title
from benchmarks.measure import GB, Run, run

PUBLISHED = (  # measured by this project on three real pairs of this size, 2 cores
    ("FireANTs", "24 s", ""),
    ("VoxelOpt", "24 s", ""),
    ("deeds", "73 s", ""),
    ("pdd-net, published, two warps", "88 s", "5.7 GB"),
)
TWICE = """
import json, sys, time
from pddnet.cli.main import main
from pddnet.process import prepare
prepare()
seconds = []
for _ in range(2):
    start = time.perf_counter()
    code = main(sys.argv[1:])
    seconds.append(time.perf_counter() - start)
    if code not in (0, 3):
        sys.exit(code)
print("seconds", json.dumps(seconds))
"""


@dataclass(frozen=True)
class Registered:
    """One run of the command."""

    run: Run
    report: dict[str, Any]

    @property
    def cells(self) -> list[str]:
        return [f"{self.run.seconds:.1f} s", f"{self.run.peak / GB:.2f} GB", self.report["verdict"]["status"]]


def report_pair() -> None:
    """Run the whole command on 192 x 160 x 256 voxels: in two processes, one after the other, and twice in one."""
    title("b  pddnet register, one pair of virtual patients")
    pair = pairs.same_view(1)
    line("volumes", pair.size)
    cold, warm = register(pair), register(pair)
    line("preset, device", f"{warm.report['preset']}, {warm.report['device']}\n")
    first, second, memory = _in_one_process(pair)
    rows = [
        ["cold: the first process", *cold.cells],
        ["warm: a second process", *warm.cells],
        ["a second run in one process", f"{second:.1f} s", f"{memory / GB:.2f} GB", f"first {first:.1f} s"],
    ]
    table(["", "wall", "peak", "verdict"], rows)
    print("\nseconds of the warm run: " + ", ".join(f"{k} {v:.1f}" for k, v in warm.report["seconds"].items()))
    print("\nfor comparison, measured earlier on real pairs of this size, 2 cores of another machine:")
    for name, wall, peak in PUBLISHED:
        line(f"  {name}", wall, peak)
    print()
    slower, larger = max(cold.run.seconds, warm.run.seconds), max(cold.run.peak, warm.run.peak) / GB
    line("wall time, the slower of both", f"{slower:.1f} s", goal(slower, 15))
    line("peak memory of the process tree", f"{larger:.2f} GB", goal(larger, 3))


def report_growth() -> None:
    """Run it on an eighth of that volume to twice it: finer voxels, then a larger view."""
    title("c  growth with the volume")
    for name, make in (("same view, other voxels", pairs.same_view), ("same voxels, other view", pairs.same_voxels)):
        rows = []
        for factor, text in ((1 / 8, "1/8"), (1 / 4, "1/4"), (1 / 2, "1/2"), (1, "1"), (2, "2")):
            pair = make(factor)
            rows.append([text, pair.size, f"{pair.millions:.1f}", *register(pair).cells])
        table([name, "voxels", "million", "wall", "peak", "verdict"], rows)
        print(flush=True)


def register(pair: pairs.Pair) -> Registered:
    """Run the command in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="pddnet-bench-") as folder:
        progress(f"pddnet register, {pair.size}")
        done = run([sys.executable, "-m", "pddnet", *_arguments(pair, Path(folder))])
        if done.code not in (0, 3):  # 3: the verdict is 'failed', with all outputs
            raise SystemExit(f"pddnet register ended with code {done.code}")
        return Registered(done, json.loads((Path(folder) / "report.json").read_text(encoding="utf-8")))


def _in_one_process(pair: pairs.Pair) -> tuple[float, float, float]:
    """Run the command twice in one process; return the seconds of both runs and the peak memory in bytes."""
    with tempfile.TemporaryDirectory(prefix="pddnet-bench-") as folder:
        progress("pddnet register twice in one process")
        done = run([sys.executable, "-c", TWICE, *_arguments(pair, Path(folder))])
    if done.code:
        raise SystemExit(f"pddnet register in one process ended with code {done.code}")
    first, second = json.loads(done.output.rsplit("seconds", 1)[1])
    return first, second, done.peak


def _arguments(pair: pairs.Pair, folder: Path) -> list[str]:
    """Return the arguments of a usual run: transform, warped volume and report."""
    files = {"fixed": pair.files["fixed"], "moving": pair.files["moving"]}
    outputs = {"output-transform": "transform.h5", "output-volume": "warped.nii.gz", "report": "report.json"}
    options = {**files, **{name: folder / file for name, file in outputs.items()}}
    return ["register", *(word for name, path in options.items() for word in (f"--{name}", str(path)))]
