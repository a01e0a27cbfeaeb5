"""Register a folder of labelled scans with several configurations, and print a table (`pddnet compare`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from ..ablation import compare, find_configurations, pairs, read_cases, structure_table, table
from ..core.presets import Preset
from ..errors import InputError
from ..evaluation.report import to_json
from ..io.atomic_outputs import REPORTS
from ..io.weights_file import PDD, SEMANTIC, read_weights
from ..methods import Method, methods
from .console import Console
from .exit_codes import OK
from .output_files import output_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.description = "Register labelled scans in pairs, with the whole preset and without one part after the other."
    parser.add_argument("cases", metavar="FOLDER", help="CASE/ct.nii.gz, CASE/labels.nii.gz and maybe landmarks.csv")
    parser.add_argument("--preset", default="default", help="the preset to take apart (default: %(default)s)")
    parser.add_argument("--configuration", action="append", metavar="NAME", help="only these; may be repeated")
    parser.add_argument(
        "--methods", metavar="RUNS", help="the papers' methods in place of the parts; RUNS/NAME/best.npz: the networks"
    )
    parser.add_argument(
        "--structure", action="append", default=[], metavar="NAME", help="another table, of it alone; may be repeated"
    )
    parser.add_argument("--pairs", type=int, metavar="N", help="only the first N pairs")
    parser.add_argument(
        "--weights", metavar="W.npz", help="of your own training, of either network, or the bundled pdd.npz"
    )
    parser.add_argument("--json", metavar="R.json", help="the numbers of every pair")


def _rows(args: argparse.Namespace, warn: Callable[[str], None]) -> Mapping[str, Preset | Method | None]:
    """Look up what is to be compared."""
    if args.methods is None:
        return find_configurations(args.preset, args.configuration)
    if args.weights or args.preset != "default":
        raise InputError("--methods brings presets and weights of its own; leave --preset and --weights out")
    found = methods(Path(args.methods), warn)
    if unknown := [name for name in args.configuration or () if name not in found]:
        raise InputError(f"there is no method '{unknown[0]}'; choose from {', '.join(found)}")
    return {name: found[name] for name in args.configuration or found}


def run(args: argparse.Namespace) -> int:
    """Run the subcommand and return its exit code. Raise InputError or Stopped."""
    if args.pairs is not None and args.pairs < 1:
        raise InputError("--pairs must be 1 or more")
    console = Console()

    def warn(text: str) -> None:
        console.line(f"warning: {text}")

    presets = _rows(args, warn)
    weights = Path(args.weights) if args.weights else None
    if weights:
        read_weights(weights, SEMANTIC, PDD)  # report a wrong file before the scans are read
    with output_files({"json": (args.json, REPORTS)}) as outputs:
        cases = read_cases(Path(args.cases))
        chosen = pairs(cases, args.pairs)
        measured, rows, left_out, structures = compare(chosen, presets, console, warn, weights, args.structure)
        missing = len(chosen) - len(measured)
        note = f"; {missing} left out, see the warnings" if missing else ""
        console.line(f"{len(measured)} pairs of {len(cases)} scans{note}; mean ± standard deviation over the pairs")
        console.line()
        console.line(table(rows, left_out))
        for name, of_structure in structures.items():
            console.line(f"\n{name}\n\n{structure_table(of_structure)}")
        if args.json:
            numbers = {"pairs": measured, "rows": rows, "left_out": left_out, "structures": structures}
            outputs.write_text("json", to_json(numbers))
        outputs.commit()
    return OK
