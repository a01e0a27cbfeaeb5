"""Serve requests of an application in a long-lived process: register, warp, measure.

Requests arrive on standard input, answers leave on standard output: JSON, one ASCII line each. Arrays travel as files
in a private folder (`messages`).

    in    {"do": "register" | "warp" | "evaluate" | "page" | "warm", "id": 1, ...}   see `tasks`
          {"do": "cancel", "id": 1}, {"do": "quit"}
    out   {"hello": {"protocol", "version", "pid", "file", "python"}}       the first line
          {"id": 1, "progress": 0.4, "stage": "match 1"}
          {"id": 1, "done": {...}} or {"id": 1, "failed": {"kind", "message", "traceback"}}
          {"bye": "idle"}                                                   it ends soon, unless a request comes

Kinds of failures: input, cancelled, memory, torch_missing, internal (this one has a traceback). The process ends when
standard input closes, even in the middle of a computation, and deletes its folder. Nothing heavy is imported here.
"""

from __future__ import annotations

import faulthandler
import importlib
import io
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from .. import __file__ as package_file
from .. import __version__
from ..errors import Cancelled, InputError, TorchMissing
from ..process import give_back, prepare
from .folder import remove

PROTOCOL = 1
IDLE = 300.0  # s without a request, after which the process ends
GRACE = 5.0  # s after it announced that, in which a request that was already on its way is still answered
TASKS = "pddnet.worker.tasks"  # what the worker of Slicer can do; the batch has another table
INTERVAL = 0.1  # s between two reports of progress within a stage

_START = (
    "import sys; sys.path[:] = [sys.argv[1]] + [p for p in sys.path if p]; "
    "from pddnet.worker import main; main(sys.argv[2], float(sys.argv[3]), sys.argv[4])"
)
_KINDS = ((Cancelled, "cancelled"), (TorchMissing, "torch_missing"), (InputError, "input"), (MemoryError, "memory"))
_NO_MEMORY = (
    "the memory of this machine does not suffice; close other programs, crop the volumes or use the preset fast"
)


def arguments(parent: str | Path, folder: str | Path, idle: float = IDLE, tasks: str = TASKS) -> list[str]:
    """Return the arguments for Python to run the worker of the pddnet in `parent`, even if another one is installed."""
    return ["-c", _START, str(parent), str(folder), str(idle), tasks]


def main(folder: str, idle: float = IDLE, tasks: str = TASKS) -> NoReturn:
    """Serve until standard input closes or no request came for `idle` seconds; then delete `folder`.

    tasks: module whose table TASKS has the requests.
    """
    requests, answers = _take_channels()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is meant for the application
    faulthandler.enable()
    prepare()
    _Server(Path(folder), requests, answers, idle, tasks).serve()


def _take_channels() -> tuple[BinaryIO, BinaryIO]:
    """Keep standard input and output for the protocol, and return them as (requests, answers).

    From now on, what a library prints, also from C, goes to standard error. Standard input becomes the null device: on
    Windows a library that asks for its type would wait as long as we wait for a line.
    """
    requests, answers = os.dup(0), os.dup(1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(requests, os.O_BINARY)
        msvcrt.setmode(answers, os.O_BINARY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stdout = sys.stderr
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb", buffering=0)


class _Server:
    """Answer requests one after the other.

    The main thread computes; another one listens, so that a cancellation or the end of the client is noticed at once.
    """

    def __init__(self, folder: Path, requests: BinaryIO, answers: BinaryIO, idle: float, tasks: str) -> None:
        self._folder, self._requests, self._answers, self._idle = folder, requests, answers, idle
        self._tasks = tasks
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self._cancelled: set[int] = set()
        self._sending = threading.Lock()

    def serve(self) -> NoReturn:
        hello = {"protocol": PROTOCOL, "version": __version__, "pid": os.getpid(), "file": package_file}
        self._send({"hello": {**hello, "python": sys.version.split()[0]}})
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            while True:
                self._answer(self._next())
        finally:
            self._end()

    def _listen(self) -> NoReturn:
        try:
            while self._take(self._requests.readline()):
                pass
        finally:
            self._end()

    def _take(self, line: bytes) -> bool:
        """Take one line of input and return whether to go on; an empty line means that standard input is closed."""
        try:
            message = json.loads(line) if line else {"do": "quit"}
            do, number = str(message["do"]), int(message.get("id", 0))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            self._fail(None, "internal", f"this line is no request: {line[:200]!r}")
            return True
        if do == "cancel":
            self._cancelled.add(number)
        elif do != "quit":
            self._waiting.put(message)
        return do != "quit"

    def _next(self) -> dict[str, Any]:
        try:
            return self._waiting.get(timeout=self._idle)
        except queue.Empty:
            self._send({"bye": "idle"})
        try:
            return self._waiting.get(timeout=GRACE)
        except queue.Empty:
            self._end()

    def _answer(self, message: dict[str, Any]) -> None:
        number = message.pop("id", None)
        try:
            from . import messages

            tasks = importlib.import_module(self._tasks).TASKS
            task = tasks.get(message.pop("do"))
            request = messages.unpack(message, self._folder)
            if task is None:
                raise ValueError(f"there is no such request; known are {', '.join(tasks)}")
            done = task(self._progress(number), **request)
            answer = {"id": number, "done": messages.pack(done, self._folder, f"{number}-out")}
            self._send(answer)
        except Exception as error:
            kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), "internal")
            text = _NO_MEMORY if kind == "memory" else str(error) or type(error).__name__
            self._fail(number, kind, text, traceback.format_exc() if kind == "internal" else None)
        finally:
            _free()

    def _progress(self, number: int) -> Callable[[float, str], None]:
        """Make the progress callback of one request. It raises Cancelled where the client cancelled the request."""
        last: tuple[str, float] = ("", 0.0)

        def report(fraction: float, stage: str) -> None:
            nonlocal last
            if number in self._cancelled:
                raise Cancelled("cancelled")
            now = time.monotonic()
            if stage != last[0] or now - last[1] >= INTERVAL:
                last = (stage, now)
                self._send({"id": number, "progress": round(fraction, 4), "stage": stage})

        return report

    def _fail(self, number: int | None, kind: str, message: str, trace: str | None = None) -> None:
        failure = {"kind": kind, "message": message} | ({"traceback": trace} if trace else {})
        self._send({"id": number, "failed": failure})

    def _send(self, message: dict[str, Any]) -> None:
        line = memoryview(json.dumps(message, allow_nan=False).encode("ascii") + b"\n")
        try:
            with self._sending:
                while line:
                    line = line[self._answers.write(line) :]
        except OSError:  # nobody listens any more
            self._end()

    def _end(self) -> NoReturn:
        """End the process, from any thread and without waiting for a computation."""
        remove(self._folder)
        os._exit(0)


def _free() -> None:
    """Free memory between requests, the GPU's too: the application draws with it."""
    give_back()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
