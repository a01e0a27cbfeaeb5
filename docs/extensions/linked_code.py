"""Inline code that names something of the library, such as `pddnet.core.grid`, becomes a link to its reference.

So the pages are plain Markdown that reads well on a forge, too.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes

NAME = re.compile(r"pddnet(\.\w+)+")


def link(app: Any, doctree: nodes.document) -> None:
    """Sphinx calls this with every page that it has read."""
    for code in list(doctree.findall(nodes.literal)):
        name = code.astext()
        if NAME.fullmatch(name) and not isinstance(code.parent, (nodes.reference, addnodes.pending_xref)):
            reference = addnodes.pending_xref("", refdomain="py", reftype="obj", reftarget=name, refwarn=False)
            code.replace_self(reference)
            reference += code


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("doctree-read", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
