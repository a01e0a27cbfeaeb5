"""Define `PDDNet`: features, correlation and inference as one torch module, for training and registration alike.

Heinrich, MICCAI 2019 (pdd-net, doi:10.1007/978-3-030-32226-7_6). Shapes: nD, nH, nW control points, L displacements per
axis, C channels, D, H, W voxels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.affine import Affine
from ..core.grid import Grid
from ..errors import InputError
from ..features.mind import MIND_CHANNELS
from ..features.obelisk import OBELISK_CHANNELS, OBELISK_SPACING_MM, Obelisk
from ..io.weights_file import PDD, read_weights, write_weights
from ..tensor.convert import own_random_numbers, to_array, to_tensor
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import HALF, interpolate, positions
from ..tensor.scan import Scan
from .cost_volume import cost_volume
from .discrete import DisplacedMask, FeatureMap, centred, match
from .inference import DisplacementDistribution, mean_field, min_convolution

FIRST_INVERSE_TEMPERATURE = 100.0  # before training: the softmax prefers several displacements, not just one
# Factor on the learning rate of the offsets, which are in mm: the published ones are fractions of half the volume, 100
# to 200 mm in a trunk, and a step of Adam should move both about as far.
OFFSET_RATE_MM = 100.0
MARGIN_MM = 24.0  # around the body's box: the features are informative up to there
CELLS_AT_ONCE = 1 << 23  # cells of the cost tensor whose intermediate results are kept at a time in training


class PDDNet(nn.Module):
    """Network of Heinrich 2019: from two scans to a distribution of displacements.

    The six published scalars have only two effective degrees of freedom, and these are trained. With D the
    dissimilarities and R a round of min-convolution and mean field, the published form is

        c = a0 D + a1,    p = softmax(-a5 R(a4 + a2 c + a3 R(c))).

    R commutes with adding a constant and with a positive factor, and softmax ignores constants. So a1 and a4 cancel,
    and what is left is softmax(-R(s D + r R(s D))) with s = a0 a2 a5 and r = a3 / a2:
    `inverse_temperature` and `weights`. Both stay positive, because their logarithms are the parameters.
    """

    def __init__(self, channels: int = OBELISK_CHANNELS, spacing: float = OBELISK_SPACING_MM) -> None:
        super().__init__()
        self.features = Obelisk(channels, spacing)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(FIRST_INVERSE_TEMPERATURE)))
        self.log_message = nn.Parameter(torch.zeros(()))

    @property
    def inverse_temperature(self) -> Tensor:
        """Return the factor on the costs, a scalar tensor (), as `discrete.match` takes it."""
        return self.log_sharpness.exp()

    @property
    def weights(self) -> tuple[float, Tensor]:
        """Return the weights of a control point's own cost and of its neighbours' message, for `discrete.match`."""
        return 1.0, self.log_message.exp()

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Group the parameters for Adam, whose steps are about as long as the rate; see OFFSET_RATE_MM."""
        offsets = self.features.offsets
        others = [p for p in self.parameters() if p is not offsets]
        return [{"params": others, "lr": rate}, {"params": [offsets], "lr": rate * OFFSET_RATE_MM}]

    def forward(
        self, fixed: Scan, moving: Scan, control: Grid, steps: Tensor, work: Work = ALONE
    ) -> DisplacementDistribution:
        """Estimate the distribution of displacements from fixed to moving, at the nodes of `control`.

        Args:
            fixed, moving: in HU on any grids; the moving scan already warped by the transform found so far.
            steps: (L) displacements in mm, the same along every axis of `control`.
        """
        spacing = self.features.spacing
        reach = math.ceil(float(steps.abs().max()) / spacing) + 1  # nodes
        lattice = control.isotropic(spacing, spacing * reach)
        scans = [scan.warped(lattice, Affine.identity()) for scan in (fixed, moving)]
        weights = scans[0].near_body(lattice) * scans[0].view, scans[1].view
        features = self.features((fixed, moving), lattice)
        fixed_map, moving_map = (FeatureMap(x, weight, lattice) for x, weight in zip(features, weights, strict=True))
        matched = match_in_pieces if torch.is_grad_enabled() else match
        return matched(fixed_map, moving_map, control, steps, self.inverse_temperature, self.weights, work)


def with_pdd_features(scan: Scan, net: PDDNet, inverse_temperature: float) -> Scan:
    """Append the network's features to those that the scan carries.

    The features of air are subtracted from them, because features beyond their lattice are zero. They are scaled so
    that their contribution to the costs, next to the channels of MIND and at the matching's `inverse_temperature`,
    equals the one in training.
    """
    spacing = float(scan.features_grid.spacing.min()) if len(scan.features) else net.features.spacing
    lattice = scan.box.isotropic(spacing, MARGIN_MM)
    nothing = dataclasses.replace(scan, values=torch.zeros_like(scan.values))
    node = Grid((1, 1, 1), np.full(3, net.features.spacing), lattice.origin, lattice.direction)
    with torch.no_grad():
        air = net.features([nothing], node)[0]
        features = net.features([scan], lattice)[0] - air
        scale = (net.inverse_temperature / inverse_temperature * MIND_CHANNELS / net.features.channels).sqrt()
    carried = torch.cat([scan.features_at(lattice, Affine.identity()), scale * features])
    return dataclasses.replace(scan, features=carried, features_grid=lattice)


def load(path: Path, device: torch.device | str = "cpu") -> PDDNet:
    """Load the network with its weights from a file, in evaluation mode and without gradients.

    Raises:
        InputError: the file is missing, damaged or holds weights of another network.
    """
    arrays, metadata = read_weights(path, PDD)
    try:
        with own_random_numbers():
            net = PDDNet(int(metadata["channels"]), float(metadata["spacing"]))
        counts = {name: value for name, value in net.state_dict().items() if not value.is_floating_point()}
        net.load_state_dict({name: to_tensor(array) for name, array in arrays.items()} | counts)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit the network ({error})") from None
    return net.to(device).eval().requires_grad_(False)


def save(net: PDDNet, path: Path, metadata: dict[str, Any]) -> None:
    """Write the network's weights; metadata: on data, training and measurements, any values that JSON can hold."""
    arrays = {name: to_array(value) for name, value in net.state_dict().items() if value.is_floating_point()}
    write_weights(
        path, arrays, {"kind": PDD, "channels": net.features.channels, "spacing": net.features.spacing, **metadata}
    )


def match_in_pieces(
    fixed: FeatureMap,
    moving: FeatureMap,
    control: Grid,
    steps: Tensor,
    inverse_temperature: Tensor | float,
    weights: tuple[float, float | Tensor] = (1.0, 1.0),
    work: Work = ALONE,
) -> DisplacementDistribution:
    """Match as `discrete.match` does, but with gradients in the memory of a few cost tensors.

    Rows of control points are computed separately, and again in the backward pass (gradient checkpointing). The mean
    field, the only step that crosses rows, is linear and keeps nothing for the backward pass.
    """
    work = _InTurn(work.tick, work.gpu_values)
    in_fixed = positions(control, fixed.lattice, fixed.features.device)
    in_moving = positions(control, moving.lattice, fixed.features.device)
    offsets = tuple(steps / float(s) for s in moving.lattice.spacing[::-1])
    queries = interpolate(fixed.features, in_fixed)
    counts = interpolate(fixed.weight[None], in_fixed)[0].permute(1, 2, 0) * inverse_temperature  # (nH, nW, nD)
    in_view = moving.weight > HALF

    def costs(query: Tensor, features: Tensor, along: Tensor, counts: Tensor) -> Tensor:
        points = in_moving[0], along, in_moving[2]
        cost = cost_volume(query, features, points, offsets, work)
        return centred(cost, DisplacedMask(in_view, points, offsets), counts, work)

    n_d, _, n_w = control.shape
    rows = max(1, CELLS_AT_ONCE // (n_d * n_w * len(steps) ** 3))
    parts = zip(queries.split(rows, 2), in_moving[1].split(rows), counts.split(rows), strict=True)
    pieces = []
    for query, along, count in parts:
        work.tick()
        pieces.append(_checkpointed(costs, query, moving.features, along, count))
    cost = torch.cat(pieces)

    def round_of(cost: Tensor) -> Tensor:
        envelopes = [_checkpointed(min_convolution, part, work) for part in cost.split(rows)]
        return mean_field(torch.cat(envelopes), work)

    cost = round_of(weights[0] * cost + weights[1] * round_of(cost))
    return DisplacementDistribution(cost, (steps, steps, steps))


def _checkpointed(function: Callable[..., Tensor], *args: Any) -> Tensor:
    """Compute function(*args), and again in the backward pass, instead of keeping intermediate results."""
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)


class _InTurn(Work):
    """Compute one part after the other in the calling thread: torch keeps a checkpoint's state per thread."""

    def each(self, function: Callable[..., None], parts: Iterable[tuple[Any, ...]], device: torch.device) -> None:
        """Call function(*part) for every part, in their order."""
        for part in parts:
            self.tick()
            function(*part)
