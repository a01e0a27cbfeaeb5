"""`pddnet compare`: register a folder of labelled scans with several configurations, and print a table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .cli import OK
from .comparing import compare, find_configurations, pairs, read_cases, table
from .console import Console
from .outputs import REPORTS, OutputFiles


def run(args: argparse.Namespace) -> int:
    """The subcommand; returns the exit code. Raises InputError, KeyboardInterrupt or Terminated."""
    presets = find_configurations(args.preset, args.configuration)
    console = Console()
    with OutputFiles({"json": (args.json, REPORTS)}) as outputs:
        cases = read_cases(Path(args.cases))
        couples = pairs(cases, args.pairs)
        rows = compare(couples, presets, console)
        console.clear()
        console.line(f"{len(couples)} pairs of {len(cases)} scans; mean ± standard deviation over the pairs")
        console.line()
        console.line(table(rows))
        if args.json:
            named = [f"{fixed.name} / {moving.name}" for fixed, moving in couples]
            outputs.write_text("json", json.dumps({"pairs": named, "rows": rows}, indent=1) + "\n")
        outputs.commit()
    return OK
