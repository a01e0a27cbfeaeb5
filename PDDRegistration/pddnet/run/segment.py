"""Segment a scan by atlases: register each, drop those that failed, weigh and fuse the others (`segment`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.grid import Grid
from ..core.image import Image
from ..core.result import Progress
from ..errors import InputError
from ..fusion.fuse import Fused, fuse
from ..io.atlas_folder import AtlasFiles
from ..io.common_labels import CommonLabels
from ..matching.progress import Clock
from .warped_atlas import Target, WarpedAtlas

FAILED = "failed"
_TRUST = {"ok": 0, "doubtful": 1}  # atlases of a better verdict come first
PATCH_MM = 3.0  # standard deviation of the patches that joint fusion compares
_REGISTERING = 0.95  # share of the time


@dataclass(frozen=True, eq=False)
class AtlasUse:
    """What became of an atlas. reason: why it was not used; empty: it was. seconds: of reading, matching, warping."""

    files: AtlasFiles
    found: WarpedAtlas | None
    seconds: float
    reason: str = ""

    @property
    def used(self) -> bool:
        """Tell whether it had a vote."""
        return not self.reason

    def as_json(self) -> dict[str, Any]:
        """Return it as the report holds it."""
        verdict = self.found.verdict if self.found else None
        return {
            "name": self.files.name,
            "scan": str(self.files.scan),
            "labels": str(self.files.labels),
            "used": self.used,
            "reason": self.reason or None,
            "verdict": {"status": verdict.status, "risk": verdict.risk, "reasons": verdict.reasons}
            if verdict
            else None,
            "difference": self.found.difference if self.found else None,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The labels of a scan, on its grid, and the atlases by name."""

    target: Image
    fused: Fused
    atlases: tuple[AtlasUse, ...]

    @property
    def labels(self) -> Image:
        """Return the fused label map."""
        return Image(self.fused.labels, self.target.grid)

    @property
    def numbers(self) -> list[int]:
        """List the labels of the atlases that were used, also those that the result lacks."""
        return sorted({number for atlas in self.atlases if atlas.used and atlas.found for number in atlas.found.labels})


def segment(
    target: Target, atlases: Sequence[AtlasFiles], common: CommonLabels, method: str, progress: Progress,
    *, most: int | None = None, told: Callable[[AtlasUse], None] = lambda use: None,
) -> Segmentation:  # fmt: skip
    """Register atlases to a scan and fuse their labels.

    Args:
        method: one of `fusion.fuse.METHODS`.
        most: how many atlases to fuse: the best by verdict, then by the difference of their features; None: all.
        told: called with every atlas when it was registered.

    Raises:
        InputError: no atlas can be used. Cancelled, MemoryError: as for `registration.register`.
    """
    uses = []
    for done, files in enumerate(atlases):
        uses.append(_register(target, files, common, _part(progress, done, len(atlases), files.name)))
        told(uses[-1])
    ranked = sorted((use for use in uses if use.used), key=_rank)
    if not ranked:
        reasons = "; ".join(f"{use.files.name}: {use.reason}" for use in uses)
        raise InputError(f"{target.name}: none of {len(uses)} atlases can be used ({reasons})")
    chosen = ranked[:most]
    uses = [_left_out(use, len(chosen)) if use in ranked and use not in chosen else use for use in uses]
    progress(_REGISTERING, "fuse")
    warped = [use.found.warped for use in chosen if use.found and use.found.warped]
    return Segmentation(target.scan, fuse(target.values(), warped, method, sigma_of(target.scan.grid)), tuple(uses))


def sigma_of(grid: Grid) -> tuple[float, float, float]:
    """Return the standard deviation of the patches that joint fusion compares, in voxels along D, H, W."""
    x, y, z = (PATCH_MM / grid.spacing).tolist()
    return z, y, x


def _register(target: Target, files: AtlasFiles, common: CommonLabels, progress: Progress) -> AtlasUse:
    clock = Clock()
    try:
        found = target.warp(files, common, progress)
    except InputError as error:  # the others may do
        return AtlasUse(files, None, clock.seconds["total"], str(error))
    verdict = found.verdict
    reason = f"its registration failed ({'; '.join(verdict.reasons)})" if verdict.status == FAILED else ""
    return AtlasUse(files, found, clock.seconds["total"], reason)


def _rank(use: AtlasUse) -> tuple[int, float]:
    """Order by verdict, then by how much the warped scan looks like the target."""
    assert use.found is not None
    return _TRUST[use.found.verdict.status], use.found.difference


def _left_out(use: AtlasUse, count: int) -> AtlasUse:
    return AtlasUse(use.files, use.found, use.seconds, f"not among the best {count}")


def _part(progress: Progress, done: int, count: int, name: str) -> Progress:
    """Report the progress of one atlas as part of the whole."""
    return lambda fraction, stage: progress(_REGISTERING * (done + fraction) / count, f"{name}: {stage}")
