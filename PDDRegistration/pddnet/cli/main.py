"""Run the `pddnet` command: find the subcommand, run it, and say in one line why a run ended early.

Only the module of the requested subcommand is loaded, so that help is instant and an interrupt while it loads
is handled too.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from .. import __version__
from ..errors import Cancelled, InputError, lacks_memory
from ..io.signals import ENDING_SIGNALS
from ..process import LEAST_ADDRESS_SPACE_MB, address_space_mb
from . import standard_output
from .console import printable
from .exit_codes import BAD_INPUT, FAULT, INTERRUPTED, TERMINATED
from .stops import NOTHING_WRITTEN, Stopped, Terminated

COMMANDS = {  # each is a module beside this one, with add_arguments(parser) and run(args) -> exit code
    "register": "find the transform that lays a moving scan over a fixed one",
    "batch": "register many pairs, on this machine or on a Dask cluster",
    "segment": "segment a scan by atlases: registered to it, weighed and fused",
    "template": "make the mean of several scans, in shape and intensity",
    "sequence": "register all frames of a sequence to one of them",
    "reference": "make the deformation between two segmented patients from their label maps",
    "evaluate": "measure any ITK transform by label maps and landmarks",
    "compare": "measure what each part of the method is worth on labelled scans",
    "train": "train the network that names structures, on your own data",
    "phantom": "write virtual patients: scans with labels, to train and measure on",
}

_NO_MEMORY = "the memory of this machine does not suffice; close other programs, crop the volumes or use --preset fast"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        standard_output.write(message)  # argparse itself says nothing where that fails


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's own) and return its exit code."""
    try:
        with _terminable():
            return _run(list(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        return _end(str(error), BAD_INPUT)
    except MemoryError:
        return _end(_NO_MEMORY, BAD_INPUT)
    except Stopped as stop:
        return _end_stopped(stop.reason, stop.left)
    except (KeyboardInterrupt, Cancelled, Terminated) as reason:
        return _end_stopped(reason, NOTHING_WRITTEN)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    except Exception as error:  # a fault of ours, unless the system said no: still no traceback, but a way to get it
        if os.environ.get("PDDNET_TRACEBACK"):
            raise
        if isinstance(error, ImportError) and lacks_memory(error):
            return _end(_NO_MEMORY, BAD_INPUT)
        if isinstance(error, OSError) and error.filename and error.strerror:
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
            return _end(f"{name}: {error.strerror}; correct the path, free space or choose another folder", BAD_INPUT)
        fault = f"internal fault, {type(error).__name__}: {error}"
        return _end(f"{fault}; set PDDNET_TRACEBACK=1, run again and report what it prints", FAULT)


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of the command line.

    Args:
        command: declare only this subcommand's arguments, so that only its module is loaded; None: those of all.
    """
    parser = _Parser(
        prog="pddnet", description="Register 3-D scans of different bodies: two volumes in, a transform out."
    )
    parser.add_argument("--version", action="version", version=f"pddnet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar=" | ".join(COMMANDS), required=True)
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary)
        if command is None or command == name:
            _module(name).add_arguments(subparser)
    return parser


def _module(command: str) -> ModuleType:
    return importlib.import_module(f".{command}", __package__)


def _run(arguments: list[str]) -> int:
    command = next((word for word in arguments if word in COMMANDS), "")
    if command:
        _check_address_space()  # before its module loads anything
    args = build_parser(command).parse_args(arguments)
    code: int = _module(args.command).run(args)
    return code


def _check_address_space() -> None:
    """Refuse a process that may map too little memory: libraries then fail in all ways, or wait for ever."""
    if (limit := address_space_mb()) < LEAST_ADDRESS_SPACE_MB:
        raise InputError(
            f"this process may use {limit:.0f} MB of memory only (ulimit -v), and needs {LEAST_ADDRESS_SPACE_MB} MB or "
            "more; raise that limit"
        )


def _end_stopped(reason: KeyboardInterrupt | Cancelled | Terminated, left: str) -> int:
    if isinstance(reason, Terminated):
        return _end(f"terminated; {left}", TERMINATED)
    return _end(f"interrupted; {left}", INTERRUPTED)


def _end(message: str, code: int) -> int:
    """Report why the command ends, and return its exit code."""
    if sys.stdout is not None and sys.stdout.isatty():
        print(flush=True)  # leave the line of the progress bar
    say(message)
    return code


def say(message: str) -> None:
    """Print one line on standard error, whatever characters the message holds."""
    if sys.stderr is None:
        return
    line, encoding = printable(" ".join(message.split())), sys.stderr.encoding or "ascii"
    sys.stderr.write(f"pddnet: {line}\n".encode(encoding, "backslashreplace").decode(encoding))
    sys.stderr.flush()


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn the signals that end a process into an exception, so that temporaries are removed; in the main thread."""
    names = [getattr(signal, name) for name in ENDING_SIGNALS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    left_alone = (signal.SIG_IGN, None)  # None: the handler is not Python's, so that it could not be set again
    before = {name: signal.signal(name, terminate) for name in names if signal.getsignal(name) not in left_alone}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
