"""Check that the started process runs the pddnet that belongs to this application (`mismatch`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

import pddnet
from pddnet.worker.server import PROTOCOL


def mismatch(hello: dict[str, Any], parent: Path) -> str:
    """Return the fault of the process that sent this greeting; an empty text if it is the right process.

    parent: the folder that must hold the process's pddnet.
    """
    folder = Path(str(hello.get("file", ""))).parent.parent
    if os.path.normcase(os.path.realpath(folder)) != os.path.normcase(os.path.realpath(parent)):
        text = _(
            "The registration process found pddnet in {place} instead of {expected}; remove that copy "
            "(pip uninstall pddnet) or install the extension again."
        )
        return text.format(place=folder, expected=parent)
    if hello.get("protocol") == PROTOCOL and hello.get("version") == pddnet.__version__:
        return ""
    text = _(
        "The registration process has pddnet {other} (protocol {otherProtocol}), this application loaded "
        "pddnet {own} (protocol {ownProtocol}); restart the application."
    )
    return text.format(
        other=hello.get("version"),
        otherProtocol=hello.get("protocol"),
        own=pddnet.__version__,
        ownProtocol=PROTOCOL,
    )
