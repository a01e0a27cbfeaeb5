"""Hold a patient while pathology is painted: what each voxel shows, and what was found there (`Scene`, `Finding`).

Painters take a scene and return another. They work in the view, in mm from its middle along LPS, where a volume is what
the scan shows of it, whatever pose the anatomy has. Shapes: D, H, W voxels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..tensor.lattice import sample
from .noise import Noise
from .organ_exchange import RIGID_MATERIALS
from .random_organs import RandomOrgans
from .tissue import MATERIAL_INDEX

LEAST_RADIUS = 1e-3  # of a place, in radii of what grows there: at its very centre there is no direction


@dataclass(frozen=True, eq=False)
class Finding:
    """What a painter puts into a scan.

    Attributes:
        level: (D, H, W) mm; the finding lies where it is above zero.
        hu: its HU, or the name of the material that it is made of.
        texture: standard deviation of its HU.
        code: what its voxels are labelled; 0: none of the structures, None: as before.
        over_bone: whether it also replaces bone.
    """

    level: Tensor
    hu: float | str
    texture: float = 8.0
    code: int | None = None
    over_bone: bool = False


@dataclass(frozen=True, eq=False)
class Scene:
    """A patient in a view.

    Attributes:
        organs: what each code is.
        points: (3, D, H, W) LPS mm, the place in the anatomy that each voxel shows.
        spacing_mm: of the voxels.
        rng, noise: what is drawn at random is drawn from these.
        findings: in the order in which they are painted.
        added_hu: (D, H, W) HU on top of everything, as streaks.
    """

    organs: RandomOrgans
    points: Tensor
    spacing_mm: float
    rng: np.random.Generator
    noise: Noise
    findings: tuple[Finding, ...] = ()
    added_hu: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the voxels along D, H, W."""
        depth, height, width = self.points.shape[1:]
        return depth, height, width

    def codes(self) -> Tensor:
        """Look up the code (D, H, W) of every voxel: findings are not in it."""
        return self.organs.codes_at(self.points)

    def structures(self) -> Tensor:
        """Look up the structure (D, H, W) of every voxel: findings are not in it."""
        return self.organs.structure_of_code[self.codes()]

    def places(self) -> Tensor:
        """Return the places (3, D, H, W) of the voxels, x, y, z in mm from the view's middle."""
        axes = [(torch.arange(n, device=self.points.device) - (n - 1) / 2) * self.spacing_mm for n in self.shape]
        z, y, x = torch.meshgrid(*axes, indexing="ij")
        return torch.stack([x, y, z])

    def place_of(self, voxel: Tensor) -> Tensor:
        """Return the place (3,) of a voxel (k, j, i)."""
        middle = (torch.tensor(self.shape, device=voxel.device) - 1) / 2
        return ((voxel - middle) * self.spacing_mm).flip(0)

    def any_voxel(self, mask: Tensor) -> Tensor | None:
        """Draw one of the voxels (k, j, i) of a mask (D, H, W); None where it is empty."""
        voxels = mask.nonzero()
        return voxels[int(self.rng.integers(len(voxels)))] if len(voxels) else None

    def code_of(self, structure: int) -> int | None:
        """Return the first of the anatomy's own codes that stands for a structure; None without one."""
        own = self.organs.structure_of_code[: len(self.organs.source.structure_of_code)]
        codes = (own == structure).nonzero()
        return int(codes[0, 0]) if len(codes) else None

    def with_finding(self, finding: Finding) -> Scene:
        """Return the scene with one more finding."""
        return dataclasses.replace(self, findings=(*self.findings, finding))

    def pushed_aside(self, centre: Tensor, radii_mm: Tensor) -> Scene:
        """Return the scene with everything pushed out of an ellipsoid, as by what has grown there.

        Volumes keep their size: a shell of radius r comes from one of radius (r^3 - 1)^(1/3), in radii.

        Args:
            centre: (3,) place. radii_mm: (3,) along x, y, z.
        """
        offset, away = self._offset(centre, radii_mm)
        before = (away**3 - 1).clamp(min=0) ** (1 / 3)
        return self._shows(centre.view(3, 1, 1, 1) + offset * (before / away))

    def swollen(self, centre: Tensor, radius_mm: float, factor: float) -> Scene:
        """Return the scene with the surroundings of a place (3,) enlarged by a factor, fading out over the radius."""
        offset, away = self._offset(centre, torch.full((3,), radius_mm, device=centre.device))
        smaller = 1 - (1 - 1 / factor) * torch.exp(-(away**2) / 2)
        return self._shows(centre.view(3, 1, 1, 1) + offset * smaller)

    def _offset(self, centre: Tensor, radii_mm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offset (3, D, H, W) from a place in mm, and its length (D, H, W) in radii."""
        offset = self.places() - centre.view(3, 1, 1, 1)
        return offset, (offset / radii_mm.view(3, 1, 1, 1)).norm(dim=0).clamp(min=LEAST_RADIUS)

    def _shows(self, places: Tensor) -> Scene:
        """Return the scene whose voxels show what lies at other places (3, D, H, W)."""
        middle = (torch.tensor(self.shape, device=places.device).view(3, 1, 1, 1) - 1) / 2
        return dataclasses.replace(self, points=sample(self.points, places.flip(0) / self.spacing_mm + middle))

    def is_rigid(self, codes: Tensor) -> Tensor:
        """Return where codes (...) are bone or the like (...) bool."""
        rigid = torch.tensor([MATERIAL_INDEX[name] for name in RIGID_MATERIALS], device=codes.device)
        return torch.isin(self.organs.material_of_code[codes], rigid)

    def labelled(self, codes: Tensor, body: Tensor) -> Tensor:
        """Return codes (D, H, W) with those of the findings, within the body (D, H, W) bool."""
        rigid = self.is_rigid(codes)
        for finding in self.findings:
            if finding.code is not None:
                here = (finding.level > 0) & body & (finding.over_bone | ~rigid)
                codes = torch.where(here, finding.code, codes)
        return codes

    def foreign(self) -> Tensor:
        """Return where there are findings that are none of the structures (D, H, W) bool."""
        where = torch.zeros(self.shape, dtype=torch.bool, device=self.points.device)
        for finding in self.findings:
            where = where | ((finding.level > 0) & (finding.code == 0))
        return where
