"""`pddnet compare`: register a folder of labelled scans with several configurations, and print a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from .cli import OK
from .comparing import compare, find_configurations, pairs, read_cases, table
from .console import Console
from .errors import InputError
from .outputs import REPORTS, OutputFiles
from .report import to_json
from .weights import PDD, SEMANTIC, read_weights


def run(args: argparse.Namespace) -> int:
    """The subcommand; returns the exit code. Raises InputError, KeyboardInterrupt or Terminated."""
    if args.pairs is not None and args.pairs < 1:
        raise InputError("--pairs must be 1 or more")
    presets = find_configurations(args.preset, args.configuration)
    weights = Path(args.weights) if args.weights else None
    if weights:
        read_weights(weights, SEMANTIC, PDD)  # a wrong file is told before the scans are read
    console = Console()
    with OutputFiles({"json": (args.json, REPORTS)}) as outputs:
        cases = read_cases(Path(args.cases))
        couples = pairs(cases, args.pairs)
        measured, rows = compare(couples, presets, console, lambda text: console.line(f"warning: {text}"), weights)
        left = len(couples) - len(measured)
        out = f"; {left} left out, see the warnings" if left else ""
        console.line(f"{len(measured)} pairs of {len(cases)} scans{out}; mean ± standard deviation over the pairs")
        console.line()
        console.line(table(rows))
        if args.json:
            outputs.write_text("json", to_json({"pairs": measured, "rows": rows}))
        outputs.commit()
    return OK
