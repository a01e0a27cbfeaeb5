"""Programs that the tests of the worker's client start: a launcher like PythonSlicer, and a client to be killed."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.paths import LIBRARY

LAUNCHER = f"""#!{sys.executable}
import subprocess, sys
sys.exit(subprocess.Popen([sys.executable, *sys.argv[1:]]).wait() & 0xff)
"""

NOISY = """
import ctypes, os, time

def noise():
    print("printed")
    os.write(1, b"written\\n")
    if os.name == "posix":
        libc = ctypes.CDLL(None)
        libc.puts(b"put")
        libc.fflush(None)

def wait(progress, stage="wait", seconds=30.0, deaf=False):
    noise()
    for i in range(int(seconds * 20)):
        if not deaf or i == 0:
            progress(i / (seconds * 20), stage)
        time.sleep(0.05)
    return {"pid": os.getpid()}
"""


def make_launcher(folder: Path) -> Path:
    """A program that, like PythonSlicer, runs the real Python as its child."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "PythonSlicer"
    path.write_text(LAUNCHER)
    path.chmod(0o755)
    return path


def make_waiting_pddnet(parent: Path) -> Path:
    """A folder with a pddnet that also knows the request 'wait' (stage, seconds, deaf), which prints a lot."""
    for room, but in ((Path("pddnet"), "worker"), (Path("pddnet", "worker"), "tasks.py")):
        (parent / room).mkdir(parents=True)
        for source in (LIBRARY / room).iterdir():
            if source.name not in (but, "__pycache__"):
                (parent / room / source.name).symlink_to(source)
    tasks = Path("pddnet", "worker", "tasks.py")
    text = (LIBRARY / tasks).read_text(encoding="utf-8")
    (parent / tasks).write_text(text + NOISY + '\nTASKS["wait"] = wait\n', encoding="utf-8")
    return parent


def plain_qt() -> None:
    """`qt` and `slicer.i18n` from PySide6 alone, for a program without the host."""
    from PySide6 import QtCore

    sys.modules["qt"] = types.ModuleType("qt")
    vars(sys.modules["qt"]).update({name: getattr(QtCore, name) for name in dir(QtCore) if name.startswith("Q")})
    sys.modules["slicer.i18n"] = types.ModuleType("slicer.i18n")
    sys.modules["slicer.i18n"].tr = str


def main(program: str, parent: str, temporary: str) -> None:
    """Start a long request, and print the number of its process when it is under way."""
    import numpy as np

    plain_qt()
    from PDDRegistrationLib.worker.client import Worker

    worker = Worker(program, parent, temporary)
    request = {"do": "wait", "stage": "long", "seconds": 60.0, "deaf": True}
    number = worker.submit(request, lambda *_: print(worker.hello["pid"], flush=True))
    (next(Path(temporary).glob("pddnet-*")) / "99-0.npy").write_bytes(np.zeros(3).tobytes())
    worker.waitFor(number)


def answer_to(
    worker: Any, request: dict[str, Any], onProgress: Callable[[float, str], None] | None = None
) -> dict[str, Any]:
    """Submit a request, wait for it and return the answer's fields; a failure is raised as `Failure.asException`."""
    answers: list[dict[str, Any]] = []
    failures: list[Any] = []
    worker.waitFor(worker.submit(request, onProgress, answers.append, failures.append))
    if failures:
        raise failures[0].asException()
    return answers[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
