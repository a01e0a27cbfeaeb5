"""Register one atlas to a target, and bring what fusion needs onto the target's grid (`Target`, `warped_atlas`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..core.hounsfield import BODY_THRESHOLD_HU, SOFT_TISSUE_HU
from ..core.image import Image
from ..core.intensity import AUTO
from ..core.masks import body_mask
from ..core.memo import Memo
from ..core.presets import Preset
from ..core.result import Progress, Verdict
from ..errors import InputError
from ..fusion.fuse import Warped
from ..fusion.similarity import local_mean
from ..io.atlas_folder import AtlasFiles
from ..io.common_labels import CommonLabels
from ..io.spill import spilled
from ..io.volumes import read_volume
from ..matching.progress import Clock
from .registration import RunInputs, register

if TYPE_CHECKING:
    from ..features.mind_difference import MindDifference

WINDOW_MM = 6.0  # standard deviation of the window within which features are compared


@dataclass(frozen=True)
class RegistrationSettings:
    """With which settings atlases are registered."""

    preset: Preset
    intensity: str = AUTO  # see `core.intensity.to_hu`
    device: str = "auto"
    weights: Path | None = None  # of the user's own training


@dataclass(frozen=True, eq=False)
class WarpedAtlas:
    """An atlas on the target's grid, and how far it can be trusted.

    Attributes:
        difference: of its features to the target's, mean over the target's body, 0..1.
        labels: the numbers that it has, wherever they lie.
        warped: None where the verdict is "failed".
    """

    verdict: Verdict
    difference: float
    labels: frozenset[int]
    warped: Warped | None
    warnings: tuple[str, ...]


class Target:
    """The scan to segment, and what belongs to it alone: its values in HU, features and body, computed once."""

    def __init__(self, scan: Image, name: str, settings: RegistrationSettings) -> None:
        """scan: any geometry. name: how the user knows it."""
        self.scan, self.name, self.settings, self.kept = scan, name, settings, Memo()
        self._hu = scan  # in HU as soon as an atlas was warped
        self._measure: MindDifference | None = None
        self._body = np.zeros(0, bool)

    def warp(self, atlas: AtlasFiles, common: CommonLabels, progress: Progress) -> WarpedAtlas:
        """Read an atlas, register it, and warp its labels and its scan.

        Raises:
            InputError: a file of the atlas cannot be used. Cancelled, MemoryError: as for `registration.register`.
        """
        progress(0.0, "reading")
        scan, warnings = read_volume(atlas.scan)
        labels, more = common.read(atlas.labels, scan.grid)
        if not labels.array.any():
            raise InputError(f"{atlas.labels}: the label map has no label inside the scan; correct or remove the atlas")
        inputs = RunInputs(self.scan, scan, warnings=warnings + more)
        settings = self.settings
        inputs.bring_to_hu(settings.preset, settings.intensity, (self.name, str(atlas.scan)), self.kept)
        run = register(
            inputs,
            settings.preset,
            clock=Clock(),
            progress=progress,
            device=settings.device,
            weights=settings.weights,
            kept=self.kept,
        )
        found = run.registration
        self._hu, moving, transform = inputs.fixed_hu or self.scan, inputs.moving_hu or scan, found.to_sitk()
        difference = self._difference(moving, transform)
        numbers = frozenset(np.unique(labels.array).tolist()) - {0}
        failed = found.verdict.status == "failed"
        warped = None if failed else self._warped(moving, labels, difference, transform)
        mean = float(difference.array[self._body].mean())
        return WarpedAtlas(found.verdict, mean, numbers, warped, (*inputs.warnings, *found.warnings))

    def values(self) -> np.ndarray:
        """Return the target's values as fusion compares them, once an atlas was warped: (D, H, W) float32, HU."""
        return self._hu.clip(*SOFT_TISSUE_HU).array

    def _difference(self, moving: Image, transform: sitk.Transform) -> Image:
        from ..features.mind_difference import MindDifference

        if self._measure is None:
            self._measure = MindDifference(self._hu)
            coarse = self._hu.coarsen(float(self._measure.grid.spacing[0]))
            body = body_mask(coarse, BODY_THRESHOLD_HU).resample(self._measure.grid).array
            self._body = body if body.any() else np.ones_like(body)
        found = self._measure(moving, transform)
        sigma = WINDOW_MM / float(found.grid.spacing[0])
        return Image(local_mean(found.array, (sigma, sigma, sigma)), found.grid)

    def _warped(self, moving: Image, labels: Image, difference: Image, transform: sitk.Transform) -> Warped:
        """Warp onto the target's grid; half precision stores, nothing is summed up in it."""
        grid = self.scan.grid
        named = labels.resample(grid, transform, labels=True).array.astype(np.uint16)
        values = moving.clip(*SOFT_TISSUE_HU).resample(grid, transform, fill=np.nan).array
        locally = difference.resample(grid, fill=1.0).array
        return Warped(spilled(named), spilled(values.astype(np.float16)), spilled(locally.astype(np.float16)))
