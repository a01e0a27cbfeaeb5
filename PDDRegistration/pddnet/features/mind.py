"""Compute MIND: self-similarity descriptors of any modality, without training.

The modality independent neighbourhood descriptor (Heinrich et al. 2012, doi:10.1016/j.media.2012.05.008) in its
self-similarity context form, MIND-SSC (Heinrich et al. 2013, doi:10.1007/978-3-642-40811-3_24, section 2).
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

MIND_CHANNELS = 12
DILATION, RADIUS = 2, 1  # voxels: distance of the neighbours, half-width of the patches
MIND_REACH = DILATION + RADIUS  # voxels: radius of the neighbourhood that a descriptor depends on
LEAST_VARIANCE, MOST_VARIANCE = 0.001, 1000.0  # times the mean over the image: limits of the local variance
IN_SPACE, IN_PLANE = (0, 1, 2), (1, 2)  # axes along which neighbours and patches extend
_NEIGHBOURS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
PAIRS = tuple(
    (a, b)
    for i, a in enumerate(_NEIGHBOURS)
    for b in _NEIGHBOURS[i + 1 :]
    if sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) == 2
)


def mind(
    image: Tensor,
    *,
    dilation: int = DILATION,
    radius: int = RADIUS,
    noise: float = 0.0,
    axes: tuple[int, ...] = IN_SPACE,
) -> Tensor:
    """Compute the MIND-SSC descriptor: exp(-distance / variance) of the patches of pairs of neighbours.

    There are twelve pairs in space, and four in a plane.

    Args:
        image: (D, H, W) intensities on a grid that is isotropic along `axes`.
        dilation: distance of the neighbours in voxels.
        radius: half-width of the patches in voxels.
        noise: standard deviation of noise, in the image's unit: smaller differences are ignored, flat regions become 1.
        axes: along which neighbours and patches extend, IN_SPACE or IN_PLANE.

    Returns:
        (12, D, H, W) in 0..1; (4, D, H, W) in a plane.
    """
    radii = tuple(radius if axis in axes else 0 for axis in IN_SPACE)
    pairs = [pair for pair in PAIRS if not any(n for end in pair for axis, n in enumerate(end) if axis not in axes)]
    scaled = image * (2 * radius + 1) ** (-len(axes) / 2)  # so that sums over a patch are means
    padding = [dilation + radius if axis in axes else 0 for axis in reversed(IN_SPACE) for _ in range(2)]
    padded = functional.pad(scaled[None, None], padding, mode="replicate")[0, 0]
    sums: dict[tuple[int, ...], Tensor] = {}
    distance = image.new_empty((len(pairs), *image.shape))
    for channel, (a, b) in zip(distance, pairs, strict=True):
        if b < a:
            a, b = b, a
        step = tuple(q - p for p, q in zip(a, b, strict=True))
        if step not in sums:  # two pairs share a step: their distances are the same, shifted
            sums[step] = _patch_distances(padded, tuple(dilation * n for n in step), radii)
        start = [dilation * (1 + min(p, q)) if d in axes else 0 for d, (p, q) in enumerate(zip(a, b, strict=True))]
        channel.copy_(sums[step][tuple(slice(i, i + n) for i, n in zip(start, image.shape, strict=True))])
    distance -= distance.amin(0)
    variance = distance.mean(0)
    typical = float(variance.mean())
    least = max(LEAST_VARIANCE * typical, 2 * noise * noise, 1e-6)
    most = max(MOST_VARIANCE * typical, 1e-3)
    variance = variance.clamp(min=least, max=most)
    return distance.div_(variance.neg_()).exp_()


def _patch_distances(image: Tensor, step: tuple[int, ...], radii: tuple[int, ...]) -> Tensor:
    """Sum (image(x) - image(x + step))^2 over patches of `radii` per axis, wherever both patches lie inside."""
    sizes = [n - abs(s) for n, s in zip(image.shape, step, strict=True)]
    first, second = (
        image[tuple(slice(max(sign * s, 0), max(sign * s, 0) + n) for s, n in zip(step, sizes, strict=True))]
        for sign in (-1, 1)
    )
    total = (first - second).square_()
    for dim, (size, radius) in enumerate(zip(sizes, radii, strict=True)):
        parts = [total.narrow(dim, i, size - 2 * radius) for i in range(2 * radius + 1)]
        total = sum(parts[1:], parts[0])
    return total
