"""A program that stands in for the process that registers the scans of a template: it knows where everything lies.

Beside a scan lies a text file with JSON, `told_of`: the affine map from one anatomy to the scan, `matrix` (3 x 3) and
`shift`, LPS mm, and what `fake_registrar` understands, such as fail, once and verdict. What a round is registered to
lies where the mean of all maps says, which the file `told.json` beside the scans holds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from helpers import fake_registrar
from helpers.paths import LIBRARY, TESTING
from pddnet.io.file_identity import identity
from pddnet.template.rounds import TARGET

_MEAN_OF_MAPS = "told.json"


def told_of(scan: Path) -> Path:
    """Return the path of what is told of a scan."""
    return scan.with_name(f"{scan.name}.json")


def tell(scan: Path, matrix: np.ndarray, shift: np.ndarray, **more: Any) -> None:
    """Write what is told of a scan."""
    told_of(scan).write_text(json.dumps({"matrix": np.asarray(matrix).tolist(), "shift": list(shift), **more}), "utf-8")


def tell_mean(folder: Path, matrix: np.ndarray, shift: np.ndarray) -> None:
    """Write where the mean of the scans in a folder lies."""
    told = {"matrix": np.asarray(matrix).tolist(), "shift": list(shift)}
    (folder / _MEAN_OF_MAPS).write_text(json.dumps(told), "utf-8")


def register(arguments: list[str]) -> dict[str, Any]:
    """Do as is told of the moving scan, and write all outputs."""
    given = dict(argument[2:].partition("=")[::2] for argument in arguments)
    fixed, moving = Path(given["fixed"]), Path(given["moving"])
    told = json.loads(told_of(moving).read_text("utf-8"))
    base = moving.parent / _MEAN_OF_MAPS if fixed.name == TARGET else told_of(fixed)
    fake_registrar.act(told)
    report = fake_registrar.make_report(told)
    sitk.WriteTransform(_between(json.loads(base.read_text("utf-8")), told), given["output-transform"])
    made = fake_registrar.made_by_the_command(arguments)
    fake_registrar.write(Path(given["output-preview"]), "preview")
    files = {"fixed": identity(fixed), "moving": identity(moving)}
    fake_registrar.write(
        Path(given["sidecar"]), json.dumps({**made, **fake_registrar.verdict_of(report), "files": files})
    )
    fake_registrar.write(Path(given["report"]), json.dumps(report))
    return report


def _between(fixed: dict[str, Any], moving: dict[str, Any]) -> sitk.AffineTransform:
    """Return the map from fixed to moving points."""
    matrix = np.array(moving["matrix"]) @ np.linalg.inv(fixed["matrix"])
    shift = np.array(moving["shift"]) - matrix @ fixed["shift"]
    return sitk.AffineTransform(matrix.ravel().tolist(), shift.tolist())


def main() -> None:
    """Serve until standard input closes."""
    fake_registrar.register = register
    fake_registrar.main()


_CODE = f"import sys; sys.path[:0] = {[str(TESTING), str(LIBRARY)]}; from helpers.fake_placer import main; main()"
RUNNER = [sys.executable, "-c", _CODE]
"""The program and its arguments."""
