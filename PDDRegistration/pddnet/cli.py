"""The `pddnet` command: arguments, exit codes, and how a run ends early.

Exit codes: 0 done; 1 a fault of the program; 2 bad input, with one line on standard error; 3 the verdict is 'failed'
(the outputs are written all the same); 130 and 143 interrupted or terminated. Heavy modules are imported by the
commands themselves, so that help is instant and an interrupt while they load is handled too.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from . import __version__
from .errors import Cancelled, InputError
from .memory import keep
from .presets import PRESETS

OK, FAULT, BAD_INPUT, VERDICT_FAILED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143


class Terminated(BaseException):
    """The system asked the process to end; like KeyboardInterrupt it must pass by every `except Exception`."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's own) and return its exit code."""
    try:
        with _terminable():
            args = build_parser().parse_args(argv)
            return _run(args)
    except InputError as error:
        return _end(str(error), BAD_INPUT)
    except MemoryError:
        return _end(
            "the memory of this machine does not suffice; close other programs, crop the volumes or use --preset fast",
            BAD_INPUT,
        )
    except (KeyboardInterrupt, Cancelled) as error:
        return _end(f"interrupted; {_left(error)}", INTERRUPTED)
    except Terminated as error:
        return _end(f"terminated; {_left(error)}", TERMINATED)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    except Exception as error:  # a fault of ours: still no traceback, but a way to get it
        if os.environ.get("PDDNET_TRACEBACK"):
            raise
        fault = f"internal fault, {type(error).__name__}: {error}"
        return _end(f"{fault}; set PDDNET_TRACEBACK=1, run again and report what it prints", FAULT)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of all subcommands."""
    parser = _Parser(
        prog="pddnet", description="Register 3-D scans of different bodies: two volumes in, a transform out."
    )
    parser.add_argument("--version", action="version", version=f"pddnet {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="register | evaluate | compare | train | cohort", required=True
    )
    _add_register(commands.add_parser("register", help="find the transform that lays a moving scan over a fixed one"))
    _add_evaluate(commands.add_parser("evaluate", help="measure any ITK transform by label maps and landmarks"))
    _add_compare(commands.add_parser("compare", help="measure what each part of the method is worth on labelled scans"))
    _add_train(commands.add_parser("train", help="train the network that names structures, on your own data"))
    _add_cohort(
        commands.add_parser("cohort", help="write virtual patients: scans with labels, to train and measure on")
    )
    return parser


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = "Register labelled scans in pairs, with the whole preset and without one part after the other."
    parser.add_argument("cases", metavar="FOLDER", help="CASE/ct.nii.gz, CASE/labels.nii.gz and maybe landmarks.csv")
    parser.add_argument("--preset", default="default", help="the preset to take apart (default: %(default)s)")
    parser.add_argument("--configuration", action="append", metavar="NAME", help="only these; may be repeated")
    parser.add_argument("--pairs", type=int, metavar="N", help="only the first N pairs")
    parser.add_argument(
        "--weights", metavar="W.npz", help="of your own training, of either network, or the bundled pdd.npz"
    )
    parser.add_argument("--json", metavar="R.json", help="the numbers of every pair")


def _add_cohort(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write virtual patients: PATIENT/ct.nii.gz, labels.nii.gz, labels.json, landmarks.csv."
    parser.add_argument("--out", required=True, metavar="D", help="the folder for them")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="number of the first (default: %(default)s)")
    parser.add_argument("--anatomy", metavar="FOLDER", help="label maps of people (NAME.nii.gz, NAME.json) to vary")
    parser.add_argument("--spacing", type=float, default=3.0, metavar="MM", help="voxels (default: %(default)s mm)")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train the network that names structures, or the paper's own. Goes on where it was stopped."
    parser.add_argument("config", metavar="CONFIG.json", help="what to learn from, and for how long; see the README")
    parser.add_argument("--init", metavar="W.npz", help="weights to start from")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so many; the same command goes on")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def _add_register(parser: argparse.ArgumentParser) -> None:
    parser.description = "Find the transform that lays the moving scan over the fixed one."
    inputs = parser.add_argument_group("inputs (whatever SimpleITK reads, or folders of DICOM slices)")
    inputs.add_argument("--fixed", required=True, metavar="F", help="the scan that stays")
    inputs.add_argument("--moving", required=True, metavar="M", help="the scan that is laid over it")
    inputs.add_argument("--fixed-labels", metavar="A", help="label map of the fixed scan, for the organ table")
    inputs.add_argument("--moving-labels", metavar="B", help="label map of the moving scan, for the organ table")
    inputs.add_argument("--guide-with-labels", action="store_true", help="let both label maps guide the registration")
    inputs.add_argument("--fixed-mask", metavar="P", help="register only what lies in here")
    inputs.add_argument("--moving-mask", metavar="Q", help="the same for the moving scan")
    start = inputs.add_mutually_exclusive_group()
    start.add_argument("--initial-transform", metavar="I", help="ITK transform, fixed to moving, to start from")
    start.add_argument("--no-alignment", action="store_true", help="start from where the scans lie")
    inputs.add_argument(
        "--fixed-points", metavar="P", help="two or more landmarks to start from, as evaluate reads them"
    )
    inputs.add_argument("--moving-points", metavar="Q", help="the landmarks of the same names in the moving scan")
    how = parser.add_argument_group("how")
    how.add_argument("--preset", default="default", help=f"{', '.join(PRESETS)} (default: %(default)s)")
    how.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    how.add_argument(
        "--weights", metavar="W.npz", help="of your own training, of either network, or the bundled pdd.npz"
    )
    how.add_argument("--capture-range", type=float, metavar="MM", help="largest displacement that is searched")
    how.add_argument("--control-spacing", type=float, metavar="MM", help="between control points, of the last stage")
    how.add_argument("--smoothness", type=float, metavar="X", help="how stiff, as a multiple of the preset's")
    how.add_argument("--iterations", type=int, metavar="N", help="steps of the optimisation; 0 leaves it out")
    ways = how.add_mutually_exclusive_group()
    ways.add_argument("--both-ways", action="store_true", default=None, help="register both directions, and average")
    ways.add_argument("--one-way", action="store_false", dest="both_ways", help="register one direction only")
    outputs = parser.add_argument_group("outputs (volumes: .nii.gz .nii .nrrd .mha)")
    outputs.add_argument(
        "--output-transform", required=True, metavar="T", help="fixed to moving, LPS mm: .h5 .tfm .txt .mat or a volume"
    )
    outputs.add_argument("--output-volume", metavar="W", help="the moving scan on the fixed grid")
    outputs.add_argument("--output-labels", metavar="L", help="the moving label map on the fixed grid")
    outputs.add_argument("--output-inverse", metavar="V", help="the inverse transform, moving to fixed")
    outputs.add_argument("--output-jacobian", metavar="J", help="local volume change, on the transform's grid")
    outputs.add_argument(
        "--output-spread", metavar="U", help="standard deviation of the displacement, mm, on the transform's grid"
    )
    outputs.add_argument("--report", metavar="R.json", help="everything that is known about the result")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Measure any ITK transform (fixed to moving), also one that another program made."
    parser.add_argument("--fixed-labels", metavar="A", help="label map of the fixed scan")
    parser.add_argument("--moving-labels", metavar="B", help="label map of the moving scan")
    parser.add_argument("--transform", required=True, metavar="T", help="any ITK transform or displacement image")
    parser.add_argument(
        "--fixed-points", metavar="P", help="landmarks: CSV with name,x,y,z (LPS mm), .mrk.json or .fcsv"
    )
    parser.add_argument("--moving-points", metavar="Q", help="the landmarks of the same names in the moving scan")
    parser.add_argument("--json", metavar="R", help="the same numbers as a JSON file")


def _run(args: argparse.Namespace) -> int:
    keep()
    if args.command == "register":
        from .cli_register import run
    elif args.command == "compare":
        from .cli_compare import run
    elif args.command == "train":
        from .cli_train import run
    elif args.command == "cohort":
        from .cli_cohort import run
    else:
        from .cli_evaluate import run
    return run(args)


def _left(error: BaseException) -> str:
    """What an interrupted command leaves: as the command says, or as `OutputFiles` notes if it came too late."""
    if left := getattr(error, "left", ""):
        return left
    return "the outputs are complete" if getattr(error, "outputs_written", False) else "nothing was written"


def _end(message: str, code: int) -> int:
    """One line on standard error, whatever the message holds."""
    if sys.stdout is not None and sys.stdout.isatty():
        print(flush=True)  # leave the line of the progress bar
    if sys.stderr is not None:
        line, encoding = " ".join(message.split()), sys.stderr.encoding or "ascii"
        sys.stderr.write(f"pddnet: {line}\n".encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()
    return code


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, so that temporaries are removed; only possible in the main thread."""
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    before = {name: signal.signal(name, terminate) for name in names if signal.getsignal(name) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
