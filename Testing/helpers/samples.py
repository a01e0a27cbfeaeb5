"""Small volumes, labels and points with oblique, anisotropic, flipped grids, and a stand-in for the registration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.result import Registration, Verdict
from pddnet.core.structures import Motion, StructureFit

SHIFT = np.array([7.0, -13.0, 9.0])  # mm, LPS: fixed -> moving of the stand-in; every axis differs
ORGANS = (  # of `bent_pair`: mm from the body's centre, HU
    ((12, 0, 0), 400), ((-12, 3, 0), -300), ((0, 12, 4), 300),
    ((2, -12, -3), -200), ((0, 2, 13), 500), ((-2, 0, -13), -400),
)  # fmt: skip
SLOPE = np.array([2.0, 3.0, -5.0])  # HU per mm of `ramp`


def direction(seed: int, *, flipped: bool = False) -> np.ndarray:
    """A rotation by up to 30 degrees about every axis; left-handed if flipped."""
    x, y, z = np.random.default_rng(seed).uniform(-0.5, 0.5, 3)
    turn = sitk.Euler3DTransform((0, 0, 0), x, y, z)
    matrix = np.array(turn.GetMatrix()).reshape(3, 3)
    return matrix * [1, -1, 1] if flipped else matrix


def centred(shape: tuple, spacing: tuple, centre: np.ndarray, matrix: np.ndarray) -> Grid:
    """A grid around a point."""
    return Grid(shape, spacing, np.asarray(centre) - matrix @ ((np.array(shape[::-1]) - 1) / 2 * spacing), matrix)


FIXED = Grid((18, 22, 26), (3.0, 2.5, 4.0), (-40, 20, -300), direction(1))
MOVING = centred((24, 30, 28), (2.8, 3.1, 3.5), FIXED.centre + SHIFT + [2, 1, -3], direction(2, flipped=True))


def ramp(grid: Grid, dtype: type = np.int16) -> Image:
    """SLOPE . (point - c) at every voxel, so that the value tells the place."""
    values = (grid.points() - FIXED.centre) @ SLOPE
    return Image(np.rint(values).astype(dtype) if np.issubdtype(dtype, np.integer) else values.astype(dtype), grid)


def body(grid: Grid, centre: np.ndarray | None = None, seed: int = 0) -> Image:
    """Noise inside an ellipsoid in air."""
    array = np.full(grid.shape, -1000, np.int16)
    inside = ball(grid, grid.centre if centre is None else centre, 22.0)
    array[inside] = np.random.default_rng(seed).integers(-60, 90, int(inside.sum()))
    return Image(array, grid)


def ball(grid: Grid, centre: np.ndarray, radius: float) -> np.ndarray:
    """(D, H, W) bool: nearer than `radius` mm to an LPS point."""
    return np.linalg.norm(grid.points() - centre, axis=-1) < radius


def small_pair() -> tuple[Image, Image]:
    """Two bodies with the same noise, the moving one SHIFT away, on oblique grids of their own; one is left-handed."""
    fixed = body(FIXED)
    blank = Image(np.zeros(MOVING.shape, np.int16), MOVING).to_sitk()
    back = sitk.TranslationTransform(3, (-SHIFT).tolist())
    return fixed, Image.from_sitk(sitk.Resample(fixed.to_sitk(), blank, back, sitk.sitkLinear, -1000.0))


def bent_pair() -> tuple[Image, Image]:
    """The fixed body of `small_pair` with six organs in it; the moving one is SHIFT away and bent, but for its centre.

    No affine map undoes the bend: up to 16 mm along y and 12 along z, as x goes to either side.
    """
    fixed = body(FIXED)
    for offset, value in ORGANS:
        fixed.array[ball(FIXED, FIXED.centre + offset, 6.0)] = value
    grid = MOVING.isotropic(4.0, 20.0)
    x = (grid.points()[..., 0] - FIXED.centre[0] - SHIFT[0]) / 22.0
    bend = np.tanh(x**2 / 2)[..., None] * [0.0, 16.0, 12.0]  # mm; depends on x alone, so that its inverse is known
    back = DisplacementField((-SHIFT - bend).astype(np.float32), grid).to_sitk()
    blank = Image(np.zeros(MOVING.shape, np.int16), MOVING).to_sitk()
    return fixed, Image.from_sitk(sitk.Resample(fixed.to_sitk(), blank, back, sitk.sitkLinear, -1000.0))


def labels(grid: Grid, centre: np.ndarray) -> Image:
    """Label 1, a ball of 18 mm, and in it label 3, a ball of 7 mm beside its centre."""
    array = np.zeros(grid.shape, np.uint8)
    array[ball(grid, centre, 18)] = 1
    array[ball(grid, centre + [6, 4, -5], 7)] = 3
    return Image(array, grid)


def save(image: Image, path: Path) -> Path:
    """Write an image with SimpleITK."""
    sitk.WriteImage(image.to_sitk(), str(path), True)
    return path


def write_pair(folder: Path) -> dict[str, str]:
    """F, M (ramps) and their label maps A, B, the moving ones shifted by SHIFT."""
    images = {
        "F": ramp(FIXED),
        "M": ramp(MOVING),
        "A": labels(FIXED, FIXED.centre),
        "B": labels(MOVING, FIXED.centre + SHIFT),
    }
    return {name: str(save(image, folder / f"{name}.nii.gz")) for name, image in images.items()}


FITS = (  # of the stand-in: one of each verdict
    StructureFit(
        "liver", "ok", "", (-30.0, 20.0, -290.0), 1400.0, 1500.0, 0.93, (1.0, 2.0, -2.0), 1.25, 0.92,
        motion=Motion((-30.0, 20.0, -290.0), (-7.0, 13.0, 9.0), 0.0, 1400.0, 1400.0, 17.3, 17.3),
    ),
    StructureFit("bladder", "not compared", "not seen in the moving scan", None, 90.0, 0.0, None, None, None, 0.9),
    StructureFit(
        "left kidney", "astray", "lies 3 cm away from its counterpart", (31.0, 42.0, -280.0),
        160.0, 170.0, 0.41, (6.0, -13.0, 26.0), 9.5, 0.88, 14.5,
    ),
    StructureFit(
        "colon", "doubtful", "its outlines differ", (5.0, 9.0, -310.0),
        700.0, 900.0, 0.4, (8.0, 4.0, 1.0), 12.0, 0.8,
    ),
)  # fmt: skip


def fake_register(status: str = "ok", calls: list[dict] | None = None) -> Callable[..., Registration]:
    """A stand-in for `pipeline.register` that always finds SHIFT, and notes how it was called."""

    def register(fixed, moving, preset="default", *, progress=None, **settings) -> Registration:
        if calls is not None:
            calls.append({"fixed": fixed, "moving": moving, "preset": preset, **settings})
        for step in range(5):
            if progress:
                progress(step / 5, f"stage {step // 3}")
        grid = fixed.grid.isotropic(4.0, 16.0)
        field = DisplacementField(np.broadcast_to(SHIFT, (*grid.shape, 3)).astype(np.float32), grid)
        spread = Image(np.full(grid.shape, 1.5, np.float32), grid)
        reasons = () if status == "ok" else ("the views hardly overlap",)
        verdict = Verdict(status, reasons, 0.25, {"overlap": float("nan"), "peak_ratio": np.float32(1.5)})
        seconds = {"align": 0.5, "deform": 1.0}
        warnings = ("from the run",)
        return Registration(
            field, spread, verdict, fixed.grid, "default", "cpu", seconds, 0.2, warnings,
            expected_error=Image(np.full(grid.shape, 2.25, np.float32), grid), structures=FITS,
        )  # fmt: skip

    return register
