"""Measure a batch: against single commands, what the scheduler adds, memory over many pairs; and project a large one.

Usage: PYTHONPATH=Testing python -m benchmarks.batch [--pairs 20] [--spacing 2.0] [--preset default] [--tasks 1000]
           [--small 200] [--work 5] [--only overhead|memory|work|speed]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import SimpleITK as sitk

from benchmarks.console import goal, line, progress, title
from benchmarks.measure import GB, run
from pddnet.batch.cluster import cores, local_cluster, run_tasks, size_of
from pddnet.batch.process import ProcessPool, RegistrationProcess
from pddnet.phantom.phantom import full_view, virtual_patient

MB = 1e6
SMALL_MM = 6.0  # voxels of the pair that is registered again and again
FIRST = 10  # pairs after which the memory counts as settled
LARGE_PAIRS, LARGE_WORKERS = 10_000, 100
SHARE, OVERHEAD_MS, GROWTH_MB = 0.75, 50.0, 50.0  # goals


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20, help="pairs against one fixed scan")
    parser.add_argument("--spacing", type=float, default=2.0, help="mm, voxels of these scans")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--tasks", type=int, default=1000, help="tasks that do nothing")
    parser.add_argument("--small", type=int, default=200, help="small pairs in one process")
    parser.add_argument("--work", type=int, default=5, help="pairs whose CPU seconds are measured")
    parser.add_argument("--only", choices=("overhead", "memory", "work", "speed"))
    args = parser.parse_args()
    overhead = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only in (None, "overhead"):
            overhead = report_overhead(args.tasks)
        if args.only in (None, "memory"):
            report_memory(folder, args.small)
        if args.only in (None, "work"):
            report_work(folder, args.work, args.pairs, args.spacing, args.preset)
        if args.only in (None, "speed"):
            report_speed(folder, args.pairs, args.spacing, args.preset, overhead)
    return 0


def nothing(job: dict[str, Any]) -> dict[str, Any]:
    """A task that does nothing."""
    return job


def report_overhead(count: int) -> float:
    """Print and return what the scheduler adds to a pair, in seconds."""
    title(f"scheduler, {count} tasks that do nothing")
    jobs = [{"id": f"pair_{n:05d}", "arguments": ["--fixed=/data/fixed.nii.gz"] * 10} for n in range(count)]
    start = time.perf_counter()
    with local_cluster(2) as client:
        ready = time.perf_counter()
        answers = list(run_tasks(client, nothing, jobs))
        done = time.perf_counter()
    assert sorted(number for number, _ in answers) == list(range(count))
    milliseconds = 1000 * (done - ready) / count
    line("start of the cluster", f"{ready - start:.1f} s")
    line("a task", f"{milliseconds:.1f} ms {goal(milliseconds, OVERHEAD_MS)}")
    return milliseconds / 1000


def report_memory(folder: Path, count: int) -> None:
    """Register small pairs again and again as a batch does, and print how the memory of its process grows."""
    title(f"memory, {count} small pairs, one after the other")
    paths = [_write(folder, seed, SMALL_MM) for seed in (1, 2, 3)]
    pool = ProcessPool()
    used: list[float] = []
    for number in range(count):
        moving = paths[1 + number % 2]
        with pool.borrowed((), cores()) as worker:
            worker.register(
                [f"--fixed={paths[0]}", f"--moving={moving}", "--preset=fast", f"--output-transform={folder}/t.h5"]
            )
            used.append(psutil.Process(worker.number).memory_info().rss / MB)
        if number % 20 == 0:
            progress(f"pair {number + 1}, {used[-1]:.0f} MB")
    pool.end()
    settled, last = max(used[:FIRST]), max(used[-FIRST:])
    line(f"largest of the first {FIRST}", f"{settled:.0f} MB")
    line(f"largest of the last {FIRST}", f"{last:.0f} MB")
    line("growth", f"{last - settled:.0f} MB {goal(last - settled, GROWTH_MB)}")


def report_work(folder: Path, count: int, pairs: int, spacing: float, preset: str) -> None:
    """Print the CPU seconds of single commands and of a process that keeps the fixed scan; load hardly changes them."""
    title(f"CPU seconds of {count} pairs against one fixed scan, {spacing:g} mm, preset {preset}")
    fixed, *moving = [str(_write(folder, seed, spacing)) for seed in range(1, count + 2)]
    before = _of_children()
    _singles(folder, fixed, moving, preset)
    single = (_of_children() - before) / count
    worker = RegistrationProcess(threads=1)
    process, spent = psutil.Process(worker.number), [0.0]
    for path in moving:
        progress(f"in one process, {Path(path).name}")
        worker.register(["--fixed", fixed, "--moving", path, "--preset", preset, *_outputs(folder)])
        times = process.cpu_times()
        spent.append(times.user + times.system)
    worker.end()
    first, later = spent[1], (spent[-1] - spent[1]) / max(count - 1, 1)
    line("a single command", f"{single:.1f} s")
    line("the first in a process", f"{first:.1f} s")
    line("each of the others", f"{later:.1f} s")
    share = (first + (pairs - 1) * later) / (pairs * single)
    line(f"share, of {pairs} pairs", f"{share:.2f} {goal(share, SHARE)}")


def _of_children() -> float:
    """Return the CPU seconds of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report_speed(folder: Path, count: int, spacing: float, preset: str, overhead: float) -> None:
    """Print how long a batch takes against single commands, half of them before it and half after."""
    workers = size_of(count)
    threads = max(cores() // workers, 1)
    title(f"{count} pairs against one fixed scan, {spacing:g} mm, preset {preset}")
    fixed, *moving = [str(_write(folder, seed, spacing)) for seed in range(1, count + 2)]
    half = count // 2
    singles = _singles(folder, fixed, moving[:half], preset)
    progress("the batch")
    pattern = str(folder / f"patient_*_{spacing:g}.nii.gz")
    command = ["--fixed", fixed, "--moving-glob", pattern, "--out", str(folder / "out"), "--preset", preset]
    batch = run([sys.executable, "-m", "pddnet", "batch", *command])
    assert batch.code in (0, 3), batch.output
    singles += _singles(folder, fixed, moving[half:], preset)
    share = batch.seconds / singles
    line("single commands", f"{singles:.0f} s", f"{singles / count:.1f} s a pair")
    line("the batch", f"{batch.seconds:.0f} s", f"{batch.seconds / count:.1f} s a pair", f"{batch.peak / GB:.1f} GB")
    line("  on", f"{workers} processes", f"{threads} cores each")
    line("share", f"{share:.2f} {goal(share, SHARE)}")
    busy = batch.seconds * workers / count  # of one process with its cores, for one pair, the start included
    hours = (LARGE_PAIRS / LARGE_WORKERS * busy + LARGE_PAIRS * overhead) / 3600
    line(
        f"{LARGE_PAIRS} pairs on {LARGE_WORKERS} workers",
        f"{hours:.1f} h, each like one of these processes ({threads} cores), if reading and writing keep up",
    )


def _singles(folder: Path, fixed: str, moving: Sequence[str], preset: str) -> float:
    """Run a command for each pair, one after the other, with the outputs of a batch; return the seconds."""
    seconds = 0.0
    for path in moving:
        progress(f"single command, {Path(path).name}")
        command = [sys.executable, "-m", "pddnet", "register", "--fixed", fixed, "--moving", path, "--preset", preset]
        done = run([*command, *_outputs(folder)])
        assert done.code in (0, 3), done.output
        seconds += done.seconds
    return seconds


def _outputs(folder: Path) -> list[str]:
    """Write the arguments for the outputs that a batch writes."""
    names = {"--output-transform": "t.h5", "--output-preview": "p.png", "--sidecar": "s.json", "--report": "r.json"}
    return [word for option, name in names.items() for word in (option, str(folder / name))]


def _write(folder: Path, seed: int, spacing: float) -> Path:
    """Write a virtual patient."""
    path = folder / f"patient_{seed:03d}_{spacing:g}.nii.gz"
    sitk.WriteImage(virtual_patient(seed, full_view(seed, spacing)).image.to_sitk(), str(path), True)
    return path


if __name__ == "__main__":  # the workers of the cluster load this file, too
    sys.exit(main())
