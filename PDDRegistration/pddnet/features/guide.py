"""Guiding labels: label maps as features, an embedding per label, compared like any other channel.

They are used only where guiding was asked for; label maps for evaluation never come here.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.image import Image
from ..tensor.convert import to_tensor
from ..tensor.scan import Scan

LABEL_CHANNELS = 16
STRENGTH = 0.7  # beside the twelve channels of MIND in 0..1


def label_embedding(fixed: Image | None, moving: Image | None) -> np.ndarray | None:
    """(labels + 1, LABEL_CHANNELS) float32: a row per label that both maps hold; zero for others and the background.

    Up to LABEL_CHANNELS labels get a channel each, more share the channels in seeded random signs of the same length.
    None where a map is missing, or the maps have no label in common.
    """
    if fixed is None or moving is None:
        return None
    common = sorted(_labels(fixed) & _labels(moving))
    if not common:
        return None
    if len(common) <= LABEL_CHANNELS:
        rows = np.eye(LABEL_CHANNELS)[: len(common)]
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(common), LABEL_CHANNELS))
        rows = signs / np.sqrt(LABEL_CHANNELS)
    embedding = np.zeros((max(common) + 1, LABEL_CHANNELS), np.float32)
    embedding[common] = STRENGTH * np.sqrt(LABEL_CHANNELS) * rows
    return embedding


def _labels(label_map: Image) -> set[int]:
    return {int(value) for value in np.unique(label_map.array)} - {0}


def with_label_codes(scan: Scan, labels: Image, embedding: np.ndarray) -> Scan:
    """The scan with the embedding of its labels as the features it carries, on its own grid.

    Args:
        labels: a label map on any grid.
        embedding: (labels + 1, E), a row per label value; values beyond the table count as background, row 0.
    """
    nearest = labels.resample(scan.grid, labels=True).array.astype(int)
    in_table = (nearest > 0) & (nearest < len(embedding))
    rows = embedding[np.where(in_table, nearest, 0)]
    features = np.moveaxis(rows, -1, 0).astype(np.float32)
    return dataclasses.replace(scan, features=to_tensor(features, scan.values.device), features_grid=scan.grid)
