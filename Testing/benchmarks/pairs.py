"""Make pairs of virtual patients on grids of any size; the temporary folder keeps them until their code changes."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.console import progress
from pddnet.core.grid import Grid
from pddnet.phantom import phantom

SEEDS = {"fixed": 11, "moving": 12}
SHAPE, SPACING_MM = (256, 160, 192), 2.0  # (D, H, W) of the whole pair


@dataclass(frozen=True)
class Pair:
    """The files of two scans of one size, by side: "fixed" and "moving"."""

    shape: tuple[int, int, int]  # (D, H, W)
    spacing_mm: float
    files: dict[str, Path]

    @property
    def size(self) -> str:
        d, h, w = self.shape
        return f"{w} x {h} x {d} at {self.spacing_mm:.2f} mm"

    @property
    def millions(self) -> float:
        return float(np.prod(self.shape)) / 1e6


def same_view(factor: float) -> Pair:
    """Return `factor` times as many voxels in the same field of view."""
    scale = factor ** (1 / 3)
    return _pair(scale, SPACING_MM / scale)


def same_voxels(factor: float) -> Pair:
    """Return `factor` times the field of view, with the same voxels."""
    return _pair(factor ** (1 / 3), SPACING_MM)


def _pair(scale: float, spacing_mm: float) -> Pair:
    """Paint both patients on `scale` times the voxels along each axis, or find them from an earlier run."""
    depth, height, width = (round(n * scale) for n in SHAPE)
    shape = (depth, height, width)
    files = {}
    for side, seed in SEEDS.items():
        name = f"pddnet-bench-{_version()}-{side}-{'x'.join(map(str, shape))}-{spacing_mm:.3f}.nii.gz"
        files[side] = Path(tempfile.gettempdir()) / name
        if not files[side].exists():
            progress(f"virtual patient {seed}, {'x'.join(map(str, shape[::-1]))} voxels of {spacing_mm:.2f} mm")
            image = phantom.virtual_patient(seed, _grid(seed, shape, spacing_mm)).image
            part = files[side].with_name(f"part-{files[side].name}")
            sitk.WriteImage(image.to_sitk(), str(part), True)
            part.rename(files[side])
    return Pair(shape, spacing_mm, files)


def _grid(seed: int, shape: tuple[int, int, int], spacing_mm: float) -> Grid:
    """Return a grid along LPS around the middle of the patient's default view."""
    centre = phantom.full_view(seed).centre
    return Grid(shape, np.full(3, spacing_mm), centre - (np.array(shape[::-1]) - 1) / 2 * spacing_mm, np.eye(3))


def _version() -> str:
    """Return a text that changes with the code of the virtual patients."""
    digest = hashlib.sha256()
    for path in sorted(Path(phantom.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
