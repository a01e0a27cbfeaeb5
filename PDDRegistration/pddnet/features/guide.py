"""Turn guiding labels into features: an embedding per label, compared like any other channel.

They are used only on request; label maps for evaluation are never passed to this module.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..core.image import Image
from ..tensor.convert import to_tensor
from ..tensor.scan import Scan

LABEL_CHANNELS = 16
STRENGTH = 0.7  # relative to the twelve channels of MIND in 0..1


def label_embedding(fixed: Image | None, moving: Image | None) -> np.ndarray | None:
    """Make an embedding (labels + 1, LABEL_CHANNELS) float32: a row per label in both maps; zero for all others.

    Up to LABEL_CHANNELS labels get a channel each; more labels share the channels, each a vector of seeded random
    signs of the same length. None where a map is missing, or the maps have no common label.
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
    """Set the embedding of a scan's labels as the features it carries, on its own grid.

    Args:
        labels: a label map on any grid.
        embedding: (labels + 1, E), a row per label value; values outside the table count as background, row 0.
    """
    nearest = labels.resample(scan.grid, labels=True).array.astype(int)
    in_table = (nearest > 0) & (nearest < len(embedding))
    rows = embedding[np.where(in_table, nearest, 0)]
    features = np.moveaxis(rows, -1, 0).astype(np.float32)
    return dataclasses.replace(scan, features=to_tensor(features, scan.values.device), features_grid=scan.grid)
