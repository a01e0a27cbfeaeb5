"""Define what the networks of this room share: their sizes, what they predict, and their weights files.

Scans of one call have grids along the same axes, those of the box; fields are in mm along these array axes (D, H, W).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.grid import Grid
from ..errors import InputError
from ..io.weights_file import read_weights, write_weights
from ..tensor.convert import own_random_numbers, to_array, to_tensor
from ..tensor.scan import Scan
from .registry import find_class, training_advice

FIELD_UNIT_MM = 10.0  # mm per unit of a network's last layer, so that its weights are of the order of the others


@dataclass(frozen=True)
class Sizes:
    """Sizes from which a network is made; they are kept with its weights.

    Attributes:
        control: mm between the control points of the predicted field; of FlowNet-C.
        reach: the largest displacement in mm along each axis that is compared; of networks with a correlation layer.
        steps: how many displacements there are per axis; of the same.
        channels: features per point; of a U-Net, at its first level.
        spacing: mm between the features that are compared; of a U-Net, between the voxels that it sees.
    """

    control: float
    reach: float
    steps: int
    channels: int
    spacing: float


@dataclass(frozen=True)
class Prediction:
    """What a network predicts of two scans.

    Attributes:
        field: (3, nD, nH, nW) displacements from fixed to moving points at the nodes of `control`, mm along its axes.
        control: the control points.
        coarse: earlier and coarser fields, likewise with their control points; they are trained, too.
        logits: (structures, D, H, W) of the fixed and the moving scan, each at the nodes of `lattice`, if the network
            also segments: for the semantic loss. Structures as in `features.label_table`.
        lattice: the nodes of `logits`.
        velocity: (3, nD, nH, nW) stationary velocity whose exponential `field` is, if the network predicts one.
    """

    field: Tensor
    control: Grid
    coarse: tuple[tuple[Tensor, Grid], ...] = ()
    logits: tuple[Tensor, Tensor] | None = None
    lattice: Grid | None = None
    velocity: Tensor | None = None


class RegistrationNetwork(nn.Module):
    """Base of the networks: a subclass builds its layers from `Sizes` and defines `forward`."""

    margin_mm = 48.0  # around the box, of the moving scan: beyond it a network sees air

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, fixed: Scan, moving: Scan, box: Grid) -> Prediction:
        """Predict the displacements from the fixed to the moving scan, which is roughly aligned, within a box.

        Args:
            fixed, moving: in HU, on any grids along the axes of `box`.
            box: where control points are needed, such as the body's bounding box.
        """
        raise NotImplementedError

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Group the parameters for the optimiser, with the learning rate of each."""
        return [{"params": list(self.parameters()), "lr": rate}]

    def displacements(self, fixed: Scan, moving: Scan, box: Grid) -> tuple[Tensor, Grid]:
        """Predict without gradients, on the device of the scans: the field and its control points, see `Prediction`."""
        self.to(fixed.values.device)
        with torch.no_grad():
            found = self(fixed, moving, box)
        return found.field, found.control


def load(name: str, path: Path, device: torch.device | str = "cpu") -> RegistrationNetwork:
    """Load a network with its weights from a file, in evaluation mode and without gradients.

    Raises:
        InputError: there is no such network, or the file is missing, damaged or holds weights of another one.
    """
    found = find_class(name)
    arrays, metadata = read_weights(path, name, advice=training_advice(name))
    try:
        sizes = Sizes(**{each.name: metadata[each.name] for each in dataclasses.fields(Sizes)})
        with own_random_numbers():
            net = found(sizes)
        counts = {key: value for key, value in net.state_dict().items() if not value.is_floating_point()}
        net.load_state_dict({key: to_tensor(array) for key, array in arrays.items()} | counts)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit the network '{name}' ({error})") from None
    return net.to(device).eval().requires_grad_(False)


def save(name: str, net: RegistrationNetwork, path: Path, metadata: dict[str, Any]) -> None:
    """Write a network's weights; metadata: on data, training and measurements, any values that JSON can hold."""
    arrays = {key: to_array(value) for key, value in net.state_dict().items() if value.is_floating_point()}
    write_weights(path, arrays, {"kind": name, **dataclasses.asdict(net.sizes), **metadata})
