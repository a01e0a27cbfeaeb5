"""Docstrings here are plain text with Google sections and `code`; this makes reStructuredText of them for autodoc.

What would be markup by accident (`|f|^2`, `*`, `name_`) is escaped, and a field of a dataclass is described by the
comment on its line.
"""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from typing import Any

CODE = re.compile(r"`([^`]+)`")
ACCIDENTAL = re.compile(r"[|*\\]|(?<=\w)_(?!\w)")
BEFORE_NAPOLEON = 400


def escape(line: str) -> str:
    """A line of a docstring as reStructuredText."""
    parts = CODE.split(line)  # text, code, text, ...
    return "".join(f"``{part}``" if n % 2 else ACCIDENTAL.sub(r"\\\g<0>", part) for n, part in enumerate(parts))


@cache
def comments(owner: type) -> dict[str, str]:
    """The comment on the line of every annotated field of a class, by the field's name."""
    lines = inspect.getsource(owner).splitlines()
    source = inspect.cleandoc("\n".join(lines))
    body = ast.parse(source).body[0].body
    lines = source.splitlines()
    fields = (node for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name))
    ends = {field.target.id: lines[field.end_lineno - 1][field.end_col_offset :] for field in fields}
    return {name: text.partition("#")[2].strip() for name, text in ends.items() if "#" in text}


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Autodoc calls this with every docstring."""
    if what == "attribute" and not any(lines):
        owner, _, field = name.rpartition(".")
        lines[:] = [comments(found).get(field, "") for found in [_class(owner)] if found]
    lines[:] = [escape(line) for line in lines]


def _class(name: str) -> type | None:
    module, _, name = name.rpartition(".")
    found = getattr(__import__(module, fromlist=[name]), name, None) if module else None
    return found if inspect.isclass(found) else None


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", process, priority=BEFORE_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
