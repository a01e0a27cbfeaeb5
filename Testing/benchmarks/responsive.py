"""Section d: measure how long the module blocks Slicer's window, with volumes of 512 x 512 x 300 voxels."""

from __future__ import annotations

import json
import sys

from benchmarks.console import goal, line, progress, title
from benchmarks.measure import run


def report() -> None:
    """Register once in the host, without a screen, and print the times."""
    title("d  the module's panel, two volumes of 512 x 512 x 300 voxels and a resampled one")
    progress("the module in the host")
    done = run([sys.executable, "-m", "benchmarks.responsive_run"])
    if done.code:
        print("the host cannot run here (make test says what is missing)")
        return
    seconds = json.loads(done.output.strip().splitlines()[-1])
    for name in ("nodes to request", "answer to nodes"):
        line(name, f"{seconds[name]:.2f} s", goal(seconds[name], 1))
    longest = 1000 * seconds["longest handler besides"]
    line("longest handler besides", f"{longest:.0f} ms", f"{goal(longest, 100)} {seconds['which']}")
    line("from Apply to the verdict", f"{seconds['whole run']:.1f} s")
