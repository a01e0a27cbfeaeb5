"""Make two scans of one patient from one real scan, with the true displacement of every point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from benchmarks.same_patient_pairs import LUNG, SamePatient
from benchmarks.validation_pairs import real_folder
from pddnet.core.grid import Grid
from pddnet.core.hounsfield import PADDING_HU
from pddnet.core.image import Image
from pddnet.core.masks import body_mask
from pddnet.io.volumes import read_volume

LATTICE_MM = 4.0  # of the displacements
RANDOM_SIGMA_MM = 25.0
DIAPHRAGM_MM, FRONT_MM = 60.0, 90.0  # widths of the breathing along the body's axis
WALL_MM, WALL_SIGMA_MM = 22.0, 6.0  # the body wall that stays where organs slide, and its blurred inner side
INVERSE_ROUNDS, INVERSE_ERROR_MM = 60, 0.02
FIXED_MARGIN_MM, MOVING_MARGIN_MM = (8.0, 8.0, 8.0), (4.0, 14.0, 24.0)  # around the part that both scans show
POINTS = 4000
VIEW_MARGIN = 2.0  # voxels: points must lie so far within the moving scan
NOISE_SIGMA_VOXELS = (0.3, 0.6, 0.6)
LUNG_HU, LEAST_LUNG_ML = -500, 300
HIGHEST_HU = 2000


@dataclass(frozen=True)
class Truth:
    """Points of the fixed scan (N, 3) LPS mm, where they lie in the moving scan, and which of them lie in a lung."""

    fixed: np.ndarray
    moving: np.ndarray
    lung: np.ndarray  # (N,) bool


def make(pair: SamePatient) -> tuple[Image, Image, Truth]:
    """Make the fixed and the moving scan of a pair, and the truth."""
    rng = np.random.default_rng(pair.seed)
    scan = read_volume(real_folder(pair.scan) / "ct.nii.gz")[0].canonical()
    patient = _Patient.of(scan, pair)
    motion = _Motion.of(patient, pair, rng)
    fixed = _cropped(scan, patient.part, FIXED_MARGIN_MM) if patient.crops else scan
    moving = scan if pair.identical else _second_scan(patient, motion, pair, rng)
    return fixed, moving, _truth(patient, motion, fixed, moving, pair, rng)


@dataclass(frozen=True)
class _Patient:
    """A scan with its body, its lungs, and the part (LPS mm, low and high corner) that both scans of a pair show."""

    scan: Image
    body: Image
    lung: Image
    part: np.ndarray  # (2, 3)
    crops: bool
    region: Image  # where the error is measured

    @classmethod
    def of(cls, scan: Image, pair: SamePatient) -> _Patient:
        coarse = scan.clip(-1024, 2000).coarsen(LATTICE_MM)
        body = body_mask(coarse)
        lung = Image(_lungs(coarse.array, body.array, coarse.grid), coarse.grid)
        region = body
        box = _box(body)
        if pair.kind == LUNG:
            region = Image(_one_lung(lung, pair.side), coarse.grid)
            part = _box(region)
        else:
            shares = np.array(pair.box).T
            part = box[0] + shares * (box[1] - box[0])
        return cls(scan, body, lung, part, not pair.whole, region)


def _lungs(hu: np.ndarray, body: np.ndarray, grid: Grid) -> np.ndarray:
    """Mark the air of the lungs: the large parts of air within the body."""
    air = ndimage.binary_opening((hu < LUNG_HU) & body)
    parts, count = ndimage.label(air)
    volumes_ml = np.bincount(parts.ravel(), minlength=count + 1) * float(grid.spacing.prod()) / 1000
    large = volumes_ml >= LEAST_LUNG_ML
    large[0] = False
    return large[parts]


def _one_lung(lung: Image, side: str) -> np.ndarray:
    """Keep one lung: the voxels on one side of the middle of both (LPS: the patient's right has the lower x)."""
    x = lung.grid.points()[..., 0]
    columns = x[lung.array]
    middle = (columns.min() + columns.max()) / 2
    half = lung.array & ((x < middle) if side == "right" else (x > middle))
    parts, count = ndimage.label(half)
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel(), minlength=count + 1)[1:]))


def _box(mask: Image) -> np.ndarray:
    points = mask.grid.points()[mask.array]
    return np.stack([points.min(0), points.max(0)])


@dataclass(frozen=True)
class _Motion:
    """Motion of the patient: x -> turn(x + u(x)), fixed to moving points in LPS mm; u on a lattice."""

    u: np.ndarray  # (3, D, H, W) mm, components x, y, z
    grid: Grid
    matrix: np.ndarray
    centre: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, patient: _Patient, pair: SamePatient, rng: np.random.Generator) -> _Motion:
        grid = patient.body.grid.isotropic(LATTICE_MM, 40.0)
        points = grid.points()
        bottom = _diaphragm(patient)
        breathing = np.zeros((3, *grid.shape))
        breathing[2] = -pair.amplitude_mm * np.exp(-(((points[..., 2] - bottom) / DIAPHRAGM_MM) ** 2))
        breathing[1] = -pair.amplitude_mm / 3 * np.exp(-(((points[..., 2] - bottom) / FRONT_MM) ** 2))
        if pair.sliding:
            breathing *= _inside_the_wall(patient.body, grid)
        u = breathing + _random(grid, pair.random_mm, rng)
        axis = rng.normal(size=3)
        turn = Rotation.from_rotvec(np.deg2rad(pair.degrees) * axis / np.linalg.norm(axis)).as_matrix()
        return cls(u, grid, turn, patient.part.mean(0), np.array(pair.shift_mm))

    def displacement(self, points: np.ndarray) -> np.ndarray:
        """Interpolate u linearly at points (..., 3); the border's values hold outside."""
        index = np.moveaxis(self.grid.point_to_index(points), -1, 0)[::-1]
        return np.stack([ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in self.u], -1)

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Map fixed to moving points (..., 3)."""
        return (points + self.displacement(points) - self.centre) @ self.matrix.T + self.centre + self.shift

    def back(self, points: np.ndarray) -> np.ndarray:
        """Map moving to fixed points (..., 3) by fixed-point iteration."""
        target = (points - self.shift - self.centre) @ self.matrix + self.centre
        x = target
        for _ in range(INVERSE_ROUNDS):
            x = x + 0.7 * (target - x - self.displacement(x))
        return x


def _diaphragm(patient: _Patient) -> float:
    """Return the height (z, LPS mm) where the breathing is largest: the lungs' lowest voxels, or 40 % of the scan."""
    z = patient.lung.grid.points()[..., 2]
    if patient.lung.array.any():
        return float(np.percentile(z[patient.lung.array], 2))
    return float(z.min() + 0.4 * (z.max() - z.min()))


def _inside_the_wall(body: Image, grid: Grid) -> np.ndarray:
    depth_mm = ndimage.distance_transform_edt(
        np.pad(body.array, ((1, 1), (0, 0), (0, 0)), mode="edge"), body.grid.spacing[::-1]
    )
    inside = (depth_mm[1:-1] > WALL_MM).astype(np.float32)
    inside = ndimage.gaussian_filter(inside, WALL_SIGMA_MM / body.grid.spacing[::-1])
    index = np.moveaxis(body.grid.point_to_index(grid.points()), -1, 0)[::-1]
    return ndimage.map_coordinates(inside, index, order=1, mode="nearest")


def _random(grid: Grid, largest_mm: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=(3, *grid.shape))
    smooth = np.stack([ndimage.gaussian_filter(c, RANDOM_SIGMA_MM / LATTICE_MM) for c in noise])
    return largest_mm * smooth / np.abs(smooth).max((1, 2, 3), keepdims=True)


def _second_scan(patient: _Patient, motion: _Motion, pair: SamePatient, rng: np.random.Generator) -> Image:
    """Scan the patient once more, after the motion: other voxels, other crop, other noise."""
    grid = _second_grid(patient, motion, pair)
    hu = _changed(patient, motion, pair, rng)
    fine = Grid(grid.shape, grid.spacing, grid.origin, grid.direction)
    points = fine.points()
    coarse = Grid(
        np.maximum(np.ceil(fine.extent / LATTICE_MM).astype(int) + 1, 2)[::-1],
        [LATTICE_MM] * 3,
        fine.origin,
        fine.direction,
    )
    back = motion.back(coarse.points()) - coarse.points()
    at = np.moveaxis(coarse.point_to_index(points), -1, 0)[::-1]
    moved = points + np.stack(
        [ndimage.map_coordinates(back[..., c], at, order=1, mode="nearest") for c in range(3)], -1
    )
    spline = ndimage.spline_filter(hu, order=3, mode="nearest", output=np.float32)
    index = np.moveaxis(patient.scan.grid.point_to_index(moved), -1, 0)[::-1]
    array = ndimage.map_coordinates(spline, index, order=3, mode="nearest", prefilter=False)
    array[~patient.scan.grid.contains(moved)] = PADDING_HU
    array = _kernel(array, pair.blur_mm, grid.spacing)
    if pair.slice_mm > grid.spacing[2]:
        array, grid = _thick(array, grid, pair.slice_mm)
    noisy = array + _noise(array.shape, pair.noise_hu, rng) if pair.noise_hu else array
    return Image(np.rint(np.clip(noisy, PADDING_HU, HIGHEST_HU)).astype(np.int16), grid)


def _second_grid(patient: _Patient, motion: _Motion, pair: SamePatient) -> Grid:
    scan = patient.scan.grid
    corners = scan.corners()
    low, high = corners.min(0), corners.max(0)
    if patient.crops:
        margin = np.array(MOVING_MARGIN_MM)
        low, high = np.maximum(patient.part[0] - margin, low), np.minimum(patient.part[1] + margin, high)
    elif pair.moves:
        high = high - np.array([0.0, 0.0, 8.0])
    spacing = scan.spacing.copy()
    if pair.pixel_mm:
        spacing[:2] = pair.pixel_mm
    size = np.maximum(np.round((high - low) / spacing).astype(int), 2)
    return Grid(size[::-1], spacing, low + motion.shift + spacing / 2, np.eye(3))


def _thick(array: np.ndarray, grid: Grid, slice_mm: float) -> tuple[np.ndarray, Grid]:
    factor = max(round(slice_mm / float(grid.spacing[2])), 1)
    count = array.shape[0] // factor
    thick = array[: count * factor].reshape(count, factor, *array.shape[1:]).mean(1)
    spacing = grid.spacing * np.array([1, 1, factor])
    return thick, Grid(thick.shape, spacing, grid.index_to_point([0, 0, (factor - 1) / 2]), grid.direction)


def _kernel(array: np.ndarray, blur_mm: float, spacing: np.ndarray) -> np.ndarray:
    if not blur_mm:
        return array
    smooth = ndimage.gaussian_filter(array, abs(blur_mm) / spacing[::-1])
    return smooth if blur_mm > 0 else array + 0.6 * (array - smooth)


def _changed(patient: _Patient, motion: _Motion, pair: SamePatient, rng: np.random.Generator) -> np.ndarray:
    """Change the tissue as another date does: density of the lung, contrast agent, a lesion filled."""
    scan = patient.scan
    hu = _denoised(scan)
    if pair.amplitude_mm:
        hu = _lung_density(hu, scan.grid, motion)
    if pair.contrast:
        soft = (hu > -20) & (hu < 300)
        enhanced = np.where(hu > 70, 70 + 0.5 * (hu - 70), hu)
        smooth = ndimage.gaussian_filter(rng.normal(size=hu.shape).astype(np.float32), 40 / scan.grid.spacing[::-1])
        hu = np.where(soft, enhanced + 25 * smooth / np.abs(smooth).max(), hu)
    if pair.lesion_mm:
        hu = np.where(_lesion(patient, pair, scan.grid.points()), 10.0, hu).astype(np.float32)
    return hu


def _denoised(scan: Image) -> np.ndarray:
    """Smooth the noise away, edges kept: the noise of the first date must not come back in the second."""
    smooth = sitk.CurvatureFlow(sitk.Cast(scan.to_sitk(), sitk.sitkFloat32), timeStep=0.0625, numberOfIterations=8)
    return sitk.GetArrayFromImage(smooth)


def _noise(shape: tuple[int, ...], noise_hu: float, rng: np.random.Generator) -> np.ndarray:
    """Draw noise with the short-range correlation that a reconstruction kernel gives it."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), NOISE_SIGMA_VOXELS)
    return noise_hu / noise.std() * noise


def _lung_density(hu: np.ndarray, grid: Grid, motion: _Motion) -> np.ndarray:
    """Keep the mass of the lung: its density falls as it widens."""
    slopes = np.stack([np.stack(np.gradient(c, LATTICE_MM), -1)[..., ::-1] for c in motion.u], -2)
    determinant = np.linalg.det(np.eye(3) + slopes).clip(0.6, 1.7)
    index = np.moveaxis(motion.grid.point_to_index(grid.points()), -1, 0)[::-1]
    volume = ndimage.map_coordinates(determinant, index, order=1, mode="nearest")
    return np.where(hu < -400, (hu + 1000) / volume - 1000, hu).astype(np.float32)


def _lesion(patient: _Patient, pair: SamePatient, points: np.ndarray) -> np.ndarray:
    """Mark the ball around the middle of the region (its voxel nearest to the middle of the part)."""
    inside = patient.region.grid.points()[patient.region.array]
    middle = patient.part.mean(0)
    centre = inside[np.argmin(np.linalg.norm(inside - middle, axis=1))]
    return np.linalg.norm(points - centre, axis=-1) < pair.lesion_mm


def _cropped(scan: Image, part: np.ndarray, margin_mm: tuple[float, float, float]) -> Image:
    low, high = part[0] - np.array(margin_mm), part[1] + np.array(margin_mm)
    start = np.maximum(np.round(scan.grid.point_to_index(low)), 0).astype(int)
    stop = np.minimum(np.round(scan.grid.point_to_index(high)) + 1, scan.grid.size).astype(int)
    array = scan.array[start[2] : stop[2], start[1] : stop[1], start[0] : stop[0]]
    return Image(array, Grid(array.shape, scan.grid.spacing, scan.grid.index_to_point(start), scan.grid.direction))


def _truth(
    patient: _Patient, motion: _Motion, fixed: Image, moving: Image, pair: SamePatient, rng: np.random.Generator
) -> Truth:
    """Pick points of the region that both scans show, evenly at random; none in what the lesion replaced."""
    region = patient.region
    points = region.grid.points()[region.array]
    lung = patient.lung.array[region.array]
    points = points + rng.uniform(-0.5, 0.5, points.shape) * region.grid.spacing
    moved = motion.forward(points)
    index = moving.grid.point_to_index(moved)
    seen = ((index >= VIEW_MARGIN) & (index <= moving.grid.size - 1 - VIEW_MARGIN)).all(-1) & fixed.grid.contains(
        points
    )
    seen &= patient.scan.grid.contains(points)
    if pair.lesion_mm:
        seen &= ~_lesion(patient, pair, points)
    if motion.u.any():
        seen &= np.linalg.norm(motion.back(moved) - points, axis=-1) < INVERSE_ERROR_MM
    picked = np.flatnonzero(seen)
    picked = rng.permutation(picked)[:POINTS]
    return Truth(points[picked], moved[picked], lung[picked])
