"""Talk to the long-lived registration process (`pddnet.worker.server`) by a QProcess and its signals (`Worker`).

    worker = Worker(pythonSlicer, folderOfPddnet, slicer.app.temporaryPath)
    worker.submit({"do": "register", "fixed": fixed, "moving": moving}, onProgress, onDone, onFailed)

`pddnet.worker.tasks` defines the requests, their fields and the answers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from pddnet.worker.folder import WorkerFolder
from pddnet.worker.messages import discard, pack, unpack
from pddnet.worker.server import IDLE, TASKS, arguments

from ..base.files import privateFolder
from .failure import Failure, cancelled, noMemory
from .handshake import mismatch

LOG_LINES = 200
LAST_LINES = 15  # of the log, in a message
CANCEL_SECONDS = 2.0  # after which a cancelled request is ended by killing the process
STOP_SECONDS = 0.7  # in which the process should end by itself

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows os.kill with SIGTERM ends a process at once


@dataclass
class _Job:
    onProgress: Callable[[float, str], None] | None
    onDone: Callable[[dict[str, Any]], None] | None
    onFailed: Callable[[Failure], None] | None
    deadline: float | None = None  # set when cancelled: until then it should have ended
    error: Exception | None = None  # exception of onProgress


class Worker:
    """Start the process when it is needed and pass requests to it, one after the other.

    Every submitted request ends with exactly one call of its onDone or onFailed, from the event loop, `waitFor`,
    `cancel` or `stop`. The process ends by itself after some idle minutes and when this application does.
    """

    def __init__(
        self,
        pythonExecutable: str | Path,
        pddnetParent: str | Path,
        temporaryFolder: str | Path,
        idleSeconds: float = IDLE,
        tasks: str = TASKS,
    ) -> None:
        """Prepare the client; pythonExecutable: PythonSlicer; pddnetParent: the folder that holds pddnet;
        temporaryFolder: where the private folder with the arrays is made; tasks: module that has the requests."""
        self._program, self._parent, self._tasks = str(pythonExecutable), Path(pddnetParent), tasks
        self._temporary, self._idle = Path(temporaryFolder), idleSeconds
        self._folder: WorkerFolder | None = None
        self._jobs: dict[int, _Job] = {}
        self._count = 0
        self._hello: dict[str, Any] = {}
        self._greeted = False  # by the process that runs now
        self._unsent: list[bytes] = []  # until then
        self._output = self._errors = b""
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._ending: Failure | None = None  # the failure of the open requests once the process has ended
        self._process = qt.QProcess()
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._listening = False

    @property
    def isRunning(self) -> bool:
        """Return whether the process is running."""
        return self._process.state() != qt.QProcess.NotRunning

    @property
    def isBusy(self) -> bool:
        """Return whether a request is open."""
        return bool(self._jobs)

    @property
    def log(self) -> list[str]:
        """Return the last lines that the process printed, also of one that has ended."""
        return list(self._log)

    @property
    def hello(self) -> dict[str, Any]:
        """Return the last process's greeting: protocol, version, pid, file, python; empty before."""
        return dict(self._hello)

    def useTemporaryFolder(self, folder: str | Path) -> None:
        """Set where the next process's private folder is made: the user may have chosen another place."""
        self._temporary = Path(folder)

    def start(self) -> None:
        """Start the process, if there is none; `submit` does so too.

        Raises:
            InputError: the folder for temporary files cannot be used.
        """
        if self.isRunning and self._ending is None:
            return
        self._prepare()
        self._launch()

    def submit(
        self,
        request: dict[str, Any],
        onProgress: Callable[[float, str], None] | None = None,
        onDone: Callable[[dict[str, Any]], None] | None = None,
        onFailed: Callable[[Failure], None] | None = None,
    ) -> int:
        """Send a request and return its number; the arrays are written now, and may be changed afterwards.

        Args:
            request: {"do": ..., **fields}; values are JSON, `Image`, `DisplacementField`, `Grid`, numpy arrays or
                SimpleITK transforms, as `pddnet.worker.tasks` describes them.
            onProgress: called with (fraction 0..1, stage); an exception that it raises cancels the request.
            onDone: called with the answer's fields. onFailed: called with a `Failure`.

        Raises:
            InputError: the arrays cannot be written to the temporary folder.
        """
        self._catchUp()
        if not self.isRunning:
            self._prepare()
        self._count += 1
        number = self._count
        message = pack(request, self._arraysFolder, str(number))
        self._jobs[number] = _Job(onProgress, onDone, onFailed)
        self._send({**message, "id": number})
        if not self.isRunning:
            self._launch()
        return number

    def cancel(self, number: int) -> None:
        """Cancel a request; where that takes too long, the process is killed, unless it works on another one."""
        job = self._jobs.get(number)
        if job is None or job.deadline is not None:
            return
        if number != next(iter(self._jobs)):  # it waits for its turn, in which the process will skip it
            self._send({"do": "cancel", "id": number})
            self._fail(number, cancelled())
            return
        job.deadline = time.monotonic() + CANCEL_SECONDS
        self._send({"do": "cancel", "id": number})
        self._timer.start(int(1100 * CANCEL_SECONDS))  # Qt's timers may be early by a twentieth: never before it is due

    def waitFor(self, number: int) -> None:
        """Block until a request has ended, without the event loop; its callbacks are called from here.

        Raises:
            Exception: any exception of onProgress, which cancels the request.
        """
        job = self._jobs.get(number)
        while number in self._jobs:
            self._process.waitForReadyRead(100)
            self._readErrors()
            self._readOutput()
            self._killIfDue()
            if not self.isRunning:
                self._onFinished()
        if job is not None and job.error is not None:
            raise job.error

    def stop(self) -> None:
        """End the process within about a second and delete its files; open requests fail as cancelled.

        Call this on cleanup, on reload, and before torch is installed or updated.
        """
        if self.isRunning:
            self._ending = self._ending or Failure("cancelled", _("The registration process was stopped."))
            self._process.closeWriteChannel()
            if not self._process.waitForFinished(int(1000 * STOP_SECONDS)):
                self._kill()
                self._process.waitForFinished(300)
        if self._folder is not None and not self.isRunning:
            self._onFinished()

    @property
    def _arraysFolder(self) -> Path:
        """Return the private folder of the process; it exists from before its start until after its end."""
        assert self._folder is not None
        return self._folder.path

    def _prepare(self) -> None:
        """Make a private folder for a new process."""
        if self.isRunning:  # the former process is about to end
            self.stop()
        self._folder = self._folder or privateFolder(self._temporary)

    def _listen(self, on: bool) -> None:
        """Connect the signals while a process runs, and no longer: connected, they would hold this client for ever."""
        if on == self._listening:
            return
        self._listening, process = on, self._process
        for source, slot in (
            (process.readyReadStandardOutput, self._readOutput),
            (process.readyReadStandardError, self._readErrors),
            (process.finished, self._onFinished),
            (process.errorOccurred, self._onErrorOccurred),
            (self._timer.timeout, self._killIfDue),
        ):
            (source.connect if on else source.disconnect)(slot)

    def _launch(self) -> None:
        self._hello = {}
        self._listen(True)
        self._process.start(self._program, arguments(self._parent, self._arraysFolder, self._idle, self._tasks))

    def _catchUp(self) -> None:
        """Handle what happened while no event loop ran: the process may have ended, or be about to."""
        if self.isRunning:
            self._process.waitForReadyRead(0)
            self._readOutput()
        if self.isRunning and self._ending is not None:
            self.stop()

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message, allow_nan=False).encode("ascii") + b"\n"
        if self._greeted:
            self._process.write(line)
        else:
            self._unsent.append(line)

    def _readOutput(self) -> None:
        while data := _bytes(self._process.readAllStandardOutput()):
            self._output += data
            while b"\n" in self._output:
                line, _newline, self._output = self._output.partition(b"\n")
                self._receive(line)

    def _readErrors(self) -> None:
        self._errors += _bytes(self._process.readAllStandardError())
        *lines, self._errors = self._errors.replace(b"\r", b"\n").split(b"\n")
        self._log.extend(line.decode("utf-8", "replace") for line in lines if line)

    def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            number = message.get("id")
        except (ValueError, AttributeError):
            self._log.append(repr(line[:LOG_LINES]))
            return
        if "hello" in message:
            self._welcome(message["hello"])
        elif "bye" in message and not self._jobs:
            self._ending = Failure("cancelled", _("The registration process was stopped."))
            self._process.closeWriteChannel()
        elif "progress" in message and number in self._jobs:
            self._onProgress(number, message["progress"], message["stage"])
        elif "done" in message and number in self._jobs:
            self._onDone(number, message["done"])
        elif "done" in message:  # of a request that was cancelled while it waited
            discard(message["done"], self._arraysFolder)
        elif "failed" in message:
            failed = message["failed"]
            failure = Failure(failed["kind"], failed["message"], failed.get("traceback", ""))
            if number in self._jobs:
                self._fail(number, failure)
            elif failure.kind != "cancelled":
                self._log.append(failure.message)

    def _welcome(self, hello: dict[str, Any]) -> None:
        """Check that the process is the one that belongs to this application, and send it the waiting requests."""
        self._hello = hello
        if self._ending is not None:
            return
        wrong = mismatch(hello, self._parent)
        if wrong:
            self._ending = Failure("mismatch", wrong)
            self._kill()
            return
        self._greeted = True
        for line in self._unsent:
            self._process.write(line)
        self._unsent = []

    def _onProgress(self, number: int, fraction: float, stage: str) -> None:
        job = self._jobs[number]
        if job.onProgress is None or job.deadline is not None:
            return
        try:
            job.onProgress(fraction, stage)
        except Exception as error:
            job.error = error
            self.cancel(number)

    def _onDone(self, number: int, done: dict[str, Any]) -> None:
        if self._jobs[number].deadline is not None:  # the request was done before the process received the cancellation
            discard(done, self._arraysFolder)
            self._fail(number, cancelled())
            return
        try:
            answer = unpack(done, self._arraysFolder)
        except MemoryError:
            self._fail(number, Failure("memory", noMemory()))
            return
        except (OSError, ValueError) as error:
            text = _("The result cannot be read ({reason}); free space on the disk of the temporary files.")
            self._fail(number, Failure("internal", text.format(reason=error)))
            return
        job = self._jobs.pop(number)
        _call(job.onDone, answer)

    def _fail(self, number: int, failure: Failure) -> None:
        job = self._jobs.pop(number)
        _call(job.onFailed, failure if job.deadline is None else cancelled())

    def _onFinished(self, *_arguments: object) -> None:
        """Delete the files of the ended process, and fail the requests that it left open."""
        self._readErrors()
        self._readOutput()
        if self._errors:
            self._log.append(self._errors.decode("utf-8", "replace"))
        failure = self._ending or self._died()
        self._end(failure)

    def _onErrorOccurred(self, error: object) -> None:
        if error == qt.QProcess.FailedToStart:
            text = _("{program} cannot be started; install the application again.").format(program=self._program)
            self._end(Failure("died", text))

    def _end(self, failure: Failure) -> None:
        self._timer.stop()
        self._listen(False)
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.remove()
        self._greeted, self._unsent, self._output, self._errors, self._ending = False, [], b"", b"", None
        for number in list(self._jobs):
            if number in self._jobs:  # a callback may have submitted again
                self._fail(number, failure)

    def _died(self) -> Failure:
        lines = "\n".join(list(self._log)[-LAST_LINES:])
        text = _("The registration process ended unexpectedly (exit code {code}). Its last lines:\n{lines}")
        return Failure("died", text.format(code=self._process.exitCode(), lines=lines), lines)

    def _killIfDue(self) -> None:
        now = time.monotonic()
        if any(job.deadline is not None and job.deadline <= now for job in self._jobs.values()):
            self._kill()

    def _kill(self) -> None:
        """End the process at once by its own number: PythonSlicer only launches the Python that reported it."""
        if self._ending is None:
            self._ending = Failure("died", _("The registration process was killed because it did not end; try again."))
        if self._hello and self.isRunning:
            with contextlib.suppress(OSError):
                os.kill(self._hello["pid"], _KILL)
        self._process.kill()


def _call(callback: Callable[[Any], None] | None, argument: Any) -> None:
    """Call a callback; a fault in it must not keep the next one from being called."""
    try:
        if callback is not None:
            callback(argument)
    except Exception:
        logging.exception("a callback of the registration process failed")


def _bytes(data: Any) -> bytes:
    """Return the content of a QByteArray, in PythonQt and in PySide."""
    content = data.data()
    return content if isinstance(content, bytes) else str(content).encode("utf-8")
