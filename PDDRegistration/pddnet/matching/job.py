"""Define the job of one call of `register`: its inputs; prepare them, and turn them with their scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import SimpleITK as sitk
import torch

from ..core.affine import Affine
from ..core.image import Image
from ..core.intensity import is_ct
from ..core.linear import DEFORMABLE
from ..core.memo import Memo
from ..core.presets import Preset
from ..core.turn import turned_image
from ..tensor.execution import Work
from ..tensor.scan import Scan, prepare
from .feature_types import FeatureScans, FeatureSettings, ScanPair, append_features, carried_features
from .predicted import FieldNetwork
from .progress import expected_shares


@dataclass(frozen=True)
class Job:
    """Inputs of one call of `register`."""

    fixed: Image
    moving: Image
    preset: Preset
    transform_type: str
    fixed_mask: Image | None
    moving_mask: Image | None
    initial_transform: sitk.Transform | None
    align: bool
    diffeomorphic: bool
    features: FeatureSettings
    turns: tuple[Affine, Affine] | None = None  # by which the fixed and the moving scan were turned, LPS mm
    network: FieldNetwork | None = None  # predicts the displacements, in place of the preset's stages
    kept: Memo = field(default_factory=Memo)  # what earlier runs computed of the same fixed scan

    def featured(
        self, device: torch.device, work: Work, begin_stage: Callable[[str], None]
    ) -> tuple[ScanPair, FeatureScans]:
        """Prepare both scans, and compute the features that they carry."""
        prepared = self._prepare(device, work)
        return prepared, append_features(prepared, self.features, work, begin_stage, self.kept)

    def _prepare(self, device: torch.device, work: Work) -> ScanPair:
        def prepared(image: Image, mask: Image | None) -> Scan:
            preset = self.preset
            in_hu = preset.hu or is_ct(image)
            return prepare(image, preset.working_spacing_mm, device, hu=in_hu, mask=mask, tick=work.tick)

        settings = self.preset.working_spacing_mm, self.preset.hu, device
        fixed = self.kept(
            "fixed scan", (self.fixed, self.fixed_mask), settings, lambda: prepared(self.fixed, self.fixed_mask)
        )
        return fixed, prepared(self.moving, self.moving_mask)

    def without_structures(self) -> Job:
        """Leave out the network that names structures."""
        preset = dataclasses.replace(self.preset, semantic=0.0)
        return dataclasses.replace(self, preset=preset, features=dataclasses.replace(self.features, preset=preset))

    def turned(self, fixed: Affine, moving: Affine) -> Job:
        """Turn all inputs with the scans that they belong to."""

        def moved(image: Image | None, turn: Affine) -> Image | None:
            return None if image is None else turned_image(image, turn)

        labels = self.features.fixed_labels, self.features.moving_labels
        return dataclasses.replace(
            self,
            fixed=turned_image(self.fixed, fixed),
            moving=turned_image(self.moving, moving),
            fixed_mask=moved(self.fixed_mask, fixed),
            moving_mask=moved(self.moving_mask, moving),
            features=dataclasses.replace(
                self.features, fixed_labels=moved(labels[0], fixed), moving_labels=moved(labels[1], moving)
            ),
            turns=(fixed, moving),
        )

    def expected_shares(self) -> dict[str, float]:
        """List the stages, in order, with the expected share of the time of each."""
        features = {each.stage: each.share for each in carried_features(self.features) if each.stage}
        preset, linear = self.preset, self.transform_type != DEFORMABLE
        detail = preset.one_patient.stages if preset.one_patient else ()
        return expected_shares(
            features,
            max(len(preset.stages), len(detail)),
            refined=preset.refinement is not None or linear,
            detailed=preset.one_patient is not None,
            predicted=self.network is not None,
        )
