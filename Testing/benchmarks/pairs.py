"""Pairs of virtual patients on grids of any size, kept in the temporary folder as long as the patients are the same."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.console import progress
from pddnet.core.grid import Grid
from pddnet.phantom import phantom as cohort

SEEDS = {"fixed": 11, "moving": 12}
SHAPE, SPACING = (256, 160, 192), 2.0  # (D, H, W) of the whole pair; mm


@dataclass(frozen=True)
class Pair:
    """Two scans of one size."""

    shape: tuple[int, int, int]
    spacing: float
    files: dict[str, Path]

    @property
    def size(self) -> str:
        d, h, w = self.shape
        return f"{w} x {h} x {d} at {self.spacing:.2f} mm"

    @property
    def millions(self) -> float:
        return float(np.prod(self.shape)) / 1e6


def same_view(factor: float) -> Pair:
    """`factor` times as many voxels in the same field of view."""
    scale = factor ** (1 / 3)
    return _pair(tuple(round(n * scale) for n in SHAPE), SPACING / scale)


def same_voxels(factor: float) -> Pair:
    """`factor` times the field of view, with the same voxels."""
    return _pair(tuple(round(n * factor ** (1 / 3)) for n in SHAPE), SPACING)


def _pair(shape: tuple[int, int, int], spacing: float) -> Pair:
    files = {}
    for side, seed in SEEDS.items():
        name = f"pddnet-bench-{_version()}-{side}-{'x'.join(map(str, shape))}-{spacing:.3f}.nii.gz"
        files[side] = Path(tempfile.gettempdir()) / name
        if not files[side].exists():
            progress(f"virtual patient {seed}, {'x'.join(map(str, shape[::-1]))} voxels of {spacing:.2f} mm")
            image = cohort.virtual_patient(seed, _grid(seed, shape, spacing)).image
            part = files[side].with_name(f"part-{files[side].name}")
            sitk.WriteImage(image.to_sitk(), str(part), True)
            part.rename(files[side])
    return Pair(shape, spacing, files)


def _grid(seed: int, shape: tuple[int, int, int], spacing: float) -> Grid:
    """Around the middle of the patient's default view, along LPS."""
    middle = cohort.full_view(seed).centre
    return Grid(shape, np.full(3, spacing), middle - (np.array(shape[::-1]) - 1) / 2 * spacing, np.eye(3))


def _version() -> str:
    """Changes with the code of the virtual patients."""
    digest = hashlib.sha256()
    for path in sorted(Path(cohort.__file__).parent.glob("cohort*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
