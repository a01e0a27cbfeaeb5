"""What is where: a small U-Net names the structures of a scan, and codes for them stand beside MIND (paper 003's idea).

Where the network is unsure its probabilities spread over several structures, the expected code becomes short, and the
point counts less.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..core.affine import Affine
from ..core.grid import Grid
from ..errors import InputError
from ..io.weights_file import FOLDER, SEMANTIC, read_weights, write_weights
from ..tensor.convert import own_random_numbers, to_array, to_tensor
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import interpolate, resample
from ..tensor.pools import dilated, halved
from ..tensor.scan import HU_RANGE, Scan
from .label_table import LEVELS, NUMBER, STRUCTURES

SPACING = 4.0  # mm, voxels that the network sees and names
BUNDLED = FOLDER / "semantic.npz"
BLOCK = 2  # voxels along each axis that are named at once; input sizes are padded to multiples of it

# What shares a row differs only in sign, what stands together not at all: it lies too far apart to be mistaken within a
# displacement search. Few channels, because everything after the network takes time in proportion to them.
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
_PERIOD = 8  # vertebrae per turn of the angle that encodes a level
_LEVEL = 0.6  # length of a vertebra's code: the network may be one off
CODE = len(_CHANNELS) + 2
# Of a code, the channels in which a structure is 1 or -1: vertebrae are in the others.
SIGNED = slice(0, len(_CHANNELS))


def codes() -> np.ndarray:
    """(structures, CODE) float32: a code of length 1 for every structure, 0 for the background.

    Neighbouring vertebrae have similar codes, so that a level that is nearly right nearly matches.
    """
    table = np.zeros((len(STRUCTURES), CODE), np.float32)
    for channel, sides in enumerate(_CHANNELS):
        for sign, names in zip((1, -1), sides, strict=True):
            table[[NUMBER[name] for name in names], channel] = sign
    for n, level in enumerate(LEVELS):
        angle = 2 * math.pi * n / _PERIOD
        table[NUMBER[f"vertebra_{level}"], -2:] = _LEVEL * math.cos(angle), _LEVEL * math.sin(angle)
    return table


class SemanticNet(nn.Module):
    """U-Net from a scan to structures.

    It works on blocks of 2x2x2 voxels (8 mm), where a trunk is small enough for a CPU, and names the eight voxels of
    each block at once.
    """

    def __init__(self, width: int = 32) -> None:
        """width: channels of the first level, a multiple of 8."""
        super().__init__()
        self.width = width
        self.first, self.more_first = _block(8 * 3, width), _Change(width)
        self.second, self.more_second = _block(width, 2 * width), _Change(2 * width)
        self.third, self.more_third = _block(2 * width, 3 * width), _Change(3 * width)
        self.fourth, self.again_third = _Change(3 * width, 4 * width), _Change(3 * width)
        self.up_second, self.again_second = _block(5 * width, 2 * width), _Change(2 * width)
        self.up_first, self.again_first = _block(3 * width, width), _Change(width)
        self.head = nn.Conv3d(width, 8 * len(STRUCTURES), 1)

    def changes(self) -> list[str]:
        """The names of the parts that change nothing before they are trained."""
        return [name for name, part in self.named_children() if isinstance(part, _Change)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, D, H, W) as `inputs` makes them, sizes multiples of BLOCK -> logits (B, structures, D, H, W)."""
        return _depth_to_space(self.head(self.blocks(x)))

    def names(self, features: Tensor) -> Tensor:
        """Features (width, N) of blocks -> logits (8 * structures, N), the voxels of a block behind each other."""
        return torch.addmm(self.head.bias[:, None], self.head.weight.flatten(1), features)

    def blocks(self, x: Tensor) -> Tensor:
        """Features (B, width, D / 2, H / 2, W / 2) of blocks."""
        first = self.more_first.added(self.first(_space_to_depth(x)))
        second = self.more_second.added(self.second(halved(first)))
        third = self.more_third.added(self.third(halved(second)))
        fourth = self.fourth(halved(third))
        third = self.again_third.added(third + _double(fourth, third))
        second = self.again_second.added(self.up_second(torch.cat([_double(third, second), second], 1)))
        return self.again_first.added(self.up_first(torch.cat([_double(second, first), first], 1)))


def inputs(values: Tensor) -> Tensor:
    """(3, D, H, W) as `Scan.values` (HU, body, view) -> what the network sees: soft tissue, all HU, body in view."""
    hu = values[0]
    return torch.stack([((hu - 40) / 150).clamp(-1.5, 1.5), hu / 500, values[1] * values[2]])


def probabilities(net: SemanticNet, values: Tensor) -> Tensor:
    """(structures, D, H, W) within the body, from `Scan.values` (3, D, H, W) on a lattice of SPACING mm."""
    d, h, w = values.shape[1:]
    with torch.no_grad():
        logits = net(_padded(values)[None])[0, :, :d, :h, :w]
    return logits.softmax(0)


def expected(net: SemanticNet, features: Tensor, table: Tensor, work: Work = ALONE) -> Tensor:
    """(8 * E, ...): rows of a table (structures, E), weighted by the probabilities; features (width, ...) of blocks.

    Piece by piece, because the probabilities of all structures are far larger than what becomes of them.
    """
    flat = features.flatten(1)
    found = flat.new_empty(8 * table.shape[1], flat.shape[1])

    def fill(start: int) -> None:
        piece = slice(start, start + step)
        logits = net.names(flat[:, piece]).reshape(len(table), -1)
        weights = (logits - logits.amax(0)).exp_()
        found[:, piece] = (table.T @ weights).div_(weights.sum(0)).view(len(found), -1)

    step = max(work.at_once(flat.device) // (8 * len(table)), 1)
    work.each(fill, ((start,) for start in range(0, flat.shape[1], step)), flat.device)
    return found.view(-1, *features.shape[1:])


def _padded(values: Tensor) -> Tensor:
    """`inputs` with air behind them, so that the sizes are multiples of BLOCK."""
    d, h, w = values.shape[1:]
    x = functional.pad(inputs(values), [p for n in (w, h, d) for p in (0, -n % BLOCK)])
    air = inputs(values.new_tensor([HU_RANGE[0], 0, 0]).view(3, 1, 1, 1))
    x[:, d:], x[:, :, h:], x[:, :, :, w:] = air, air, air
    return x


def with_semantic_codes(
    scan: Scan, net: SemanticNet, strength: float, scales: tuple[float, ...] = (SPACING,), work: Work = ALONE
) -> Scan:
    """The scan with the expected codes of its structures, times strength, after what codes it has; at SPACING.

    scales: mm, voxels in which the network sees the scan, one after the other, as if the patient were larger or
    smaller; the codes are averaged, and err less than any.
    """
    lattice = scan.box.isotropic(SPACING)
    _, body, view = scan.warped(lattice, Affine.identity()).values
    found = torch.zeros((CODE, *lattice.shape), device=body.device)
    for spacing in scales:
        seen = scan.box.isotropic(spacing)
        found += resample(_expected_at(scan, seen, net, work), seen, lattice)
        work.tick()
    found *= strength / len(scales) * body * view
    given = scan.codes_at(lattice, Affine.identity())
    return dataclasses.replace(scan, codes=torch.cat([given, found]), codes_grid=lattice)


def _expected_at(scan: Scan, lattice: Grid, net: SemanticNet, work: Work) -> Tensor:
    """(CODE, *lattice.shape): the expected codes of what the network sees on a lattice."""
    values = _padded(scan.warped(lattice, Affine.identity()).values)
    d, h, w = lattice.shape
    with torch.no_grad():
        features = net.blocks(values[None])[0]
        body = dilated(halved(values[2]))  # and a block around it
        there = body.flatten().nonzero()[:, 0]
        found = features.new_zeros(BLOCK**3 * CODE, body.numel())
        named = expected(net, features.flatten(1).index_select(1, there), to_tensor(codes(), values.device), work)
        found.index_copy_(1, there, named)
    return _depth_to_space(found.view(1, -1, *features.shape[1:]))[0, :, :d, :h, :w]


def load(path: Path = BUNDLED, device: torch.device | str = "cpu") -> SemanticNet:
    """The network with weights from a file, ready to be used.

    Raises:
        InputError: the file is missing, damaged, or made for other structures.
    """
    return _bundled(str(device)) if path == BUNDLED else _read(path).to(device)


@cache
def _bundled(device: str) -> SemanticNet:
    return _read(BUNDLED).to(device)


def _read(path: Path) -> SemanticNet:
    arrays, metadata = read_weights(path, SEMANTIC)
    if metadata.get("structures") != list(STRUCTURES):
        raise InputError(f"{path}: weights for another table of structures; train again")
    try:
        with own_random_numbers():
            net = SemanticNet(int(metadata["width"]))
        given = {name: to_tensor(array) for name, array in arrays.items()}
        changes = {name: value for name, value in net.state_dict().items() if name.split(".")[0] in net.changes()}
        if not changes.keys() & given.keys():  # weights from before there were any: untrained, they change nothing
            given |= changes
        net.load_state_dict(given)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit the network ({error})") from None
    return net.eval().requires_grad_(False)


def save(net: SemanticNet, path: Path, metadata: dict) -> None:
    """Write the network's weights; metadata: data, training and measurements, whatever JSON holds."""
    arrays = {name: to_array(value) for name, value in net.state_dict().items()}
    write_weights(path, arrays, {**_kind(net), **metadata})


def _kind(net: SemanticNet) -> dict:
    return {"kind": SEMANTIC, "width": net.width, "structures": STRUCTURES}


class _Convolution(nn.Conv3d):
    """3 x 3 x 3 voxels, without a bias. oneDNN does it on a CPU; torch itself would take it for large volumes alone."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        return torch.mkldnn_convolution(x, self.weight, None, self.padding, self.stride, self.dilation, self.groups)


def _block(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [_Convolution(channels, outside), nn.GroupNorm(8, outside)]
        layers += [nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


class _Change(nn.Sequential):
    """What two convolutions add to `channels` feature maps: nothing, before it is trained."""

    def __init__(self, channels: int, inside: int | None = None) -> None:
        inside = inside or channels
        super().__init__(
            _Convolution(channels, inside), nn.GroupNorm(8, inside),
            nn.LeakyReLU(0.1, inplace=True),
            _Convolution(inside, channels), nn.GroupNorm(8, channels),
        )  # fmt: skip
        nn.init.zeros_(self[-1].weight)

    def added(self, x: Tensor) -> Tensor:
        """The maps with the change."""
        return x + self(x)


def _space_to_depth(x: Tensor) -> Tensor:
    """(B, C, 2D, 2H, 2W) -> (B, 8C, D, H, W)."""
    b, c, d, h, w = x.shape
    x = x.view(b, c, d // 2, 2, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, 8 * c, d // 2, h // 2, w // 2)


def _depth_to_space(x: Tensor) -> Tensor:
    """(B, 8C, D, H, W) -> (B, C, 2D, 2H, 2W)."""
    b, c, d, h, w = x.shape
    x = x.view(b, c // 8, 2, 2, 2, d, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // 8, 2 * d, 2 * h, 2 * w)


def _double(x: Tensor, like: Tensor) -> Tensor:
    """Twice as large, interpolated linearly, and cut to the size of what was halved."""
    where = (torch.arange(n, device=x.device) / 2 - 0.25 for n in like.shape[2:])
    return interpolate(x.flatten(0, 1), tuple(where)).unflatten(0, x.shape[:2])
