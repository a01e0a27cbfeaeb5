"""Make seeded pairs of crops with a known common part: 50 of one scan under a random similarity, 18 of two people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.validation_pairs import Subject, common, real, real_names, virtual, whole_view
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.hounsfield import PADDING_HU
from pddnet.core.image import Image
from pddnet.core.masks import body_mask

SEED = 7
COUNTS = {"real, same": 32, "virtual, same": 18, "real, other": 10, "virtual, other": 8}
OVERLAP_MM = (80.0, 160.0)  # common anatomy along head-foot
SCALE, ROTATION_DEGREES, TRANSLATION_MM = (0.85, 1.15), 15.0, 200.0  # of the moving patient; the last two at most
NOISE_HU, CONTRAST_HU = 15.0, 30.0  # of the moving crop
CONTRAST_SIGMA_MM = 40.0  # how smooth its change of contrast is
LEAST_LANDMARKS = 3
FIRST_SEED = 501
TRIES = 1000


@dataclass(frozen=True)
class Crops:
    """Two scans, and corresponding points of their common part, (N, 3) LPS mm; `labels` names them if landmarks."""

    kind: str
    names: tuple[str, str]
    fixed: Image
    moving: Image
    fixed_points: np.ndarray
    moving_points: np.ndarray
    labels: list[str]
    overlap_mm: float  # along head-foot
    spine: np.ndarray  # (3,) unit vector: head-foot in the moving crop
    pose: str


def all_crops(only: Sequence[int] | None = None) -> Iterator[tuple[int, Crops]]:
    """Yield the same crops every time with their numbers, or only these numbers; real scans only where they are."""
    for number, (kind, names) in enumerate(_chosen()):
        if only is not None and number not in only:
            continue
        rng = np.random.default_rng([SEED, number])
        same = names[0] == names[1]
        fixed, moving = (_subject(name) for name in names)
        tries = (_cut(kind, names, fixed, moving, same, rng) for _ in range(TRIES))
        crops = next((crops for crops in tries if crops is not None), None)
        if crops is None:
            raise ValueError(f"{names}: no crops with {OVERLAP_MM[0]:.0f} mm in common after {TRIES} tries")
        yield number, crops


def _chosen() -> list[tuple[str, tuple[str, str]]]:
    rng = np.random.default_rng(SEED)
    scans = real_names()
    patients = [f"patient {FIRST_SEED + i}" for i in range(COUNTS["virtual, same"])]
    others = [f"patient {FIRST_SEED + 100 + i}" for i in range(2 * COUNTS["virtual, other"])]
    pairs = [pair for pair in itertools.permutations(scans, 2) if len(common(*map(real, pair))[0]) >= 6]
    picked = rng.permutation(len(pairs))[: COUNTS["real, other"]]
    turns = itertools.islice(itertools.cycle(scans), COUNTS["real, same"]) if scans else ()
    return [
        *(("real, same", (name, name)) for name in turns),
        *(("virtual, same", (name, name)) for name in patients),
        *(("real, other", pairs[i]) for i in picked),
        *(("virtual, other", pair) for pair in zip(others[::2], others[1::2], strict=True)),
    ]


def _subject(name: str) -> Subject:
    return virtual(int(name.split()[1]), whole_view) if name.startswith("patient ") else real(name)


def _cut(
    kind: str, names: tuple[str, str], fixed: Subject, moving: Subject, same: bool, rng: np.random.Generator
) -> Crops | None:
    """Cut one pair at random; None where too little is common."""
    slope, shift = (1.0, 0.0) if same else _levels(fixed, moving)
    fixed_ends = _heights(fixed.image.grid)
    moving_ends = (_heights(moving.image.grid) - shift) / slope  # in the fixed scan's z
    low, high = max(fixed_ends[0], moving_ends[0]), min(fixed_ends[1], moving_ends[1])
    overlap = rng.uniform(*OVERLAP_MM)
    if high - low < overlap:
        return None
    low = rng.uniform(low, high - overlap)
    high = low + overlap
    spans = [[low, high], [low, high]]
    ends = (fixed_ends, moving_ends)
    above = int(rng.random() < 0.5)  # which of the two goes on above the common part; the other goes on below
    spans[above][1] = rng.uniform(high, ends[above][1])
    spans[1 - above][0] = rng.uniform(ends[1 - above][0], low)
    box = _box(fixed.image.grid, spans[0], rng)
    source = _box(moving.image.grid, [slope * z + shift for z in spans[1]], rng)
    pose, text = _pose(source.centre, rng)
    warped = _scanned(moving.image, source, pose, rng)
    crop = fixed.image.resample(box)
    fixed_points, moving_points, labels = _truth(fixed, moving, crop, source, pose, same)
    if len(fixed_points) < LEAST_LANDMARKS:
        return None
    spine = pose.matrix[:, 2] / np.linalg.norm(pose.matrix[:, 2])
    return Crops(kind, names, crop, warped, fixed_points, moving_points, labels, overlap, spine, text)


def _heights(grid: Grid) -> np.ndarray:
    return np.array([grid.corners()[:, 2].min(), grid.corners()[:, 2].max()])


def _levels(fixed: Subject, moving: Subject) -> tuple[float, float]:
    """Fit z in the moving scan = slope * z in the fixed scan + shift to the common landmarks; return both."""
    _, fixed_points, moving_points = common(fixed, moving)
    fixed_z, moving_z = fixed_points[:, 2], moving_points[:, 2]
    slope = float(np.clip(np.polyfit(fixed_z, moving_z, 1)[0], 0.8, 1.25))
    return slope, float(np.mean(moving_z - slope * fixed_z))


def _box(grid: Grid, span: list[float], rng: np.random.Generator) -> Grid:
    """Cut a grid along LPS between two heights in mm, and by up to 6 % at each side."""
    first = grid.point_to_index(np.array([*grid.origin[:2], span[0]]))[2]
    last = grid.point_to_index(np.array([*grid.origin[:2], span[1]]))[2]
    margins = np.round(rng.uniform(0, 0.06, (2, 2)) * grid.size[:2]).astype(int)
    start = np.array([*margins[0], max(np.ceil(first), 0)], int)
    stop = np.array([*(grid.size[:2] - margins[1]), min(np.floor(last) + 1, grid.size[2])], int)
    return Grid(tuple((stop - start)[::-1]), grid.spacing, grid.index_to_point(start), grid.direction)


def _pose(centre: np.ndarray, rng: np.random.Generator) -> tuple[Affine, str]:
    """Draw a similarity from the moving scan's frame to the crop's frame, and describe it."""
    axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    angle, scale, length = (
        np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES)),
        rng.uniform(*SCALE),
        rng.uniform(0, TRANSLATION_MM),
    )
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    matrix = scale * (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
    text = f"scale {scale:.2f}, {abs(np.rad2deg(angle)):.0f} degrees, {length:.0f} mm"
    return Affine(matrix, centre + length * way - matrix @ centre), text


def _scanned(image: Image, source: Grid, pose: Affine, rng: np.random.Generator) -> Image:
    """Resample the patient in the new pose on a view as large as the source box, with other noise and contrast."""
    scale = np.cbrt(np.linalg.det(pose.matrix))
    spacing = source.spacing * rng.uniform(0.9, 1.2, 3)
    size = np.maximum(np.round(source.extent * scale / spacing).astype(int), 2)
    origin = pose.points(source.centre) - (size - 1) / 2 * spacing
    grid = Grid(tuple(size[::-1]), spacing, origin, np.eye(3))
    back = sitk.AffineTransform(3)
    inverse = np.linalg.inv(pose.matrix)
    back.SetMatrix(inverse.ravel().tolist())
    back.SetTranslation((-inverse @ pose.shift).tolist())
    hu = image.resample(grid, back, fill=PADDING_HU).array.astype(np.float32)
    real_view = Image(np.ones(image.array.shape, np.uint8), image.grid).resample(grid, back, labels=True).array > 0
    hu = hu + _contrast(hu, grid, rng) + NOISE_HU * rng.standard_normal(hu.shape, np.float32)
    hu = np.where(real_view, np.maximum(hu, PADDING_HU + 1), PADDING_HU)  # the noise must not hide where the view ends
    return Image(np.rint(hu).astype(np.int16), grid)


def _contrast(hu: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth change of at most CONTRAST_HU, of soft tissue only."""
    sigma = CONTRAST_SIGMA_MM / grid.spacing[::-1]
    smooth = ndimage.gaussian_filter(rng.standard_normal(hu.shape, np.float32), sigma)
    soft_tissue = (hu > -20) & (hu < 300)
    return np.where(soft_tissue, CONTRAST_HU * smooth / np.abs(smooth).max(), 0)


def _truth(
    fixed: Subject, moving: Subject, crop: Image, source: Grid, pose: Affine, same: bool
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return corresponding points of both crops: every 10 mm of the common body of one patient, else the landmarks."""
    names, fixed_points, moving_points = common(fixed, moving)
    if same:
        coarse = crop.coarsen(5.0)
        body = body_mask(coarse).array
        fixed_points = moving_points = coarse.grid.points()[body][::8]
        names = []
    in_view = crop.grid.contains(fixed_points) & source.contains(moving_points)
    labels = [name for name, inside in zip(names, in_view, strict=True) if inside] if names else []
    return fixed_points[in_view], pose.points(moving_points[in_view]), labels
