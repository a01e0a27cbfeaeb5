"""MIND self-similarity context features (Heinrich et al. 2013, reference 5 of the pdd-net paper). No training."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

CHANNELS = 12
DILATION, RADIUS = 2, 1  # voxels: the distance of the neighbours, the half-width of the patches
REACH = DILATION + RADIUS
_NEIGHBOURS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
PAIRS = tuple(
    (a, b)
    for i, a in enumerate(_NEIGHBOURS)
    for b in _NEIGHBOURS[i + 1 :]
    if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2
)


def mind(image: Tensor, *, dilation: int = DILATION, radius: int = RADIUS, noise: float = 0.0) -> Tensor:
    """Self-similarity of the neighbourhood: patch distances between the twelve pairs of adjacent neighbours.

    Args:
        image: (D, H, W) intensities on an isotropic grid.
        dilation: distance of the neighbours in voxels.
        radius: half-width of the patches in voxels.
        noise: standard deviation below which differences mean nothing, in the image's unit; flat regions get ones.

    Returns:
        (12, D, H, W) in 0..1.
    """

    margin = dilation + radius
    scaled = image * (2 * radius + 1) ** -1.5  # sums over a patch are means then
    padded = functional.pad(scaled[None, None], (margin,) * 6, mode="replicate")[0, 0]
    sums: dict[tuple[int, ...], Tensor] = {}
    distance = image.new_empty((CHANNELS, *image.shape))
    for channel, (a, b) in zip(distance, PAIRS, strict=True):
        if b < a:
            a, b = b, a
        step = tuple(q - p for p, q in zip(a, b, strict=True))
        if step not in sums:  # two pairs share it: the same distances, seen from elsewhere
            sums[step] = _patch_distances(padded, tuple(dilation * n for n in step), radius)
        start = [dilation * (1 + min(p, q)) for p, q in zip(a, b, strict=True)]
        channel.copy_(sums[step][tuple(slice(i, i + n) for i, n in zip(start, image.shape, strict=True))])
    distance -= distance.amin(0)
    variance = distance.mean(0)
    typical = float(variance.mean())
    variance = variance.clamp(min=max(0.001 * typical, 2 * noise * noise, 1e-6), max=max(1000 * typical, 1e-3))
    return distance.div_(variance.neg_()).exp_()


def _patch_distances(image: Tensor, step: tuple[int, ...], radius: int) -> Tensor:
    """Sums over patches of (image(x) - image(x + step))^2, wherever both patches lie inside."""
    sizes = [n - abs(s) for n, s in zip(image.shape, step, strict=True)]
    here, there = (
        image[tuple(slice(max(sign * s, 0), max(sign * s, 0) + n) for s, n in zip(step, sizes, strict=True))]
        for sign in (-1, 1)
    )
    total = (here - there).square_()
    for dim, size in enumerate(sizes):
        parts = [total.narrow(dim, i, size - 2 * radius) for i in range(2 * radius + 1)]
        total = sum(parts[1:], parts[0])
    return total
