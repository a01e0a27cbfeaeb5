"""Folder of a registered sequence: the files of every frame, whole or not there, and the record of how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.atomic_outputs import IMAGES, REPORTS, TABLES, TRANSFORMS
from ..io.paths import is_utf8
from ..io.text_files import read_json

MADE_FROM = "made_from"
"""Key of a frame's record: checksums of its inputs and the settings. A frame is kept where they are the same."""

Targets = dict[str, tuple[Path | None, tuple[str, ...]]]
"""Outputs as `OutputFiles` takes them."""


@dataclass(frozen=True)
class SequenceFolder:
    """Names of the files of a sequence of `count` frames.

    The record of a frame appears last: with it the frame is whole.
    """

    path: Path
    count: int
    warped: bool = False  # whether every frame's scan is written on the grid of the reference, too

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            InputError: it cannot be made, or ITK cannot write in it.
        """
        if not is_utf8(self.path):
            raise InputError(
                f"{self.path}: the folder's name is not in UTF-8, and ITK cannot write there; choose another"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: the folder cannot be made ({error.strerror}); choose another one") from None

    def transform(self, frame: int) -> Path:
        """Return the file of a frame's transform, reference to frame points, LPS mm."""
        return self._named(frame, ".h5")

    def record(self, frame: int) -> Path:
        """Return the file of a frame's record."""
        return self._named(frame, ".json")

    def volume(self, frame: int) -> Path:
        """Return the file of a frame's scan on the grid of the reference."""
        return self._named(frame, "_warped.nii.gz")

    def _named(self, frame: int, ending: str) -> Path:
        digits = max(3, len(str(self.count - 1)))  # so that the names sort
        return self.path / f"frame_{frame:0{digits}d}{ending}"

    def targets(self, frame: int) -> Targets:
        """List the outputs of one frame."""
        return {
            "transform": (self.transform(frame), TRANSFORMS),
            "volume": (self.volume(frame) if self.warped else None, IMAGES),
            "report": (self.record(frame), REPORTS),
        }

    def summaries(self) -> Targets:
        """List the outputs of the whole sequence."""
        return {"motion": (self.path / "motion.csv", TABLES), "report": (self.path / "report.json", REPORTS)}

    def whole(self, frame: int, made_from: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read the record of a frame that an earlier run left whole; None where there is none.

        Raises:
            InputError: it was made from other inputs, or with other settings.
        """
        if not self.record(frame).exists():
            return None
        found: dict[str, Any] = read_json(self.record(frame))
        known = found.get(MADE_FROM) if isinstance(found, dict) else None
        if known != made_from:
            raise InputError(
                f"{self.record(frame)}: {_difference(known, made_from)}; choose another folder or empty this"
            )
        files = [path for path, _ in self.targets(frame).values() if path is not None]
        return found if all(path.exists() for path in files) else None


def _difference(known: object, made_from: Mapping[str, Any]) -> str:
    if not isinstance(known, dict):
        return "this is no frame of a sequence that pddnet wrote"
    names = [name.replace("_", " ") for name, value in made_from.items() if known.get(name) != value]
    return f"the frame was made with another {' and another '.join(names) or 'set of inputs'}"
