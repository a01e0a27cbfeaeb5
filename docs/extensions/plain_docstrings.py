"""Docstrings here are plain text with Google sections and `code`; this makes reStructuredText of them for autodoc.

What would be markup by accident (`|f|^2`, `*`, `name_`) is escaped. The fields of a dataclass become its section
"Attributes", each with the comment on its line.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

CODE = re.compile(r"`([^`]+)`")
ACCIDENTAL = re.compile(r"[|*\\]|(?<=\w)_(?!\w)")
BEFORE_NAPOLEON = 400


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Autodoc calls this with every docstring, to be changed in place."""
    lines[:] = [escape(line) for line in lines]
    if what == "class" and dataclasses.is_dataclass(obj) and "Attributes:" not in lines:
        lines += ["", "Attributes:", *(f"    {escape(text)}" for text in attributes(obj))]


def escape(line: str) -> str:
    """A line of a docstring as reStructuredText."""
    parts = CODE.split(line)  # text, code, text, ...
    return "".join(f"``{part}``" if n % 2 else ACCIDENTAL.sub(r"\\\g<0>", part) for n, part in enumerate(parts))


def attributes(owner: type) -> Iterator[str]:
    """`name (type): comment` for every public field that the class itself declares."""
    source = textwrap.dedent(inspect.getsource(owner))
    lines = source.splitlines()
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign) and not node.target.id.startswith("_"):
            comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")[2].strip()
            yield f"{node.target.id} ({ast.unparse(node.annotation)}): {comment}"


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", process, priority=BEFORE_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
