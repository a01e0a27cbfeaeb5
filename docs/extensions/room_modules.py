"""The directive `{room}`: every public module of one room of `pddnet`, by autodoc, so that no list has to be kept."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class Room(SphinxDirective):
    """The one argument is a package such as pddnet.core; its modules become sections, in alphabetical order."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes that stand in the page."""
        text = "\n".join(_section(name) for name in _modules(self.arguments[0]))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _modules(package: str) -> list[str]:
    found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
    return [module.name for module in found if not module.name.rpartition(".")[2].startswith("_")]


def _section(name: str) -> str:
    return f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n"


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_directive("room", Room)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
