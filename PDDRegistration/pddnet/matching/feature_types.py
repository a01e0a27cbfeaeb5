"""Register the feature types: every kind of features that is compared has one entry in one of three tables.

A new feature type is one module that computes it and one entry here; the pipeline, the stages and the refinement only
loop over the tables.

- COARSE features are computed on voxels of several millimetres, for the alignment and the similarity.
- CARRIED features are computed once per scan before the alignment, appended to `Scan.features` and warped with it.
- DENSE features are computed from the warped scans in every stage, because they depend on a voxel's neighbourhood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from torch import Tensor

from ..core.image import Image
from ..core.memo import Memo
from ..core.presets import INVERSE_TEMPERATURE, Preset
from ..features import semantic_net
from ..features.coarse import mind_and_body, weighted_tissue
from ..features.guide import label_embedding, with_label_codes
from ..features.mind import MIND_REACH, mind
from ..features.semantic_codes import SIGNED_CHANNELS, with_semantic_codes
from ..tensor.execution import Work
from ..tensor.scan import Scan
from . import pdd_net
from .structure_shift import shift_of_structures

NOISE_HU = 20.0  # standard deviation of noise: MIND ignores smaller differences

ScanPair = tuple[Scan, Scan]  # fixed, moving
# Called with both scans, the index of the features' first channel and the settings; returns a shift (3,) from fixed to
# moving points in LPS mm, or None.
FindShift = Callable[[ScanPair, int, "FeatureSettings"], np.ndarray | None]


@dataclass(frozen=True)
class FeatureSettings:
    """Settings of a run that the feature types read."""

    preset: Preset
    fixed_labels: Image | None = None  # guiding labels
    moving_labels: Image | None = None
    semantic_weights: Path | None = None  # None: the bundled ones
    pdd_weights: Path | None = None  # None: the features of pdd-net are not used

    @property
    def guided(self) -> bool:
        """Return whether label maps guide the matching."""
        return self.fixed_labels is not None and self.moving_labels is not None


@dataclass(frozen=True)
class CoarseFeatures:
    """Features for the alignment and the similarity; a run uses the first entry of COARSE that its preset uses."""

    used: Callable[[Preset], bool]
    local: bool  # whether each feature depends on the values of one voxel only
    describe: Callable[[Tensor], Tensor]  # `Scan.values` (3, ...) -> features (C, ...)


@dataclass(frozen=True)
class CarriedFeatures:
    """Features that a scan carries; `append` returns both scans with these appended to those they carry already.

    It may take those of the fixed scan, if they depend on nothing of the moving one, from the memo of the process.
    """

    used: Callable[[FeatureSettings], bool]
    append: Callable[[ScanPair, FeatureSettings, Work, Memo], ScanPair]
    stage: str | None = None  # name of the stage in the progress and the report; None: too short to have its own
    share: float = 0.0  # expected share of the time of a run, see `progress.expected_shares`
    find_shift: FindShift | None = None  # structure-aware types only: finds the shift that aligns the structures


@dataclass(frozen=True)
class DenseFeatures:
    """Features that are computed at every voxel of a warped scan."""

    used: Callable[[Preset], bool]
    describe: Callable[[Scan], Tensor]  # -> (C, D, H, W) on the scan's grid
    reach: int  # voxels: radius of the neighbourhood that the features of a voxel depend on


def _append_label_codes(scans: ScanPair, settings: FeatureSettings, work: Work, kept: Memo) -> ScanPair:
    fixed_labels, moving_labels = settings.fixed_labels, settings.moving_labels
    embedding = label_embedding(fixed_labels, moving_labels)
    if embedding is None or fixed_labels is None or moving_labels is None:
        return scans
    return with_label_codes(scans[0], fixed_labels, embedding), with_label_codes(scans[1], moving_labels, embedding)


def _append_semantic_codes(scans: ScanPair, settings: FeatureSettings, work: Work, kept: Memo) -> ScanPair:
    preset = settings.preset
    net_of = cache(partial(semantic_net.load_for, own=settings.semantic_weights, device=scans[0].values.device))

    def appended(scan: Scan) -> Scan:
        found = with_semantic_codes(scan, net_of(scan.in_hu), preset.semantic, preset.network_spacings_mm, work)
        work.tick()
        return found

    used = settings.semantic_weights, preset.semantic, preset.network_spacings_mm, work.gpu_values
    return kept("fixed structures", scans[:1], used, lambda: appended(scans[0])), appended(scans[1])


def _shift_of_semantic_codes(scans: ScanPair, first_channel: int, settings: FeatureSettings) -> np.ndarray | None:
    signed = slice(first_channel + SIGNED_CHANNELS.start, first_channel + SIGNED_CHANNELS.stop)
    return shift_of_structures(*scans, signed, settings.preset.semantic)


def _append_pdd_features(scans: ScanPair, settings: FeatureSettings, work: Work, kept: Memo) -> ScanPair:
    assert settings.pdd_weights is not None  # otherwise this type is not used
    net = pdd_net.load(settings.pdd_weights, scans[0].values.device)

    def appended(scan: Scan) -> Scan:
        found = pdd_net.with_pdd_features(scan, net, INVERSE_TEMPERATURE)
        work.tick()
        return found

    used = settings.pdd_weights, work.gpu_values
    return kept("fixed features", scans[:1], used, lambda: appended(scans[0])), appended(scans[1])


COARSE: tuple[CoarseFeatures, ...] = (
    CoarseFeatures(used=lambda preset: preset.hu, local=True, describe=weighted_tissue),
    CoarseFeatures(used=lambda preset: True, local=False, describe=mind_and_body),
)

GUIDING_LABELS = CarriedFeatures(
    used=lambda settings: settings.guided,
    append=_append_label_codes,
)
SEMANTIC_CODES = CarriedFeatures(
    used=lambda settings: settings.preset.semantic != 0,
    append=_append_semantic_codes,
    stage="structures",
    share=2.0,
    find_shift=_shift_of_semantic_codes,
)
PDD_FEATURES = CarriedFeatures(
    used=lambda settings: settings.pdd_weights is not None,
    append=_append_pdd_features,
    stage="features",
    share=2.0,
)
CARRIED: tuple[CarriedFeatures, ...] = (GUIDING_LABELS, SEMANTIC_CODES, PDD_FEATURES)  # in the order of the channels

MIND = DenseFeatures(
    used=lambda preset: preset.mind,
    describe=lambda scan: mind(scan.hu, noise=NOISE_HU),
    reach=MIND_REACH,
)
DENSE: tuple[DenseFeatures, ...] = (MIND,)


def coarse_features(preset: Preset) -> CoarseFeatures:
    """Return the coarse features that a preset uses for the alignment and the similarity."""
    return next(each for each in COARSE if each.used(preset))


def carried_features(settings: FeatureSettings) -> list[CarriedFeatures]:
    """Return the types of features that the scans of a run carry, in the order of their channels."""
    return [each for each in CARRIED if each.used(settings)]


def dense_features(preset: Preset) -> tuple[DenseFeatures, ...]:
    """Return the types of features that a preset computes from the warped scans."""
    return tuple(each for each in DENSE if each.used(preset))


@dataclass(frozen=True)
class FeatureScans:
    """Both scans with the features that they carry, and the shifts between their structures."""

    scans: ScanPair  # with all features
    # scans with the features up to the last structure-aware type; None if no such type is used
    structures: ScanPair | None
    find_shifts: tuple[Callable[[], np.ndarray | None], ...]  # one per structure-aware type


def append_features(
    scans: ScanPair, settings: FeatureSettings, work: Work, begin_stage: Callable[[str], None], kept: Memo
) -> FeatureScans:
    """Compute the carried features of both scans, one type after the other.

    Args:
        begin_stage: called with the name of a feature type's stage, if it has one, before it is computed.
        kept: what earlier runs computed of the same fixed scan.
    """
    structures: ScanPair | None = None
    find_shifts: list[Callable[[], np.ndarray | None]] = []
    for feature in carried_features(settings):
        if feature.stage:
            begin_stage(feature.stage)
        first_channel = len(scans[0].features)
        scans = feature.append(scans, settings, work, kept)
        if feature.find_shift:
            structures = scans
            find_shifts.append(partial(feature.find_shift, scans, first_channel, settings))
    return FeatureScans(scans, structures, tuple(find_shifts))
