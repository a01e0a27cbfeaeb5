"""Patients made from label maps, on the fly in torch: shape, contrast, content and view at random, labels known.

Training on such scans carries over to real ones when all of these are drawn wide (Hoffmann et al. 2021, SynthMorph,
doi:10.1109/TMI.2021.3116879; Billot et al. 2023, SynthSeg, doi:10.1016/j.media.2023.102789).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.grid import Grid
from ..errors import InputError
from ..features.label_table import NUMBER
from ..features.semantic_net import SEMANTIC_SPACING_MM as SPACING
from ..tensor.convert import to_tensor
from ..tensor.lattice import sample
from .anatomy import Anatomy
from .arms_and_table import arms
from .organ_exchange import EXCHANGED, HARD, Exchange, parts, rearranged

AIR = -1000.0

# HU in a native, an arterial and a portal venous scan; how much patients differ; texture (standard deviations)
MATERIALS: dict[str, tuple[float, float, float, float, float]] = {
    "air": (-985, -985, -985, 10, 5),
    "lung": (-840, -840, -830, 50, 45),
    "fat": (-102, -101, -99, 8, 10),
    "skin": (0, 5, 10, 20, 15),
    "muscle": (50, 55, 62, 10, 14),
    "artery": (42, 290, 150, 30, 6),
    "vein": (42, 70, 130, 20, 8),
    "portal": (42, 90, 160, 25, 8),
    "heart": (42, 190, 130, 35, 15),
    "liver": (55, 72, 108, 14, 9),
    "spleen": (48, 115, 120, 14, 9),
    "kidney": (33, 160, 180, 25, 10),
    "medulla": (30, 75, 165, 25, 12),
    "pancreas": (38, 95, 92, 15, 20),
    "gland": (30, 65, 70, 15, 10),
    "bile": (8, 8, 9, 10, 4),
    "urine": (6, 6, 10, 8, 4),
    "wall": (40, 65, 85, 12, 10),
    "cartilage": (110, 110, 115, 35, 40),
    "disc": (80, 82, 85, 12, 10),
    "cord": (35, 38, 40, 8, 6),
    "bone": (480, 480, 490, 120, 80),
    "marrow": (170, 175, 185, 60, 45),
    "lumen": (20, 20, 22, 15, 15),
    "mesentery": (30, 45, 55, 20, 25),
}
INDEX = {name: number for number, name in enumerate(MATERIALS)}
REARRANGED = 0.6  # share of patients whose structures lie nearer to, or farther from, where another anatomy has them
MOST_EXCHANGED = 3  # organs taken from others
MAY_MISS = ("kidney", "spleen", "gallbladder", "bladder", "stomach")
ARMS = 0.12  # share of patients whose arms hang beside the trunk


@dataclass(frozen=True)
class Sample:
    """A synthesised scan: values (3, D, H, W) as `Scan.values` has them and structures (D, H, W), int64.

    codes (D, H, W), int64: the anatomy's own layers, where there is an anatomy.
    """

    values: Tensor
    structures: Tensor
    codes: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """Where the views of an anatomy lie, LPS mm: its middle, heights, and the middles of its parts (N, 3)."""

    centre: np.ndarray
    levels: tuple[float, float]
    abdomen: float  # z, around which most views are centred
    middles: np.ndarray

    @classmethod
    def around(cls, middles: np.ndarray, upper: np.ndarray) -> Frame:
        """From the parts' middles (N, 3) and the heights of those in the upper abdomen (may be empty)."""
        centre = np.median(middles, axis=0)
        low, high = np.percentile(middles[:, 2], (3, 97))
        return cls(centre, (float(low), float(high)), float(upper.mean() if len(upper) else centre[2]), middles)


class Source:
    """An anatomy on a device, ready to be drawn from; `others` lend it their arrangement and organs."""

    def __init__(self, anatomy: Anatomy, device: torch.device | str = "cpu") -> None:
        self.anatomy, self.device, self.annotated = anatomy, torch.device(device), anatomy.annotated
        self.codes = to_tensor(anatomy.codes, device).to(torch.uint8)
        self._rimmed = functional.pad(self.codes, (1,) * 6)  # 0 around, which every point beyond the map shows
        self.height = to_tensor(anatomy.height, device)[None]
        self.structure = torch.tensor([layer.structure for layer in anatomy.layers], device=device)
        self.material = torch.tensor([INDEX.get(layer.material, -1) for layer in anatomy.layers], device=device)
        middles = [anatomy.middle(code) for code in range(1, len(anatomy.layers))]
        if all(middle is None for middle in middles):
            raise InputError(f"{anatomy.name}: its structures are too small to synthesise patients from")
        self.parts, self.others = parts(anatomy), list[Source]()
        upper = [m[2] for m in map(anatomy.middle, _abdominal(anatomy)) if m is not None]
        self.frame = Frame.around(np.array([m for m in middles if m is not None]), np.array(upper))

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """The scan of this seed; see `synthesise`."""
        return synthesise(self, shape, seed)

    def at(self, points: Tensor) -> Tensor:
        """The codes at LPS points (3, ...) in mm: the nearest voxel, 0 outside; int64."""
        index = indices(points, self.anatomy.grid).round_()
        k, j, i = (x.clamp_(-1, n).int() + 1 for x, n in zip(index, self.codes.shape, strict=True))
        _, rows, columns = self._rimmed.shape
        flat = ((k * rows + j) * columns + i).flatten()
        return self._rimmed.flatten().index_select(0, flat).view(points.shape[1:]).long()

    def shown(self, points: Tensor) -> Tensor:
        """1 where the map reaches along the body, else 0; float."""
        level = indices(points, self.anatomy.grid)[0]
        return ((level >= 0) & (level <= len(self.codes) - 1)).float()

    def above_wall(self, points: Tensor) -> Tensor:
        """mm above the trunk's wall at LPS points (3, ...)."""
        index = indices(points, self.anatomy.height_grid)
        return sample(self.height, index)[0]


def indices(points: Tensor, grid: Grid) -> Tensor:
    """Continuous indices (3, ...) in the order D, H, W of LPS points (3, ...) in mm."""
    turn = to_tensor(np.linalg.inv(grid.axes), points.device)
    start = to_tensor(grid.origin, points.device).view(3, *[1] * (points.dim() - 1))
    return torch.einsum("ij,j...->i...", turn, points - start).flip(0)


def _abdominal(anatomy: Anatomy) -> list[int]:
    """The codes of the upper abdomen's organs, around which most scans are centred."""
    upper = {NUMBER[name] for name in ("liver", "spleen", "kidney", "pancreas")}
    return [code for code, layer in enumerate(anatomy.layers) if layer.structure in upper]


def synthesise(source: Source, shape: tuple[int, int, int], seed: int, spacing: float = SPACING) -> Sample:
    """The scan of this seed: the same voxels for the same anatomy, shape, spacing, seed, device and version.

    Args:
        shape: (D, H, W) voxels of `spacing` mm, axes along LPS.
    """
    rng = np.random.default_rng(seed)
    noise = Noise(seed, source.device, spacing)
    points = pose(source.frame, shape, rng, noise)
    patient = _Patient.drawn(source, rng)
    if source.others and rng.random() < REARRANGED:
        other = source.others[rng.integers(len(source.others))]
        points = rearranged(points, source.parts, other.parts, rng.uniform(-0.6, 1.0))
    hu, body = _paint(patient, points, rng, noise)
    hu = functional.avg_pool3d(hu[None, None], 2)[0, 0]
    body = functional.avg_pool3d(body[None, None].float(), 2)[0, 0] > 0.5
    hu = scanned(hu, rng, noise)
    hu = torch.where(body, hu.clamp(-1000, 1000), AIR)
    view = source.shown(points)
    if rng.random() < 0.15:  # a round field of view
        view = view * _circle(shape, rng, source.device)
    hu, body = torch.where(view > 0, hu, AIR), body & (view > 0)
    codes = patient.own[patient.codes(points) * body]
    codes = torch.where(patient.gone[codes], 0, codes)
    return Sample(torch.stack([hu, body.float(), view]), patient.structure[codes], codes)


class Noise:
    """Random fields from one seed, for voxels of `spacing` mm."""

    def __init__(self, seed: int, device: torch.device, spacing: float = SPACING) -> None:
        self.device, self.spacing = device, spacing
        self.generator = torch.Generator(device).manual_seed(seed)

    def white(self, *shape: int) -> Tensor:
        """Independent values of unit variance."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def smooth(self, shape: tuple[int, ...], cell: float, channels: int = 1) -> Tensor:
        """(channels, *shape) of about unit variance, changing over about `cell` mm."""
        coarse = [max(round(n * self.spacing / cell), 1) + 2 for n in shape]
        field = self.white(1, channels, *coarse)
        return 1.3 * functional.interpolate(field, size=tuple(shape), mode="trilinear", align_corners=True)[0]


def pose(frame: Frame, shape: tuple[int, int, int], rng: np.random.Generator, noise: Noise) -> Tensor:
    """(3, D, H, W) LPS mm of the anatomy that each voxel of the scan shows."""
    axes = [(torch.arange(n, device=noise.device) - (n - 1) / 2) * noise.spacing for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    where = torch.stack([x, y, z])
    angles = rng.normal(0, (0.08, 0.06, 0.06))
    scale = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.08, 3))
    turn = to_tensor(_rotation(angles) / scale, noise.device)
    height = rng.normal(frame.abdomen, 60) if rng.random() < 0.65 else rng.uniform(*frame.levels)
    centre = frame.centre + np.array([rng.normal(0, 15), rng.normal(0, 12), 0.0])
    centre[2] = height
    moved = torch.einsum("ij,j...->i...", turn, where)
    strength = rng.uniform(0.3, 1.3)
    for cell, size in ((120.0, 13.0), (60.0, 6.0), (28.0, 2.2)):
        moved = moved + strength * size * noise.smooth(shape, cell, 3)
    moved = moved + to_tensor(centre, noise.device).view(3, 1, 1, 1)
    # breathing and posture: what lies before the spine moves along it
    front = torch.sigmoid((float(frame.centre[1]) + 10 - moved[1]) / 25)
    moved = torch.stack([moved[0], moved[1], moved[2] + rng.normal(0, 20) * front])
    for _ in range(rng.integers(0, 6)):  # organs larger or smaller than usual
        middle = frame.middles[rng.integers(len(frame.middles))]
        away = moved - to_tensor(middle, noise.device).view(3, 1, 1, 1)
        reach = rng.uniform(25, 60)
        moved = moved + away * (rng.normal(0, 0.25) * torch.exp(-away.square().sum(0) / (2 * reach**2)))
    return moved


def _rotation(angles: np.ndarray) -> np.ndarray:
    """(3, 3) rotation by a vector of angles in rad."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(angles).as_matrix()


@dataclass(frozen=True, eq=False)
class _Patient:
    """What each code shows in one patient: those of its anatomy, then those of organs taken from others.

    A missing organ shows what surrounds it. `own`: the code of the anatomy that an exchanged organ's stands for.
    """

    source: Source
    structure: Tensor
    material: Tensor
    gone: Tensor  # bool
    own: Tensor
    exchanges: tuple[Exchange, ...] = ()

    @classmethod
    def drawn(cls, source: Source, rng: np.random.Generator) -> _Patient:
        """One patient in about three lacks something."""
        structure, material = source.structure.clone(), source.material.clone()
        missing = torch.zeros_like(structure, dtype=torch.bool)
        labels = [layer.label for layer in source.anatomy.layers]
        for label in sorted({label for label in labels if any(name in label.lower() for name in MAY_MISS)}):
            if rng.random() < 0.06:
                gone = torch.tensor([other == label for other in labels], device=source.device)
                structure[gone], material[gone] = 0, -1
                missing |= gone
        patient = cls(source, structure, material, missing, torch.arange(len(labels), device=source.device))
        for _ in range(rng.integers(0, MOST_EXCHANGED + 1) if source.others else 0):
            patient = patient._with(source.others[rng.integers(len(source.others))], rng)
        return patient

    def _with(self, other: Source, rng: np.random.Generator) -> _Patient:
        """The patient with one organ from another anatomy, a little aside, larger or smaller."""
        common = sorted(self.source.parts.keys() & other.parts.keys())
        common = [key for key in common if key[0] in EXCHANGED and other.parts[key].whole]
        if not common:
            return self
        key = common[rng.integers(len(common))]
        mine, theirs = self.source.parts[key], other.parts[key]
        scale, aside = float(np.exp(rng.normal(0, 0.12))), rng.normal(0, 6, 3)
        if bool(self.gone[mine.codes[0]]):
            return self
        device, offset = self.source.device, len(self.structure)
        exchange = Exchange(
            mine,
            removed=torch.isin(self.own, torch.tensor(mine.codes, device=device)),
            hard=torch.isin(self.material, torch.tensor([INDEX[name] for name in HARD], device=device)),
            added=torch.isin(torch.arange(len(other.structure)), torch.tensor(theirs.codes)).to(device),
            offset=offset, at=other.at, scale=scale, shift=theirs.middle + aside, radius=scale * theirs.radius + 15,
        )  # fmt: skip
        return _Patient(
            self.source,
            torch.cat([self.structure, other.structure]),
            torch.cat([self.material, other.material]),
            torch.cat([self.gone, torch.zeros_like(other.structure, dtype=torch.bool)]),
            torch.cat([self.own, torch.full_like(other.structure, mine.codes[0])]),
            (*self.exchanges, exchange),
        )

    def codes(self, points: Tensor) -> Tensor:
        """What LPS points (3, D, H, W) show; int64 (D, H, W)."""
        codes = self.source.at(points)
        for exchange in self.exchanges:
            codes = exchange.applied(codes, points)
        return codes


def _paint(patient: _Patient, points: Tensor, rng: np.random.Generator, noise: Noise) -> tuple[Tensor, Tensor]:
    """HU and the body on half-voxels (2D, 2H, 2W); points (3, D, H, W). Smooth things are computed per voxel."""
    shape = points.shape[1:]
    fine = functional.interpolate(points[None], scale_factor=2, mode="trilinear", align_corners=False)[0]
    material = patient.material[patient.codes(fine)]
    height = patient.source.above_wall(points)
    fat = (rng.uniform(2, 32) + rng.uniform(2, 10) * noise.smooth(shape, 120)[0]).clamp(min=1.5)
    wall, skin = -rng.uniform(5, 16), 2.5
    above = functional.interpolate(torch.stack([height, height - fat])[None], scale_factor=2, mode="trilinear")[0]
    mesentery = _double(noise.smooth(shape, rng.uniform(8, 20))[0] > rng.uniform(0.2, 2.0))
    inside = torch.where(mesentery, INDEX["mesentery"], INDEX["fat"])
    inside[above[0] > wall] = INDEX["muscle"]
    inside[above[0] > 0] = INDEX["fat"]
    inside[above[1] > -skin] = INDEX["skin"]
    bare = material < 0
    material = torch.where(bare, inside, material)
    body = ~bare | (above[1] < 0)
    if rng.random() < ARMS:
        material, body = _with_arms(patient.source, fine, material, body, float(fat.mean()), rng)
    mean, grain = _contrast(rng, points.device)
    texture = 0.9 * noise.white(*fine.shape[1:]) + _double(
        0.8 * noise.smooth(shape, 8)[0] + 0.6 * noise.smooth(shape, 24)[0]
    )
    hu = mean[material] + grain[material] * texture
    hu = _fill_lumen(hu, material == INDEX["lumen"], points, rng, noise)
    hu += _double(_lesions(points, rng)) * (body & (material != INDEX["lung"]))
    return torch.where(body, hu, AIR), body


def _with_arms(
    source: Source, points: Tensor, material: Tensor, body: Tensor, fat: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Material and body, with arms where there was no body."""
    outside = ~body
    for name, shown in arms(points, source.above_wall, source.frame.centre, fat, rng).items():
        material = torch.where(outside & shown, INDEX[name], material)
        body = body | shown
    return material, body


def _double(x: Tensor) -> Tensor:
    """(D, H, W) -> (2D, 2H, 2W), every voxel eight times."""
    return x[:, None, :, None, :, None].expand(-1, 2, -1, 2, -1, 2).reshape([2 * n for n in x.shape])


def _contrast(rng: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean HU and texture of every material in one patient's scan."""
    table = np.array(list(MATERIALS.values()))
    phase = rng.dirichlet((0.35, 0.25, 0.4))
    mean = table[:, :3] @ phase + rng.normal(0, 1, len(table)) * table[:, 3]
    mean[INDEX["medulla"]] += (mean[INDEX["kidney"]] - mean[INDEX["medulla"]]) * rng.uniform(0, 1)
    if rng.random() < 0.2:  # any contrast between soft tissues
        soft = (table[:, 0] > -20) & (table[:, 0] < 130)
        mean[soft] = rng.uniform(-20, 200, soft.sum())
    if rng.random() < 0.12:
        mean[INDEX["urine"]] = rng.uniform(100, 600)
    return to_tensor(mean, device), to_tensor(table[:, 4] * rng.uniform(0.5, 1.6, len(table)), device)


def _fill_lumen(hu: Tensor, lumen: Tensor, points: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
    """Gas in front, fluid behind, stool or contrast medium in between: what stomach and bowel hold."""
    shape = points.shape[1:]
    kind = noise.smooth(shape, 20)[0]
    front = (points[1].mean() - points[1]) / 60
    gas = kind + front + rng.normal(0, 0.3) > rng.uniform(-0.5, 3.0)
    other = noise.smooth(shape, 28)[0] > rng.uniform(-1, 2)
    content = rng.uniform(120, 450) if rng.random() < 0.3 else rng.uniform(-60, 80)
    held = content + 0.15 * abs(content) * kind + 20 * noise.white(*shape)
    hu = torch.where(lumen & _double(other), _double(held), hu)
    return torch.where(lumen & _double(gas), -950.0, hu)


def _lesions(points: Tensor, rng: np.random.Generator) -> Tensor:
    """(D, H, W) HU to add: a few round things that belong to nothing, as cysts, masses, metal."""
    hu = torch.zeros_like(points[0])
    for _ in range(rng.integers(0, 4)):
        k, j, i = (int(rng.integers(n)) for n in hu.shape)
        away = (points - points[:, k, j, i].view(3, 1, 1, 1)).square().sum(0)
        radius = rng.uniform(5, 22)
        hu += (2500.0 if rng.random() < 0.05 else rng.normal(0, 45)) * (away < radius**2)
    return hu


def scanned(hu: Tensor, rng: np.random.Generator, noise: Noise) -> Tensor:
    """What the scanner adds: slices of up to 9 mm, noise, streaks."""
    thickness = rng.uniform(1, 9)
    if thickness > noise.spacing:
        count = max(round(hu.shape[0] * noise.spacing / thickness), 8)
        size = hu.shape[1:]
        thin = functional.interpolate(hu[None, None], size=(count, *size), mode="area")
        hu = functional.interpolate(thin, size=hu.shape, mode="trilinear", align_corners=False)[0, 0]
    if rng.random() < 0.3:
        hu = functional.avg_pool3d(functional.pad(hu[None, None], (1,) * 6, mode="replicate"), 3, 1)[0, 0]
    hu = hu + rng.uniform(2, 30) * noise.white(*hu.shape)
    if rng.random() < 0.15:  # low dose: streaks from side to side
        rows = functional.interpolate(noise.white(1, 1, *hu.shape[:2]), size=hu.shape[:2], mode="nearest")[0, 0]
        hu = hu + rng.uniform(5, 25) * rows[..., None]
    return hu


def _circle(shape: tuple[int, int, int], rng: np.random.Generator, device: torch.device) -> Tensor:
    """(D, H, W): 1 within a cylinder along the body."""
    y, x = torch.meshgrid(*[torch.arange(n, device=device) - (n - 1) / 2 for n in shape[1:]], indexing="ij")
    radius = rng.uniform(0.42, 0.6) * max(shape[1:])
    return ((x.square() + y.square()) < radius**2).float().expand(shape)
