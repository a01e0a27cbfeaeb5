"""Guiding labels as features: a row of the embedding per label, nothing for what only one map holds."""

from __future__ import annotations

import numpy as np
import torch

from helpers.samples import FIXED
from pddnet.core.image import Image
from pddnet.features.guide import LABEL_CHANNELS, STRENGTH, label_embedding, with_label_codes
from pddnet.tensor.scan import prepare

CPU = torch.device("cpu")


def _map(*values: int) -> Image:
    """Slabs of these labels along i."""
    array = np.zeros(FIXED.shape, np.uint16)
    for n, slab in enumerate(np.array_split(np.arange(FIXED.shape[2]), len(values))):
        array[:, :, slab] = values[n]
    return Image(array, FIXED)


def test_only_labels_of_both_maps_have_a_row() -> None:
    embedding = label_embedding(_map(0, 2, 5, 9), _map(5, 2, 7))
    assert embedding is not None and embedding.shape == (6, LABEL_CHANNELS)
    lengths = np.linalg.norm(embedding, axis=1)
    assert np.allclose(lengths, STRENGTH * np.sqrt(LABEL_CHANNELS) * np.isin(np.arange(6), (2, 5)))


def test_more_labels_than_channels_share_them_with_the_same_length() -> None:
    values = range(1, LABEL_CHANNELS + 4)
    embedding = label_embedding(_map(*values), _map(*values))
    assert embedding is not None
    assert np.allclose(np.linalg.norm(embedding[1:], axis=1), STRENGTH * np.sqrt(LABEL_CHANNELS), rtol=1e-6)
    assert len(np.unique(embedding[1:], axis=0)) == len(values)


def test_without_a_common_label_there_is_nothing_to_guide_by() -> None:
    assert label_embedding(_map(0, 1), _map(0, 2)) is None
    assert label_embedding(_map(0, 1), None) is None


def test_a_label_above_all_common_ones_counts_as_background() -> None:
    """It lies beyond the embedding's last row, which belongs to another label."""
    labels = _map(0, 2, 9)
    embedding = label_embedding(labels, _map(0, 2))
    assert embedding is not None and len(embedding) == 3
    hu = np.where(labels.array > 0, 50, -1000).astype(np.int16)
    hu[0, 0, 0] = -1001
    scan = with_label_codes(prepare(Image(hu, FIXED), 4.0, CPU), labels, embedding)
    nearest = labels.resample(scan.features_grid, labels=True).array
    lengths = scan.features.square().sum(0).sqrt().numpy()
    assert {2, 9} <= set(np.unique(nearest))
    assert np.allclose(lengths, np.where(nearest == 2, STRENGTH * np.sqrt(LABEL_CHANNELS), 0.0), atol=1e-6)
