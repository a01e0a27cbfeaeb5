"""A small report of a run that failed, to be sent to whoever can help: no voxels, and no names of patients."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError
from pddnet.field import DisplacementField
from pddnet.grid import Grid
from pddnet.image import Image
from pddnet.report import grid_section, plain, versions

from .worker_process import Failure

_SETTINGS = ("do", "preset", "device", "align", "jacobian")


def runReport(
    request: dict[str, Any],
    failure: Failure,
    log: Iterable[str] = (),
    hello: dict[str, Any] | None = None,
    hide: Iterable[str] = (),
) -> dict[str, Any]:
    """What is known about a failed run, as strict JSON.

    Args:
        request: as it was submitted. Only its settings and the geometry of its images (LPS mm) are told.
        log, hello: `Worker.log` and `Worker.hello`.
        hide: what must not appear, such as names of nodes, segments and files. The folders of the user and of
            temporary files are hidden anyway.
    """
    folders = {os.path.realpath(tempfile.gettempdir()): "<temporary>", tempfile.gettempdir(): "<temporary>"}
    hidden = {name: "<name>" for name in hide if name} | folders | {os.path.expanduser("~"): "<home>"}
    return {
        "report": "a registration that failed",
        "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "failure": {
            "kind": failure.kind,
            "message": _without(hidden, failure.message),
            "details": _without(hidden, failure.details).splitlines(),
        },
        "settings": {name: plain(request[name]) for name in _SETTINGS if name in request},
        "inputs": {name: _described(value) for name, value in request.items() if name not in _SETTINGS},
        "versions": {"application": _applicationVersion(), **versions()},
        "process": {key: value for key, value in (hello or {}).items() if key in ("protocol", "version", "python")},
        "log": [_without(hidden, line) for line in log],
    }


def saveRunReport(path: str | Path, report: dict[str, Any]) -> None:
    """Write a report, whole or not at all.

    Raises:
        InputError: it cannot be written there.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        text = _("{path}: the report cannot be written ({reason}); choose another folder")
        raise InputError(text.format(path=path, reason=error.strerror)) from error


def _described(value: Any) -> Any:
    """Type and geometry; of a dictionary the values only, because its keys are names that the user gave."""
    if isinstance(value, dict):
        return [_described(part) for part in value.values()]
    if isinstance(value, Image | DisplacementField):
        return {"type": type(value).__name__, "voxels": str(value.array.dtype), "grid": grid_section(value.grid)}
    if isinstance(value, Grid):
        return {"type": "Grid", "grid": grid_section(value)}
    if isinstance(value, np.ndarray):
        return {"type": "array", "shape": list(value.shape)}
    return type(value).__name__


def _without(hidden: dict[str, str], text: str) -> str:
    """The text with what must not appear replaced; the longest first, since one may be a part of another."""
    for name in sorted(hidden, key=len, reverse=True):
        text = text.replace(name, hidden[name])
    return text


def _applicationVersion() -> str:
    return str(getattr(getattr(slicer, "app", None), "applicationVersion", "unknown"))
