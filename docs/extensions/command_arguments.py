"""The directive `{command-arguments}`: the options of a `pddnet` subcommand, read from its argparse parser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from pddnet.cli.main import build_parser


class CommandArguments(Directive):
    """Usage, description and a table of options; the one argument is the subcommand's name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes that stand in the page."""
        parser = _subcommands()[self.arguments[0]]
        parser.formatter_class = partial(argparse.HelpFormatter, width=80)  # not this terminal's
        usage = parser.format_usage().removeprefix("usage: ").replace("[-h] ", "")
        synopsis = nodes.literal_block(usage, usage, language="none")
        found: list[nodes.Node] = [nodes.paragraph("", parser.description), synopsis]
        for group in parser._action_groups:
            actions = [action for action in group._group_actions if action.dest != "help"]
            if actions:
                found += [nodes.rubric("", _title(group)), _table(actions)]
        return found


def _subcommands() -> dict[str, argparse.ArgumentParser]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise LookupError("the command has no subcommands")


def _title(group: argparse._ArgumentGroup) -> str:
    title = group.title or ""
    return {"positional arguments": "Argument"}.get(title, title[:1].upper() + title[1:])


def _table(actions: Sequence[argparse.Action]) -> nodes.table:
    body = nodes.tbody()
    for action in actions:
        body += _row(
            nodes.paragraph("", "", nodes.literal("", _spelled(action))), nodes.paragraph("", _meaning(action))
        )
    head = nodes.thead("", _row(nodes.paragraph("", "option"), nodes.paragraph("", "meaning")))
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (35, 65)), head, body, cols=2)
    return nodes.table("", group, classes=["options"])


def _row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def _spelled(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    return " ".join([", ".join(action.option_strings), str(value) if action.nargs != 0 else ""]).strip()


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "") % {"default": action.default, "prog": "pddnet"}
    return f"required; {text}" if action.required and action.option_strings else text


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.add_directive("command-arguments", CommandArguments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
