"""Define `SemanticNet`, a U-Net that segments 41 structures in a CT scan; compute its input, load and save it.

Architecture after Çiçek et al. 2016 (3D U-Net, doi:10.1007/978-3-319-46723-8_49), with residual blocks at every level.
Shapes: B scans, C channels, D, H, W voxels.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..core.hounsfield import FEATURE_RANGE_HU
from ..errors import InputError
from ..io.weights_file import (
    CT_NETWORK,
    FOLDER,
    HU,
    MR_NETWORK,
    SCALED,
    SEMANTIC,
    read_weights,
    reads_hu,
    write_weights,
)
from ..tensor.convert import own_random_numbers, to_array, to_tensor
from ..tensor.lattice import interpolate
from ..tensor.pools import halved
from .label_table import STRUCTURES

SEMANTIC_SPACING_MM = 4.0  # voxel size that the network was trained on
BUNDLED_WEIGHTS, MR_WEIGHTS = FOLDER / CT_NETWORK, FOLDER / MR_NETWORK
BLOCK = 2  # voxels along each axis that are classified at once; input sizes are padded to multiples of it
VOXELS_PER_BLOCK = BLOCK**3
INPUT_CHANNELS = 3
SOFT_TISSUE_WINDOW_HU = 40.0, 150.0  # centre and half-width of the first input channel
WINDOW_LIMIT = 1.5  # half-widths from the centre, to which the first input channel is clipped
HU_PER_UNIT = 500.0  # HU per unit of the second input channel


class SemanticNet(nn.Module):
    """U-Net from a scan to logits of the structures.

    It works on blocks of 2x2x2 voxels (8 mm), where a trunk is small enough for a CPU, and classifies the eight voxels
    of each block at once.
    """

    def __init__(self, width: int = 32, *, hu: bool = True) -> None:
        """Build the layers.

        Args:
            width: channels of the first level, a multiple of 8.
            hu: whether it reads HU; otherwise intensities that are scaled to -1000..0, as of MR.
        """
        super().__init__()
        self.width = width
        self.hu = hu
        self.first = _convolutions(VOXELS_PER_BLOCK * INPUT_CHANNELS, width)
        self.more_first = _ResidualBlock(width)
        self.second = _convolutions(width, 2 * width)
        self.more_second = _ResidualBlock(2 * width)
        self.third = _convolutions(2 * width, 3 * width)
        self.more_third = _ResidualBlock(3 * width)
        self.fourth = _ResidualBlock(3 * width, 4 * width)
        self.again_third = _ResidualBlock(3 * width)
        self.up_second = _convolutions(5 * width, 2 * width)
        self.again_second = _ResidualBlock(2 * width)
        self.up_first = _convolutions(3 * width, width)
        self.again_first = _ResidualBlock(width)
        self.head = nn.Conv3d(width, VOXELS_PER_BLOCK * len(STRUCTURES), 1)

    def residual_blocks(self) -> list[str]:
        """List the names of the residual blocks, which are the identity before training."""
        return [name for name, part in self.named_children() if isinstance(part, _ResidualBlock)]

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (B, structures, D, H, W) from `inputs` (B, 3, D, H, W), sizes multiples of BLOCK."""
        return depth_to_space(self.head(self.block_features(x)))

    def block_logits(self, features: Tensor) -> Tensor:
        """Compute logits (8 * structures, N) of N blocks from features (width, N); a block's voxels in sequence."""
        bias = cast(Tensor, self.head.bias)
        return torch.addmm(bias[:, None], self.head.weight.flatten(1), features)

    def block_features(self, x: Tensor) -> Tensor:
        """Compute features (B, width, D / 2, H / 2, W / 2) of blocks from (B, 3, D, H, W) as for `forward`."""
        first = self.more_first.added_to(self.first(_space_to_depth(x)))
        second = self.more_second.added_to(self.second(halved(first)))
        third = self.more_third.added_to(self.third(halved(second)))
        fourth = self.fourth(halved(third))
        third = self.again_third.added_to(third + _upsampled(fourth, third))
        second = self.up_second(torch.cat([_upsampled(third, second), second], 1))
        second = self.again_second.added_to(second)
        first = self.up_first(torch.cat([_upsampled(second, first), first], 1))
        return self.again_first.added_to(first)


def inputs(values: Tensor, *, hu: bool = True) -> Tensor:
    """Compute the inputs (soft tissue, all HU, body in view) from `Scan.values` (HU, body, view): both (3, D, H, W).

    Without `hu` the values are intensities scaled to -1000..0: the inputs are their range, and that of their roots,
    in which dark tissues differ more.
    """
    known = values[1] * values[2]
    if not hu:
        share = (values[0] / 1000.0 + 1.0).clamp(0, 1)
        return torch.stack([WINDOW_LIMIT * (2 * share - 1), 2 * share.sqrt() - 2, known])
    hounsfield = values[0]
    centre, half_width = SOFT_TISSUE_WINDOW_HU
    soft_tissue = ((hounsfield - centre) / half_width).clamp(-WINDOW_LIMIT, WINDOW_LIMIT)
    return torch.stack([soft_tissue, hounsfield / HU_PER_UNIT, known])


def probabilities(net: SemanticNet, values: Tensor) -> Tensor:
    """Segment `Scan.values` (3, D, H, W) at SEMANTIC_SPACING_MM: return probabilities (structures, D, H, W)."""
    d, h, w = values.shape[1:]
    with torch.no_grad():
        logits = net(padded_inputs(values, hu=net.hu)[None])[0, :, :d, :h, :w]
    return logits.softmax(0)


def padded_inputs(values: Tensor, *, hu: bool = True) -> Tensor:
    """Compute the `inputs` of (3, D, H, W), padded with air at the far ends to sizes that are multiples of BLOCK."""
    d, h, w = values.shape[1:]
    x = functional.pad(inputs(values, hu=hu), [p for n in (w, h, d) for p in (0, -n % BLOCK)])
    air = inputs(values.new_tensor([FEATURE_RANGE_HU[0], 0, 0]).view(3, 1, 1, 1), hu=hu)
    x[:, d:], x[:, :, h:], x[:, :, :, w:] = air, air, air
    return x


def load(path: Path = BUNDLED_WEIGHTS, device: torch.device | str = "cpu") -> SemanticNet:
    """Load the network with its weights from a file, in evaluation mode and without gradients.

    Raises:
        InputError: the file is missing, damaged, or made for other structures.
    """
    return _bundled(path, str(device)) if path in (BUNDLED_WEIGHTS, MR_WEIGHTS) else _read(path).to(device)


def load_for(in_hu: bool, own: Path | None, device: torch.device) -> SemanticNet:
    """Load the network that reads scans in HU, or the one that reads MR.

    own: weights of the user's own training, which replace the bundled ones of the network that reads the same values.
    """
    net = load(own, device) if own else None
    if net is None or net.hu != in_hu:
        net = load(BUNDLED_WEIGHTS if in_hu else MR_WEIGHTS, device)
    return net


@cache
def _bundled(path: Path, device: str) -> SemanticNet:
    return _read(path).to(device)


def _read(path: Path) -> SemanticNet:
    arrays, metadata = read_weights(path, SEMANTIC)
    if metadata.get("structures") != list(STRUCTURES):
        raise InputError(f"{path}: weights for another table of structures; train again")
    try:
        with own_random_numbers():
            net = SemanticNet(int(metadata["width"]), hu=reads_hu(metadata))
        weights = {name: to_tensor(array) for name, array in arrays.items()}
        net.load_state_dict(_with_untrained_blocks(net, weights))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit the network ({error})") from None
    return net.eval().requires_grad_(False)


def _with_untrained_blocks(net: SemanticNet, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Complete weights of networks without residual blocks by untrained blocks, which are the identity."""
    blocks = net.residual_blocks()
    untrained = {name: value for name, value in net.state_dict().items() if name.split(".")[0] in blocks}
    return weights if untrained.keys() & weights.keys() else weights | untrained


def save(net: SemanticNet, path: Path, metadata: dict[str, Any]) -> None:
    """Write the network's weights; metadata: on data, training and measurements, any values that JSON can hold."""
    arrays = {name: to_array(value) for name, value in net.state_dict().items()}
    write_weights(path, arrays, {**_kind(net), **metadata})


def _kind(net: SemanticNet) -> dict[str, Any]:
    values = HU if net.hu else SCALED
    return {"kind": SEMANTIC, "width": net.width, "structures": STRUCTURES, "values": values}


class _Convolution(nn.Conv3d):
    """Convolution of 3 x 3 x 3 voxels without bias; on a CPU by oneDNN, which torch uses in large volumes only."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        return torch.mkldnn_convolution(x, self.weight, None, (1, 1, 1), self.stride, self.dilation, self.groups)


def _convolutions(channels_in: int, channels_out: int) -> nn.Sequential:
    """Make two convolutions, each with normalisation and activation."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [_Convolution(channels, channels_out), nn.GroupNorm(8, channels_out)]
        layers += [nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


class _ResidualBlock(nn.Sequential):
    """Residual block, initialised to the identity: the scale of its last normalisation begins at zero."""

    def __init__(self, channels: int, inner_channels: int | None = None) -> None:
        inner = inner_channels or channels
        last = nn.GroupNorm(8, channels)
        super().__init__(
            _Convolution(channels, inner), nn.GroupNorm(8, inner),
            nn.LeakyReLU(0.1, inplace=True),
            _Convolution(inner, channels), last,
        )  # fmt: skip
        nn.init.zeros_(last.weight)

    def added_to(self, x: Tensor) -> Tensor:
        """Add the block's output to its input x (B, C, D, H, W)."""
        return x + self(x)


def _space_to_depth(x: Tensor) -> Tensor:
    """Turn the voxels of each block into channels: (B, C, 2D, 2H, 2W) -> (B, 8C, D, H, W)."""
    b, c, d, h, w = x.shape
    x = x.view(b, c, d // 2, 2, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, 8 * c, d // 2, h // 2, w // 2)


def depth_to_space(x: Tensor) -> Tensor:
    """Turn channels into the voxels of a block: (B, 8C, D, H, W) -> (B, C, 2D, 2H, 2W)."""
    b, c, d, h, w = x.shape
    x = x.view(b, c // 8, 2, 2, 2, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // 8, 2 * d, 2 * h, 2 * w)


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    """Double the resolution of (B, C, D, H, W) linearly, cropped to the size of `like`, which was halved."""
    nodes = (torch.arange(n, device=x.device) / 2 - 0.25 for n in like.shape[2:])
    return interpolate(x.flatten(0, 1), tuple(nodes)).unflatten(0, x.shape[:2])
