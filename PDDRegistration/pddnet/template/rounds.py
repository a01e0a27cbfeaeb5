"""One round: the mean of scans that were registered to the mean before, and with what it was made (`make_round`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..evaluation.report import to_json
from ..io.atomic_outputs import IMAGES, REPORTS, OutputFiles
from ..io.file_identity import Stamp, sha256, stamp
from ..io.text_files import read_json
from .average import Placed, Settings, Told, average, read_hu
from .moments import sharpened

MEAN, RECORD = "mean.nii.gz", "round.json"
TARGET = "target.nii.gz"  # the mean, sharpened: what the scans are registered to in the next round
Made = dict[str, Any]
"""With what something was made: version, settings, and the SHA-256 of scans and transforms."""


@dataclass(frozen=True)
class Round:
    """What a round found; its mean and the target of the next round lie beside its record.

    Attributes:
        used, dropped: ids of the scans that were averaged, and of those whose registration failed.
        residual_mm: how far the mean moved, mean over the body: 0 where the rounds have converged.
        sharpness_hu_per_mm, spread_hu: see `average.Average`.
        least_determinant: of the map from the mean before to this one.
    """

    number: int
    made: Made
    used: list[str]
    dropped: list[str]
    residual_mm: float
    sharpness_hu_per_mm: float
    spread_hu: float
    least_determinant: float


def round_folder(out: Path, number: int) -> Path:
    """Return the folder of a round: its registrations, its mean and its record."""
    return out / "rounds" / str(number)


def made_from(placed: Sequence[Placed], made: Made) -> Made:
    """Add what a mean is made from. Raises InputError where a file cannot be read."""
    try:
        return {**made, "scans": {each.member.id: _digests(each) for each in placed}}
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; correct the file's permissions") from None


def _digests(placed: Placed) -> list[str]:
    return [digest(path) for path in (placed.member.scan, placed.transform) if path is not None]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; one that has not changed is read once. Raise OSError where it cannot be read."""
    return _digest(path, stamp(path))


@cache
def _digest(path: Path, _: Stamp) -> str:
    return sha256(path)


def make_round(
    number: int, folder: Path, fixed: Path, placed: Sequence[Placed], dropped: Sequence[str], settings: Settings,
    made: Made, told: Told,
) -> Round:  # fmt: skip
    """Average the scans of a round into its folder, unless that was done.

    Args:
        fixed: the scan to which the others were registered.
        placed: the scans to average. dropped: ids of those that are not.
        made: see `made_from`.

    Raises:
        InputError: fewer than two scans are left, a file cannot be read, or the mean cannot be written.
    """
    found = whole(folder, made, dropped)
    if found is not None:
        return found
    mean = average(read_hu(fixed, settings), placed, settings, told)
    found = Round(
        number,
        made,
        [each.member.id for each in placed],
        list(dropped),
        mean.shape.residual_mm,
        mean.sharpness_hu_per_mm,
        mean.spread_hu,
        mean.shape.least_determinant,
    )
    images = {"mean": (folder / MEAN, IMAGES), "target": (folder / TARGET, IMAGES)}
    with OutputFiles({**images, "record": (folder / RECORD, REPORTS)}) as outputs:
        outputs.write_image("mean", mean.image)
        outputs.write_image("target", sharpened(mean.image))
        outputs.write_text("record", to_json(asdict(found)))
        (folder / RECORD).unlink(missing_ok=True)  # until all files are renamed, none is vouched for
        outputs.commit()
    return found


def whole(folder: Path, made: Made, dropped: Sequence[str]) -> Round | None:
    """Return the round of a folder if it is whole, was made from the same and left out the same scans, or None."""
    try:
        record = read_json(folder / RECORD)
        found = Round(**record)
    except (InputError, TypeError):  # missing, or not ours
        return None
    there = all((folder / name).is_file() for name in (MEAN, TARGET))
    return found if there and found.made == made and found.dropped == list(dropped) else None
