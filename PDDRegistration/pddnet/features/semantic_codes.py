"""Compute semantic features: a U-Net segments 41 structures; the expected class embedding is appended to MIND.

Features of a segmentation network guide the registration, as in Ha et al. 2020 (Semantically Guided Large Deformation
Estimation with Deep Networks). The probabilities are used, not the decision: where the network is uncertain, they
spread over several structures, the expected embedding becomes short, and the voxel has less influence on the cost.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.grid import Grid
from ..core.image import Image
from ..core.structures import StructureMap
from ..tensor.convert import to_array, to_tensor
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import HALF, nearest, resample
from ..tensor.pools import dilated, halved
from ..tensor.scan import Scan
from .label_table import LEVELS, NUMBER, STRUCTURES
from .semantic_net import SEMANTIC_SPACING_MM, VOXELS_PER_BLOCK, SemanticNet, depth_to_space, padded_inputs

# Structures in one row share a channel: those in the first tuple have sign +, those in the second -. Structures in one
# tuple share the embedding, because they lie too far apart to be confused within a displacement search. The channels
# are few, because the time of all steps after the network is proportional to their number.
_CHANNELS = (
    (("liver", "adrenal_gland"), ("lung", "portal_vein")),
    (("spleen",), ("small_bowel", "oesophagus")),
    (("kidney",), ("bladder", "gallbladder")),
    (("stomach",), ("heart",)),
    (("colon",), ("psoas",)),
    (("aorta",), ("erector_spinae", "gluteus")),
    (("pancreas",), ("vena_cava",)),
    (("rib", "sternum"), ("hip", "sacrum", "femur")),
)
_VERTEBRAE_PER_TURN = 8  # levels per full turn of the angle that encodes a level
_VERTEBRA_LENGTH = 0.6  # length of a vertebra's embedding: low, because the network may be one level off
_LAST_BITS = 63  # of a float32, which hold the number of a structure
EMBEDDING_SIZE = len(_CHANNELS) + 2
SIGNED_CHANNELS = slice(0, len(_CHANNELS))  # where a structure is 1 or -1; vertebrae are in the other channels


def class_embedding() -> np.ndarray:
    """Return the embedding (structures, EMBEDDING_SIZE) float32: rows of length 1, vertebrae 0.6, background 0.

    Neighbouring vertebrae have similar rows, so that a level that is one off costs little.
    """
    table = np.zeros((len(STRUCTURES), EMBEDDING_SIZE), np.float32)
    for channel, sides in enumerate(_CHANNELS):
        for sign, names in zip((1, -1), sides, strict=True):
            table[[NUMBER[name] for name in names], channel] = sign
    for n, level in enumerate(LEVELS):
        angle = 2 * math.pi * n / _VERTEBRAE_PER_TURN
        row = NUMBER[f"vertebra_{level}"]
        table[row, -2:] = _VERTEBRA_LENGTH * math.cos(angle), _VERTEBRA_LENGTH * math.sin(angle)
    return table


def with_semantic_codes(
    scan: Scan, net: SemanticNet, strength: float, spacings_mm: tuple[float, ...] = (SEMANTIC_SPACING_MM,),
    work: Work = ALONE,
) -> Scan:  # fmt: skip
    """Append the expected embedding of a scan's structures, times `strength`, to the features it carries.

    All features are then on one lattice of SEMANTIC_SPACING_MM over the body's box. The scan also keeps which structure
    the network names at each node (`Scan.named`), which is not compared.

    Args:
        spacings_mm: voxel sizes at which the network segments the scan, as if the patient were larger or smaller. The
            embeddings are averaged (test-time augmentation); their mean is more accurate than any of them.
    """
    lattice = scan.box.isotropic(SEMANTIC_SPACING_MM)
    view = scan.warped(lattice, Affine.identity())
    found = torch.zeros((EMBEDDING_SIZE, *lattice.shape), device=view.values.device)
    winner, certainty = (torch.zeros(lattice.shape, device=found.device) for _ in range(2))
    for spacing in spacings_mm:
        scaled = scan.box.isotropic(spacing)
        segmented = _segmented_on(scan, scaled, net, work)
        found += resample(segmented[:EMBEDDING_SIZE], scaled, lattice)
        last = nearest(segmented[EMBEDDING_SIZE:], scaled, lattice)
        winner, certainty = _surer(winner, certainty, *last)
        work.tick()
    shown = view.body * view.view
    sure = float((last[1] * (last[0] > 0) * (shown > HALF)).sum())
    found *= strength / len(spacings_mm) * shown
    named = to_array(winner * (shown > HALF)).astype(np.uint8)
    certainties = to_array(certainty / len(spacings_mm)).astype(np.float16)
    carried = scan.features_at(lattice, Affine.identity())
    return dataclasses.replace(
        scan,
        features=torch.cat([carried, found]),
        features_grid=lattice,
        named=StructureMap(Image(named, lattice), certainties, sure * float(np.prod(lattice.spacing)) / 1000.0),
    )


def _surer(winner: Tensor, sum_before: Tensor, other: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Join the structures of two segmentations: where they disagree, the one of the larger sum of probabilities wins.

    What a segmentation gives to a structure that is not its winner is unknown and counts as 0, so that disagreement
    halves the certainty of two.
    """
    agree = (winner == other) | (sum_before == 0)
    better = agree | (probability > sum_before)
    total = torch.where(agree, sum_before + probability, torch.maximum(sum_before, probability))
    return torch.where(better, other, winner), total


def _segmented_on(scan: Scan, lattice: Grid, net: SemanticNet, work: Work) -> Tensor:
    """Segment a scan on a lattice: return `segmented` by voxel, (EMBEDDING_SIZE + 2, *lattice.shape)."""
    values = padded_inputs(scan.warped(lattice, Affine.identity()).values, hu=net.hu)
    d, h, w = lattice.shape
    with torch.no_grad():
        features = net.block_features(values[None])[0]
        body = dilated(halved(values[2]))  # the body, and one block around it
        in_body = body.flatten().nonzero()[:, 0]
        table = to_tensor(class_embedding(), values.device)
        columns = segmented(net, features.flatten(1).index_select(1, in_body), table, work)
        found = features.new_zeros(len(columns), body.numel())
        found.index_copy_(1, in_body, columns)
    return depth_to_space(found.view(1, -1, *features.shape[1:]))[0, :, :d, :h, :w]


def segmented(net: SemanticNet, features: Tensor, table: Tensor, work: Work = ALONE) -> Tensor:
    """Average the rows of an embedding, weighted by the probabilities of the structures; and name the likeliest one.

    Computed piece by piece, because the probabilities of all structures need far more memory than their expectation.

    Args:
        features: (width, ...), one column per block.
        table: (structures, E), a row for every structure.

    Returns:
        (8 * (E + 2), ...): for each channel the eight voxels of a block in sequence. The channels are the E of the
        embedding, the number of the likeliest structure, and its probability.
    """
    flat = features.flatten(1)
    size = VOXELS_PER_BLOCK * table.shape[1]
    found = flat.new_empty(size + 2 * VOXELS_PER_BLOCK, flat.shape[1])
    blocks = max(work.at_once(flat.device) // (VOXELS_PER_BLOCK * len(table)), 1)  # at once

    numbers = torch.arange(len(table), dtype=torch.int32, device=flat.device)[:, None]

    def fill(start: int) -> None:
        piece = slice(start, start + blocks)
        logits = net.block_logits(flat[:, piece]).reshape(len(table), -1)
        weights = (logits - logits.amax(0)).exp_()
        total = weights.sum(0)
        found[:size, piece] = (table.T @ weights).div_(total).view(size, -1)
        winner = _likeliest(weights, numbers).to(total.dtype)
        found[size:, piece] = torch.stack([winner, 1 / total]).view(2 * VOXELS_PER_BLOCK, -1)

    work.each(fill, ((start,) for start in range(0, flat.shape[1], blocks)), flat.device)
    return found.view(-1, *features.shape[1:])


def _likeliest(weights: Tensor, numbers: Tensor) -> Tensor:
    """Return the number of the largest of the weights (structures, N), which are not negative: (N,) int32.

    It stands in for argmax, which takes four times as long: the last bits of each weight say its number, and bits of
    floats that are not negative are ordered as their values are. Of equal weights the first one wins.
    """
    marked = (weights.view(torch.int32) & ~_LAST_BITS).bitwise_or_(_LAST_BITS - numbers)
    return _LAST_BITS - (marked.amax(0) & _LAST_BITS)
