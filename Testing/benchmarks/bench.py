"""Measure speed and memory: operations against the published ones, the command on a pair, its growth, Slicer's panel.

Usage: PYTHONPATH=Testing python -m benchmarks.bench [--only a|b|c|d]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys

import pddnet
from benchmarks import operations, responsive, whole
from benchmarks.console import line, title
from benchmarks.measure import run
from pddnet.process import wait_passively

SECTIONS = {"a": operations.report, "b": whole.report_pair, "c": whole.report_growth, "d": responsive.report}

_ASK = """
import time, torch
print(torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")
print(torch.__version__)
x, seconds = torch.rand(2048, 2048), []
for _ in range(10):
    start = time.perf_counter()
    x @ x
    seconds.append(time.perf_counter() - start)
print(round(2 * 2048**3 / min(seconds) / 1e9))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", choices=SECTIONS, help="one section: a operations, b whole command, c growth, d the panel"
    )
    args = parser.parse_args()
    wait_passively()  # all that is measured runs in child processes, and the published operations under the same rule
    title("machine")
    line("pddnet", pddnet.__version__)
    name, product = _device()
    line("device", name)
    line(
        "speed",
        f"{product} GFLOP/s in a product of two matrices of 2048 x 2048: such machines differ by a factor of two",
    )
    line("cores", f"{_cores()} usable of {os.cpu_count()}; load before the run {_load()}")
    for name, section in SECTIONS.items():
        if args.only in (None, name):
            section()
    return 0


def _device() -> tuple[str, str]:
    """Return what `--device auto` takes, and how fast the CPU multiplies matrices, the best of ten times, in GFLOP/s.

    Another process answers: torch loaded in this one would count in the memory below.
    """
    name, version, product = run([sys.executable, "-c", _ASK]).output.strip().split("\n")
    return f"{name} ({platform.machine()}), torch {version}", product


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


if __name__ == "__main__":
    sys.exit(main())
