"""Look up an anatomy at points, on a device: the label there, and the height above the trunk's wall (`Source`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.grid import Grid
from ..errors import InputError
from ..features.label_table import NUMBER
from ..tensor.convert import to_tensor
from ..tensor.lattice import sample
from .anatomy import Anatomy
from .organ_exchange import SidedStructure, StructureKey, find_structures
from .tissue import MATERIAL_INDEX

UPPER_ABDOMEN = frozenset(NUMBER[name] for name in ("liver", "spleen", "kidney", "pancreas"))
LEVEL_PERCENTILES = (3, 97)  # of the labels' heights: views centred on the very ends would show next to nothing


@dataclass(frozen=True, eq=False)
class Frame:
    """Frame in which the views of an anatomy are centred, LPS mm.

    Attributes:
        centre: (3,), the median of the labels' centres.
        levels: lowest and highest z of a view's centre.
        abdomen: z around which most views are centred.
        centres: (N, 3), the centres of all labels.
    """

    centre: np.ndarray
    levels: tuple[float, float]
    abdomen: float
    centres: np.ndarray

    @classmethod
    def around(cls, centres: np.ndarray, abdominal_heights: np.ndarray) -> Frame:
        """Make the frame of the labels' centres (N, 3) and the heights z of those in the upper abdomen, if any."""
        centre = np.median(centres, axis=0)
        low, high = np.percentile(centres[:, 2], LEVEL_PERCENTILES)
        abdomen = abdominal_heights.mean() if len(abdominal_heights) else centre[2]
        return cls(centre, (float(low), float(high)), float(abdomen), centres)


class Source:
    """Anatomy whose label codes, materials and wall can be looked up at any point.

    Attributes:
        codes: (D, H, W) uint8, indices into `anatomy.layers`.
        structure_of_code, material_of_code: (codes,) int64; material -1 where a code is painted as its surroundings.
        structures: its structures by side, for organ exchange.
        others: the sources that lend it organs and their arrangement.
    """

    def __init__(self, anatomy: Anatomy, device: torch.device | str = "cpu") -> None:
        """Move an anatomy to a device; raise InputError where its structures are too small to be found."""
        self.anatomy = anatomy
        self.frame = _frame(anatomy)
        self.device = torch.device(device)
        self.annotated = anatomy.annotated
        self.codes = to_tensor(anatomy.codes, device).to(torch.uint8)
        self._codes_with_rim = functional.pad(self.codes, (1,) * 6)  # a rim of 0, which every point beyond the map gets
        self.height = to_tensor(anatomy.height, device)[None]
        layers = anatomy.layers
        self.structure_of_code = torch.tensor([layer.structure for layer in layers], device=device)
        self.material_of_code = torch.tensor(
            [MATERIAL_INDEX.get(layer.material, -1) for layer in layers], device=device
        )
        self.structures: dict[StructureKey, SidedStructure] = find_structures(anatomy)
        self.others: Sequence[Source] = []

    def codes_at(self, points: Tensor) -> Tensor:
        """Look up the codes at LPS points (3, ...) in mm: those of the nearest voxel, 0 outside; int64 (...)."""
        index = continuous_indices(points, self.anatomy.grid).round_()
        k, j, i = (x.clamp_(-1, n).int() + 1 for x, n in zip(index, self.codes.shape, strict=True))
        _, rows, columns = self._codes_with_rim.shape
        flat = ((k * rows + j) * columns + i).flatten()
        return self._codes_with_rim.flatten().index_select(0, flat).view(points.shape[1:]).long()

    def in_view(self, points: Tensor) -> Tensor:
        """Return 1 where the map extends along the body, else 0, at LPS points (3, ...) in mm; float (...)."""
        level = continuous_indices(points, self.anatomy.grid)[0]
        return ((level >= 0) & (level <= len(self.codes) - 1)).float()

    def height_above_wall(self, points: Tensor) -> Tensor:
        """Compute the height (...) in mm above the trunk's wall at LPS points (3, ...) in mm; negative inside."""
        index = continuous_indices(points, self.anatomy.height_grid)
        return sample(self.height, index)[0]


def continuous_indices(points: Tensor, grid: Grid) -> Tensor:
    """Convert LPS points (3, ...) in mm to continuous indices (3, ...) in the order D, H, W."""
    to_index = to_tensor(np.linalg.inv(grid.axes), points.device)
    origin = to_tensor(grid.origin, points.device).view(3, *[1] * (points.dim() - 1))
    return torch.einsum("ij,j...->i...", to_index, points - origin).flip(0)


def _frame(anatomy: Anatomy) -> Frame:
    """Make the frame of an anatomy; raise InputError where none of its labels has a centre."""
    centres = {code: anatomy.centre(code) for code in range(1, len(anatomy.layers))}
    found = {code: centre for code, centre in centres.items() if centre is not None}
    if not found:
        raise InputError(f"{anatomy.name}: its structures are too small to synthesise patients from")
    abdominal = [centre[2] for code, centre in found.items() if anatomy.layers[code].structure in UPPER_ABDOMEN]
    return Frame.around(np.array(list(found.values())), np.array(abdominal))
