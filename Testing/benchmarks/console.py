"""Print plain, aligned lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def title(text: str) -> None:
    """Print a heading with a blank line before it."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def line(name: str, *values: str) -> None:
    """Print a name and its values in columns."""
    print(f"{name:<34}" + "".join(f"{value:<16}" for value in values[:-1]) + "".join(values[-1:]), flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their widest entry, the first aligned to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
        print("  ".join([f"{row[0]:<{widths[0]}}", *cells[1:]]), flush=True)


def goal(value: float, limit: float, *, at_least: bool = False) -> str:
    """Say whether a value reaches its goal."""
    reached = value >= limit if at_least else value <= limit
    return f"(goal {'>=' if at_least else '<='} {limit:g}: {'reached' if reached else 'MISSED'})"


def progress(text: str) -> None:
    """Say on standard error what is being done, so that standard output holds the results alone."""
    print(f"... {text}", file=sys.stderr, flush=True)
