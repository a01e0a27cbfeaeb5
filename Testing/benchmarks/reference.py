"""Reference deformations of painted patients where the truth is known: overlap, and errors in mm at surfaces.

PYTHONPATH=Testing python -m benchmarks.reference
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from helpers.geometry import Waves
from pddnet.core.grid import turned
from pddnet.core.image import Image
from pddnet.core.linear import AFFINE, LinearTransform
from pddnet.evaluation.metrics import dice, jacobian_statistics, mean
from pddnet.phantom.body import Body
from pddnet.phantom.labels import FIRST_VERTEBRA, SACRUM
from pddnet.phantom.phantom import full_view, virtual_patient
from pddnet.shapes.alignment import Surfaces
from pddnet.shapes.reference import Reference, reference
from pddnet.shapes.surfaces import label_surfaces

VOXEL_MM = 3.0
PAIRS = ((1, 2), (3, 4))
WARPED = (5,)
Points = Callable[[np.ndarray], np.ndarray]
WAVES = Waves(amplitude=8.0, length=130.0)
TURN = np.array([[1.04, 0.08, -0.03], [-0.05, 0.97, 0.06], [0.02, -0.07, 1.06]])


def painted(seed: int) -> Image:
    """Paint the label map of a patient."""
    return virtual_patient(seed, full_view(seed, VOXEL_MM)).labels


def surfaces_of_both(fixed: Image, moving: Image) -> tuple[Surfaces, Surfaces]:
    """Extract the surfaces of the labels that both maps hold."""
    shared = {int(n) for n in np.intersect1d(fixed.array, moving.array) if n}
    sides = [label_surfaces(each, shared) for each in (fixed, moving)]
    kept = sorted(sides[0].keys() & sides[1].keys())
    return {n: sides[0][n] for n in kept}, {n: sides[1][n] for n in kept}


def is_spine(label: int) -> bool:
    """Tell whether a painted structure lies where the map between two bodies says, without a place of its own."""
    return label >= FIRST_VERTEBRA or label == SACRUM


def overlap(fixed: Image, moving: Image, found: Reference, labels: Surfaces) -> str:
    """Measure the mean Dice of all labels: as they lie, under the affine map alone, and under the deformation."""
    linear = LinearTransform(found.parts.affine, AFFINE, np.zeros(3)).to_sitk()
    values = []
    for transform in (None, linear, found.field.to_sitk()):
        warped = moving.resample(fixed.grid, transform, labels=True).array
        values.append(mean(dice(fixed.array == n, warped == n) or 0.0 for n in labels))
    return " | ".join(f"{value:.3f}" for value in values)


def row(name: str, fixed: Image, moving: Image, truth: Points, measured: Callable[[int], bool]) -> str:
    """Make a row of the table. truth: maps fixed to moving points; measured: the labels at whose surfaces it is one."""
    begun = time.perf_counter()
    sides = surfaces_of_both(fixed, moving)
    found = reference(*sides, fixed.canonical().grid)
    seconds = time.perf_counter() - begun
    points = np.vstack([s.thinned(6.0).part(~s.thinned(6.0).cut).points for n, s in sides[0].items() if measured(n)])
    errors = [np.linalg.norm(f(points) - truth(points), axis=1) for f in (found.parts.affine.points,
                                                                         found.field.transform_points)]  # fmt: skip
    jacobian = jacobian_statistics(found.field.jacobian_determinant(), fixed.grid.contains(found.field.grid.points()))
    consistency = found.inverse_consistency()
    cells = [
        f"{len(sides[0])}", overlap(fixed, moving, found, sides[0]), *(f"{error.mean():.1f}" for error in errors),
        f"{np.percentile(errors[1], 95):.1f}", f"{jacobian['folding_percent']:.3f}", f"{jacobian['std']:.2f}",
        f"{consistency.mean():.2f}", f"{consistency.max():.2f}", f"{seconds:.0f}",
    ]  # fmt: skip
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    heads = ["pair", "labels", "Dice as they lie", "affine", "reference", "error mm, affine", "reference", "p95"]
    heads += ["folds %", "std J", "there and back mm", "at most", "seconds"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for seed in WARPED:
        moving = painted(seed)
        centre = moving.grid.centre

        def truth(points: np.ndarray, centre: np.ndarray = centre) -> np.ndarray:
            return turned(WAVES(points) - centre, TURN) + centre

        field = WAVES.field(moving.grid.isotropic(VOXEL_MM, 60.0))
        exact = type(field)((truth(field.grid.points()) - field.grid.points()).astype(np.float32), field.grid)
        fixed = moving.resample(moving.grid, exact.to_sitk(), labels=True)
        print(row(f"patient {seed}, warped", fixed, moving, truth, lambda label: True), flush=True)
    for a, b in PAIRS:
        one, other = Body(a), Body(b)
        fixed, moving = painted(a), painted(b)

        def followed(points: np.ndarray, one: Body = one, other: Body = other) -> np.ndarray:
            return other.to_table(one.to_common(points))

        print(row(f"patients {a}, {b}", fixed, moving, followed, is_spine), flush=True)


if __name__ == "__main__":
    main()
