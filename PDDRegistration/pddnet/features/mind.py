"""MIND self-similarity context features (Heinrich et al. 2013, reference 5 of the pdd-net paper). No training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHANNELS = 12
_NEIGHBOURS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
PAIRS = tuple(
    (a, b)
    for i, a in enumerate(_NEIGHBOURS)
    for b in _NEIGHBOURS[i + 1 :]
    if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2
)


def mind(image: Tensor, *, dilation: int = 2, radius: int = 1, noise: float = 0.0) -> Tensor:
    """Self-similarity of the neighbourhood: patch distances between the twelve pairs of adjacent neighbours.

    Args:
        image: (D, H, W) intensities on an isotropic grid.
        dilation: distance of the neighbours in voxels.
        radius: half-width of the patches in voxels.
        noise: standard deviation below which differences mean nothing, in the image's unit; flat regions get ones.

    Returns:
        (12, D, H, W) in 0..1.
    """
    import torch
    import torch.nn.functional as functional

    d, h, w = image.shape
    margin = dilation
    padded = functional.pad(image[None, None], (margin,) * 6, mode="replicate")[0, 0]
    shifted = {
        n: padded[margin + dilation * n[0] :, margin + dilation * n[1] :, margin + dilation * n[2] :][:d, :h, :w]
        for n in _NEIGHBOURS
    }
    distance = torch.stack([_box((shifted[a] - shifted[b]).square(), radius) for a, b in PAIRS])
    distance -= distance.amin(0)
    variance = distance.mean(0)
    typical = float(variance.mean())
    variance = variance.clamp(min=max(0.001 * typical, 2 * noise * noise, 1e-6), max=max(1000 * typical, 1e-3))
    return distance.div_(variance).neg_().exp_()


def _box(image: Tensor, radius: int) -> Tensor:
    """Mean over a cube of (2 radius + 1)^3 voxels, replicated at the border."""
    from ..inference import _replicate

    for dim in range(3):
        n = image.shape[dim]
        padded = _replicate(image, dim, radius)
        image = sum(padded.narrow(dim, i, n) for i in range(2 * radius + 1)) / (2 * radius + 1)
    return image
