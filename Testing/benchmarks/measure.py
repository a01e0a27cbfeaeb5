"""Measure wall time and peak memory of a process and all its children."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

GB = 1e9
_EVERY = 0.03  # seconds between two looks at the memory


@dataclass(frozen=True)
class Run:
    """A finished command: exit code, time, memory and standard output."""

    code: int
    seconds: float
    peak: float  # bytes resident in the process and its children at the same time
    output: str


def run(command: Sequence[str]) -> Run:
    """Run a command to its end; its errors go to this process's standard error."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peaks = [0.0]
    watch = threading.Thread(target=_watch, args=(process.pid, peaks), daemon=True)
    watch.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - start
    watch.join()
    return Run(process.returncode, seconds, max(peaks), output)


def _watch(pid: int, peaks: list[float]) -> None:
    """Note the resident memory of the process tree until it is gone."""
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            peaks.append(sum(_resident(process) for process in (root, *root.children(recursive=True))))
            time.sleep(_EVERY)
    except psutil.NoSuchProcess:
        return


def _resident(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
