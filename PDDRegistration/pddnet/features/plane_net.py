"""Define `PlaneNet`, a 2-D U-Net that names structures in axial slices; compute its input and codes, load and save it.

Lengths are in the units of the matching in a plane, in which a trunk is about as many wide as it has mm. Shapes: B
slices, H, W pixels.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..errors import InputError
from ..io.weights_file import FOLDER, PLANE, PLANE_ADVICE, PLANE_NETWORK, read_weights, write_weights
from ..tensor.convert import own_random_numbers, to_array, to_tensor
from .label_table import STRUCTURES
from .semantic_codes import class_embedding

PLANE_SPACING = 4.0  # units between the pixels that the network reads
LOWEST, HIGHEST = 0.01, 0.99  # quantiles of a slice's values that become 0 and 1
CLIPPED = (-0.5, 1.5)  # of the scaled values
LEVELS_OF_GREY = 1000.0  # between 0 and 1: pixels that differ by less have the same rank
BLOCK = 8  # input sizes are padded to multiples of it
BUNDLED_WEIGHTS = FOLDER / PLANE_NETWORK


class PlaneNet(nn.Module):
    """U-Net from slices to logits of the structures (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28)."""

    def __init__(self, width: int = 32) -> None:
        """Build the layers. width: channels of the first level, a multiple of 8; 2, 3 and 4 times as many below."""
        super().__init__()
        self.width = width
        sizes = [width, 2 * width, 3 * width, 4 * width]
        self.down = nn.ModuleList(map(_convolutions, [2, *sizes[:-1]], sizes))
        self.up = nn.ModuleList(_convolutions(low + high, high) for high, low in pairwise(sizes))
        self.head = nn.Conv2d(width, len(STRUCTURES), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (B, structures, H, W) from `inputs` (B, 2, H, W), sizes multiples of BLOCK."""
        seen = [self.down[0](x)]
        for level in list(self.down)[1:]:
            seen.append(level(functional.avg_pool2d(seen[-1], 2)))
        x = seen.pop()
        for level in reversed(self.up):
            finer = seen.pop()
            larger = functional.interpolate(x, size=finer.shape[2:], mode="bilinear", align_corners=False)
            x = level(torch.cat([larger, finer], 1))
        logits: Tensor = self.head(x)
        return logits


def _convolutions(channels_in: int, channels_out: int) -> nn.Sequential:
    """Make two convolutions, each with normalisation and activation."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [nn.Conv2d(channels, channels_out, 3, padding=1, bias=False)]
        layers += [nn.GroupNorm(8, channels_out), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


def to_range(values: np.ndarray) -> np.ndarray:
    """Scale a slice so that the quantiles LOWEST and HIGHEST of its values become 0 and 1; float32, clipped beyond."""
    low, high = np.quantile(values, (LOWEST, HIGHEST))
    if high <= low:
        low, high = values.min(), values.max()
    scaled = np.clip((values - low) / max(high - low, 1e-12), *CLIPPED)
    return np.asarray(scaled, np.float32)


def inputs(values: Tensor) -> Tensor:
    """Compute the inputs (B, 2, H, W) from slices of `to_range` (B, H, W): each pixel's value, and its rank.

    The rank is the share of the slice's pixels that are darker. It is the same whatever window of grey values the slice
    was stored with, unless values were clipped.
    """
    flat = (values.flatten(1) * LEVELS_OF_GREY).round()
    ordered = flat.sort(1)[0]
    ranks = (torch.searchsorted(ordered, flat) + torch.searchsorted(ordered, flat, right=True)) / (2 * flat.shape[1])
    return torch.stack([2 * values - 1, 2 * ranks.view_as(values) - 1], 1)


def probabilities(net: PlaneNet, values: Tensor) -> Tensor:
    """Segment slices of `to_range` (B, H, W): return probabilities (structures, B, H, W)."""
    h, w = values.shape[1:]
    padding = (0, -w % BLOCK, 0, -h % BLOCK)
    with torch.no_grad():
        logits = net(functional.pad(inputs(values), padding, mode="replicate"))[..., :h, :w]
    return logits.softmax(1).transpose(0, 1)


def codes(net: PlaneNet, values: Tensor) -> Tensor:
    """Compute the expected class embedding (EMBEDDING_SIZE, B, H, W) of slices of `to_range` (B, H, W)."""
    table = to_tensor(class_embedding(), values.device)
    return torch.einsum("se,sbhw->ebhw", table, probabilities(net, values))


def load(path: Path = BUNDLED_WEIGHTS) -> PlaneNet:
    """Load the network with its weights from a file, in evaluation mode and without gradients.

    Raises:
        InputError: the file is missing, damaged, or made for another network or other structures.
    """
    return _bundled() if path == BUNDLED_WEIGHTS else _read(path)


@cache
def _bundled() -> PlaneNet:
    return _read(BUNDLED_WEIGHTS)


def _read(path: Path) -> PlaneNet:
    arrays, metadata = read_weights(path, PLANE, advice=PLANE_ADVICE)
    if metadata.get("structures") != list(STRUCTURES):
        raise InputError(f"{path}: weights for another table of structures; train again")
    try:
        with own_random_numbers():
            net = PlaneNet(int(metadata["width"]))
        net.load_state_dict({name: to_tensor(array) for name, array in arrays.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit the network ({error})") from None
    return net.eval().requires_grad_(False)


def save(net: PlaneNet, path: Path, metadata: dict[str, Any]) -> None:
    """Write the network's weights; metadata: on data, training and measurements, any values that JSON can hold."""
    arrays = {name: to_array(value) for name, value in net.state_dict().items()}
    write_weights(path, arrays, {"kind": PLANE, "width": net.width, "structures": STRUCTURES, **metadata})
