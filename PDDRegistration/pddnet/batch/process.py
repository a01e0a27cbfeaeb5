"""The process that registers: started when the first pair comes, asked for one pair after the other, watched, ended.

It speaks the protocol of `pddnet.worker.server`. It ends by itself when whoever started it ends, in whatever way,
because its standard input closes then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .. import __file__ as package_file
from ..worker.folder import WorkerFolder
from ..worker.server import arguments as worker_arguments

TASKS = "pddnet.cli.pair_tasks"
IDLE_SECONDS = 120.0  # without a pair, after which it gives its memory back
# After so many pairs another process takes over: free memory that is in pieces, of use for nothing, grows by about
# 2 MB a pair. To start one, and prepare the fixed scan again, takes two hundredths of the time of the pairs.
MOST_PAIRS = 20
LOOK_SECONDS = 0.2  # between two looks at its memory
_TELLING = 300  # last characters of what a process said before it died


class NotRegistered(Exception):
    """The pair could not be registered; the message is the reason, one sentence."""


class RegistrationProcess:
    """Process that registers one pair at a time. Not for several threads at once."""

    def __init__(self, runner: Sequence[str] = (), threads: int = 0) -> None:
        """Start it.

        runner: a program that speaks the protocol, with its arguments; empty: our own worker. threads: cores that it
        may use; 0: as the environment says.

        Raises:
            OSError: it cannot be started.
        """
        self._said = tempfile.TemporaryFile("w+b")  # noqa: SIM115  closed by `end`
        self._folder = None if runner else WorkerFolder(tempfile.gettempdir())
        self._process = subprocess.Popen(
            list(runner) or _worker(self._folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=_environment(threads),
        )
        self._number = 0
        self._killed_for = ""

    @property
    def ready(self) -> bool:
        """Tell whether it still runs, and registers another pair."""
        return self._process.poll() is None and self._number < MOST_PAIRS

    @property
    def number(self) -> int:
        """Return the number of the process in the system."""
        return self._process.pid

    def register(self, arguments: Sequence[str], limit_mb: float = 0.0) -> dict[str, Any]:
        """Register one pair, and return its report.

        arguments: of `pddnet register`. limit_mb: memory; a process that takes more is ended.

        Raises:
            NotRegistered: with the reason.
        """
        self._number += 1
        with self._watched(limit_mb):
            answer = self._ask({"do": "register", "id": self._number, "arguments": list(arguments)})
        if answer is None:
            raise NotRegistered(self._killed_for or self._why_it_died())
        if "failed" in answer:
            raise NotRegistered(str(answer["failed"]["message"]))
        report: dict[str, Any] = answer["done"]
        return report

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()
        if self._folder is not None:
            self._folder.remove()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request and return its answer; None if the process ends before."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                message = json.loads(line)
                if message.get("id") == request["id"] and ("done" in message or "failed" in message):
                    return dict(message)
        except (OSError, ValueError):  # it ended while we wrote, or in the middle of a line
            return None
        return None

    @contextlib.contextmanager
    def _watched(self, limit_mb: float) -> Iterator[None]:
        """Kill the process if it takes more memory than that during the block."""
        if not limit_mb:
            yield
            return
        import psutil  # comes with distributed

        process, over = psutil.Process(self._process.pid), threading.Event()

        def watch() -> None:
            with contextlib.suppress(psutil.Error):
                while not over.wait(LOOK_SECONDS):
                    if process.memory_info().rss > limit_mb * 2**20:
                        self._killed_for = f"it needed more memory than --limit-memory allows, {limit_mb / 1000:g} GB"
                        process.kill()
                        return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _why_it_died(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        said = " ".join(self._said.read().decode("utf-8", "replace").split())[-_TELLING:]
        return f"its process ended with {_in_words(code)}" + (f": {said}" if said else "")


class ProcessPool:
    """Idle processes of this Dask worker, to be used again: as many as it registers pairs at the same time."""

    def __init__(self) -> None:
        self._idle: dict[tuple[Any, ...], list[RegistrationProcess]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def borrowed(self, runner: Sequence[str], threads: int) -> Iterator[RegistrationProcess]:
        """Lend a process that is started with these; it comes back unless it died. Raise OSError if none starts."""
        key = (*runner, threads)
        with self._lock:
            waiting = self._idle.setdefault(key, [])
            process = waiting.pop() if waiting else None
        if process is not None and not process.ready:
            process.end()
            process = None
        process = process or RegistrationProcess(runner, threads)
        try:
            yield process
        finally:
            self._give_back(key, process) if process.ready else process.end()

    def end(self) -> None:
        """End all processes that wait."""
        with self._lock:
            waiting = [process for processes in self._idle.values() for process in processes]
            self._idle.clear()
        for process in waiting:
            process.end()

    def _give_back(self, key: tuple[Any, ...], process: RegistrationProcess) -> None:
        with self._lock:
            self._idle.setdefault(key, []).append(process)


def _worker(folder: WorkerFolder | None) -> list[str]:
    if folder is None:
        raise ValueError("our own worker needs a folder")
    parent = Path(package_file).parents[1]
    return [sys.executable, *worker_arguments(parent, folder.path, IDLE_SECONDS, TASKS)]


def _environment(threads: int) -> dict[str, str]:
    return {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}


def _in_words(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}, perhaps because memory ran out" if name == "SIGKILL" else name
