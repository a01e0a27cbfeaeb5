"""Compare the structures that the network names in both scans, one by one, under the transform that was found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..core.affine import Affine
from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.image import Image
from ..core.structures import ASTRAY, DOUBTFUL, NOT_COMPARED, OK, Motion, StructureFit, StructureMap, Vector
from ..core.turn import field_back, turned_image
from ..evaluation.metrics import average_surface_distance, surface_distances
from ..evaluation.motion import label_motion
from ..features.label_table import LEVELS, NUMBER, STRUCTURES
from ..tensor.convert import to_array
from ..tensor.execution import ALONE, Work
from ..tensor.lattice import HALF
from ..tensor.scan import Scan
from .patient_sides import name_of, with_sides

LEAST_ML = 1.5  # that a scan must show of a structure, for it to be reported or compared
LEAST_SHARE = 0.25  # of what either scan shows that must lie within what both show
LEAST_CERTAINTY = 0.6  # mean probability; with less, the network does not know the structure
MOST_RATIO = 3.0  # between the two volumes within what both scans show

# A structure that gains ASTRAY_GAIN of Dice when it is moved back by its shift, of ASTRAY_MM or more, is astray. Chosen
# by `benchmarks.structures`: of 444 structures of registered pairs none is; of the same ones, moved by 30 mm for the
# purpose, 2 % are still called ok, by 20 mm 19 %.
ASTRAY_MM, ASTRAY_GAIN = 15.0, 0.1
NO_DICE = 0.05  # the outlines do not meet at all
DOUBTFUL_SURFACE_MM = 8.0  # two voxels; 95 % of those structures stay below it
MOST_SURFACE = 400  # voxels of a surface from which the distance is measured: their mean needs no more

NUMBERS = 256  # of structures with their sides
_VERTEBRAE = frozenset(NUMBER[f"vertebra_{level}"] for level in LEVELS)


def compare_structures(
    fixed: Scan,
    moving: Scan,
    field: DisplacementField,
    affine: Affine,
    work: Work = ALONE,
    error: Image | None = None,
    turns: tuple[Affine, Affine] | None = None,
) -> tuple[StructureFit, ...]:
    """Compare every structure that the network names in either scan; empty where no network was used.

    Everything is compared within what both scans show, so that a structure cut by the end of a view has no false
    shift: both of its outlines are cut there.

    Args:
        fixed, moving: with the structures that `features.semantic_codes.with_semantic_codes` named.
        field: fixed to moving points, LPS mm.
        affine: the alignment within it, from which follows how much larger the moving patient is.
        error: the expected error, mm, on any grid.
        turns: by which the scans were turned for the registration, LPS mm; the motion is between them as they were.
    """
    if fixed.named is None or moving.named is None:
        return ()
    numbers = _numbers(fixed.named, moving.named)
    work.tick()
    pair = _pair(*numbers, _view(fixed), _view(moving), field, affine)
    work.tick()
    volumes = [_volumes_ml(image) for image in numbers]
    certainty = np.minimum(*(_certainty(*each) for each in zip(numbers, (fixed.named, moving.named), strict=True)))
    errors = {} if error is None else _mean_errors(numbers[0], error)
    motion = _motion(Image(pair.fixed, pair.grid), field, turns)
    work.tick()
    fits = []
    for number in np.flatnonzero(np.maximum(*volumes) >= LEAST_ML):
        found = _fit(pair, int(number), float(volumes[0][number]), float(volumes[1][number]), certainty[number])
        moved = None if found.verdict == NOT_COMPARED else motion[int(number)]
        fits.append(dataclasses.replace(found, expected_error_mm=errors.get(int(number)), motion=moved))
        work.tick()
    return tuple(fits)


def _motion(numbers: Image, field: DisplacementField, turns: tuple[Affine, Affine] | None) -> dict[int, Motion]:
    """Measure the motion of every structure of the fixed scan, between the scans before they were turned."""
    if turns is not None:
        numbers, field = turned_image(numbers, turns[0].inverse), field_back(field, *turns)
    return label_motion(numbers, field.to_sitk())


@dataclass(frozen=True)
class _Pair:
    """Numbers of the structures on one lattice, and sums over them by number, (256, ...)."""

    grid: Grid
    fixed: np.ndarray  # (D, H, W), 0 outside what both scans show
    warped: np.ndarray  # likewise, of the moving scan
    voxels: tuple[np.ndarray, np.ndarray]  # of both
    shared: np.ndarray  # voxels with the same number in both
    centroids: tuple[np.ndarray, np.ndarray]  # (256, 3) LPS mm, of both
    boxes: tuple[list[tuple[slice, ...] | None], list[tuple[slice, ...] | None]]
    middles: np.ndarray  # (256, 3) LPS mm, where the fixed scan shows it; else where the warped moving scan does
    has_middle: np.ndarray  # (256,) bool, whether either does, within the lattice
    growth: float  # volume in the moving scan over that in the fixed one, on average


def _numbers(fixed: StructureMap, moving: StructureMap) -> tuple[Image, Image]:
    """Return the numbers of both scans with their sides, or without where one of them does not tell the sides."""
    sided = with_sides(fixed.numbers), with_sides(moving.numbers)
    if sided[0] is None or sided[1] is None:
        return fixed.numbers, moving.numbers
    return sided[0], sided[1]


def _view(scan: Scan) -> Image:
    return Image((to_array(scan.view) > HALF).astype(np.uint8), scan.grid)


def _pair(
    fixed: Image, moving: Image, fixed_view: Image, moving_view: Image, field: DisplacementField, affine: Affine
) -> _Pair:
    grid, transform = fixed.grid, field.to_sitk()
    warped = moving.resample(grid, transform, labels=True).array
    shown = fixed_view.resample(grid, labels=True).array & moving_view.resample(grid, transform, labels=True).array
    cut, cut_warped = fixed.array * shown, warped * shown
    voxels, centroids = zip(*(_centroids(Image(array, grid)) for array in (cut, cut_warped)), strict=True)
    (voxels_fixed, whole), (voxels_warped, whole_warped) = _centroids(fixed), _centroids(Image(warped, grid))
    same = cut[cut == cut_warped]
    return _Pair(
        grid=grid,
        fixed=cut,
        warped=cut_warped,
        voxels=voxels,
        shared=np.bincount(same, minlength=NUMBERS),
        centroids=centroids,
        boxes=(_boxes(cut), _boxes(cut_warped)),
        middles=np.where((voxels_fixed > 0)[:, None], whole, whole_warped),
        has_middle=(voxels_fixed + voxels_warped) > 0,
        growth=float(abs(np.linalg.det(affine.matrix))),
    )


def _centroids(numbers: Image) -> tuple[np.ndarray, np.ndarray]:
    """Count the voxels of every number (256,), and find their centroids (256, 3) in LPS mm (index 0 where none)."""
    place = np.flatnonzero(numbers.array)
    values = numbers.array.reshape(-1)[place]
    count = np.bincount(values, minlength=NUMBERS)
    kji = np.unravel_index(place, numbers.array.shape)
    sums = np.stack([np.bincount(values, index, minlength=NUMBERS) for index in kji[::-1]], -1)
    return count, numbers.grid.index_to_point(sums / np.maximum(count, 1)[:, None])


def _boxes(numbers: np.ndarray) -> list[tuple[slice, ...] | None]:
    """Find the bounding box of every number; None where there is none."""
    found = ndimage.find_objects(numbers)
    return [None, *found, *[None] * (NUMBERS - 1 - len(found))]


def _volumes_ml(numbers: Image) -> np.ndarray:
    count = np.bincount(numbers.array.reshape(-1), minlength=NUMBERS)
    count[0] = 0
    return count * (np.prod(numbers.grid.spacing) / 1000.0)


def _certainty(numbers: Image, named: StructureMap) -> np.ndarray:
    """Average the probability of the voxels of every number, (256,); 1 where there is none."""
    place = np.flatnonzero(numbers.array)
    values = numbers.array.reshape(-1)[place]
    count = np.bincount(values, minlength=NUMBERS)
    sums = np.bincount(values, named.certainty.reshape(-1)[place], minlength=NUMBERS)
    return np.where(count > 0, sums / np.maximum(count, 1), 1.0)


def _mean_errors(numbers: Image, error: Image) -> dict[int, float]:
    """Average the expected error over every structure of the fixed scan: by number, mm."""
    count = np.bincount(numbers.array.reshape(-1), minlength=NUMBERS)
    values = error.resample(numbers.grid).array
    sums = np.bincount(numbers.array.reshape(-1), values.reshape(-1).astype(np.float64), minlength=NUMBERS)
    return {int(number): float(sums[number] / count[number]) for number in np.flatnonzero(count)}


def _fit(pair: _Pair, number: int, fixed_ml: float, moving_ml: float, certainty: float) -> StructureFit:
    """Compare one structure."""
    why = _why_not(pair, number, fixed_ml, moving_ml, certainty)
    verdict, dice, shift, surface = NOT_COMPARED, None, None, None
    if not why:
        dice = 2 * float(pair.shared[number]) / float(pair.voxels[0][number] + pair.voxels[1][number])
        shift = pair.centroids[1][number] - pair.centroids[0][number]
        masks = _masks(pair, number)
        surface = average_surface_distance(*surface_distances(*masks, pair.grid.spacing, MOST_SURFACE))
        verdict, why = _judged(number, dice, _dice_without_shift(*masks), float(np.linalg.norm(shift)), surface)
    return StructureFit(
        name=name_of(number, STRUCTURES),
        verdict=verdict,
        reason=why,
        centre_lps_mm=_vector(pair.middles[number]) if pair.has_middle[number] else None,
        fixed_ml=fixed_ml,
        moving_ml=moving_ml,
        dice=dice,
        shift_lps_mm=None if shift is None else _vector(shift),
        surface_mm=surface,
        certainty=float(certainty),
    )


def _why_not(pair: _Pair, number: int, fixed_ml: float, moving_ml: float, certainty: float) -> str:
    """Say why a structure cannot be compared; an empty text where it can."""
    for side, volume in (("fixed", fixed_ml), ("moving", moving_ml)):
        if volume < LEAST_ML:
            return f"not seen in the {side} scan"
    voxel_ml = float(np.prod(pair.grid.spacing)) / 1000.0
    shown = [float(voxels[number]) * voxel_ml for voxels in pair.voxels]
    seen = shown[0] >= LEAST_SHARE * fixed_ml and shown[1] * pair.growth >= LEAST_SHARE * moving_ml
    if min(shown) < LEAST_ML or not seen:
        return "too little of it within both views"
    if certainty < LEAST_CERTAINTY:
        return "the network is unsure of it"
    if max(shown) > MOST_RATIO * min(shown):
        return "its sizes do not go together"
    return ""


def _judged(number: int, dice: float, without_shift: float, shift_mm: float, surface_mm: float) -> tuple[str, str]:
    """Judge a structure by its Dice, that without the shift, its shift and the distance of its surfaces.

    Two people's colons have different middles though each lies where it should. What tells a structure astray is that
    moving it back by its shift makes the outlines fit, which it does not where only the shapes differ.
    """
    moved_away = shift_mm >= ASTRAY_MM and (without_shift - dice >= ASTRAY_GAIN or dice < NO_DICE)
    if moved_away and number in _VERTEBRAE:
        return DOUBTFUL, "a level off, or the network counts the levels differently"
    if moved_away:
        return ASTRAY, f"lies {shift_mm / 10:.0f} cm away from its counterpart"
    if surface_mm >= DOUBTFUL_SURFACE_MM:
        return DOUBTFUL, "its outlines differ"
    return OK, ""


def _masks(pair: _Pair, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut the masks of a structure, fixed and warped, to the box that holds both."""
    boxes = [box for boxes in pair.boxes if (box := boxes[number]) is not None]
    box = tuple(slice(min(p.start for p in along), max(p.stop for p in along)) for along in zip(*boxes, strict=True))
    return pair.fixed[box] == number, pair.warped[box] == number


def _dice_without_shift(fixed: np.ndarray, warped: np.ndarray) -> float:
    """Compute the Dice of two masks (D, H, W), the centroid of one put on that of the other, to whole voxels."""
    places = [np.argwhere(mask) for mask in (fixed, warped)]
    centred = places[1] + np.rint(places[0].mean(0) - places[1].mean(0)).astype(int)
    inside = centred[((centred >= 0) & (centred < fixed.shape)).all(1)]
    return 2 * float(fixed[tuple(inside.T)].sum()) / (len(places[0]) + len(places[1]))


def _vector(values: np.ndarray) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
