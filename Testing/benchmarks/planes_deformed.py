"""Error of 2-D registrations whose truth is known: real axial slices, deformed by random B-splines, with noise.

Usage: PYTHONPATH=Testing python -m benchmarks.planes_deformed
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from benchmarks.console import progress, table
from benchmarks.planes import real_pairs
from pddnet.core.plane import Plane
from pddnet.features.plane_net import load
from pddnet.matching.plane import register_planes

SLICES = 6  # of each group
MESH = 5  # cells of the B-spline along each axis of the image
SIZES_MM = (4.0, 10.0)  # standard deviation of its coefficients
NOISE_HU = 15.0
BODY_HU = -300.0  # denser pixels are measured, one in STEP
STEP = 37


def main() -> None:
    """Deform, register without and with the network, and print one table."""
    methods = {"MIND alone": None, "with the network": load()}
    rows = []
    for group, pairs in real_pairs().items():
        scans = list(itertools.islice(_different(pair[0].scan for pair in pairs), SLICES))
        for size_mm, (name, net) in itertools.product(SIZES_MM, methods.items()):
            errors = []
            for number, scan in enumerate(scans):
                progress(f"{group}, {size_mm:.0f} mm, {name}: slice {number + 1}")
                moving, truth = deformed(scan, size_mm, number)
                errors.append(errors_mm(register_planes(scan, moving, net=net).to_sitk(), truth, scan))
            means, highest = (np.mean([measure(each) for each in errors]) for measure in (np.mean, _percentile95))
            rows.append((group, f"{size_mm:.0f} mm", name, str(len(scans)), f"{means:.2f}", f"{highest:.2f}"))
    table(("group", "B-spline", "method", "slices", "mean mm", "95th percentile mm"), rows)


def _different(scans: Iterator[Plane]) -> Iterator[Plane]:
    """Leave out the slices that came before."""
    seen: set[bytes] = set()
    for scan in scans:
        values = scan.image.array.tobytes()
        if values not in seen:
            seen.add(values)
            yield scan


def deformed(scan: Plane, size_mm: float, seed: int) -> tuple[Plane, sitk.Transform]:
    """Return a slice deformed, with noise, and the transform of its points to those of the slice that it was."""
    rng = np.random.default_rng(seed)
    transform = sitk.BSplineTransformInitializer(scan.flat(), [MESH] * 2)
    transform.SetParameters(rng.normal(0, size_mm, len(transform.GetParameters())).tolist())
    moved = scan.resample(scan, transform, fill=-1000)
    return moved.with_values(moved.image.array + rng.normal(0, NOISE_HU, moved.image.array.shape)), transform


def errors_mm(found: sitk.Transform, truth: sitk.Transform, scan: Plane) -> np.ndarray:
    """Return how far points of the body come back from where they began: by `found` and then `truth`."""
    pixels = np.argwhere(scan.image.array[0] > BODY_HU)[::STEP]
    points = scan.grid.index_to_point(np.c_[pixels[:, ::-1], np.zeros(len(pixels))])[:, :2]
    back = [truth.TransformPoint(found.TransformPoint(point)) for point in points.tolist()]
    return np.linalg.norm(np.array(back) - points, axis=1)


def _percentile95(errors: np.ndarray) -> float:
    return float(np.percentile(errors, 95))


if __name__ == "__main__":
    main()
