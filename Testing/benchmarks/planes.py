"""Dice of organs on axial slices of different people, before and after registration in 2-D, and beside Greedy.

Usage: PYTHONPATH=Testing python -m benchmarks.planes                 real and painted patients, tuned on and held back
       PYTHONPATH=Testing python -m benchmarks.planes --greedy        beside Greedy in 2-D (pip install picsl-greedy)
       PYTHONPATH=Testing python -m benchmarks.planes --picture P.png the last pair, before and after
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.splits import splits
from benchmarks.validation_labels import ORGANS, outlines
from benchmarks.validation_pairs import data_folder, real_folder
from pddnet.core.image import Image
from pddnet.core.plane import Plane
from pddnet.evaluation.metrics import dice, dice30
from pddnet.features.label_table import NUMBER
from pddnet.features.plane_net import BUNDLED_WEIGHTS, PlaneNet, load
from pddnet.io.quiet import quiet
from pddnet.io.volumes import read_volume
from pddnet.matching.plane import register_planes
from pddnet.phantom import phantom

PAINTED = {"painted, tuned on": (11, 12, 13), "painted, held back": (101, 102, 103)}  # seeds
AT = ("liver", "kidney", "pancreas")  # a pair of slices lies where one of these is largest in either scan
LEAST_MM2 = 150.0  # of an organ in a slice, to be measured
PIXEL_MM = 1.5


@dataclass(frozen=True)
class Slice:
    """Axial slice of a patient with the numbers of its structures."""

    scan: Plane
    numbers: Plane


@dataclass
class Scores:
    """Dice of all organs of all pairs of a group, by method, and the seconds of all pairs."""

    dice: dict[str, list[float]] = field(default_factory=dict)
    folding: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pairs: int = 0


def main() -> None:
    """Register all pairs, and print one table."""
    args = _arguments()
    methods: dict[str, Callable[[Slice, Slice], sitk.Transform]] = {
        "before": _centres,
        "MIND alone": partial(_registered, None),
        "with the network": partial(_registered, load(Path(args.weights))),
    }
    if args.greedy:
        methods |= {"Greedy affine": _greedy_affine, "Greedy": _greedy}
    print("group                 method            pairs  organs   Dice  Dice30  folds %  s a pair")
    for group, pairs in _groups().items():
        scores = Scores()
        for fixed, moving in itertools.islice(pairs, args.most):
            scores.pairs += 1
            for name, method in methods.items():
                _measure(scores, name, method, fixed, moving)
        for name in methods if scores.pairs else ():
            values = scores.dice[name]
            print(
                f"{group:22s}{name:17s}{scores.pairs:6d}{len(values):8d}{np.mean(values):7.3f}{dice30(values):8.3f}"
                f"{np.mean(scores.folding[name]):9.3f}{scores.seconds[name] / scores.pairs:10.1f}",
                flush=True,
            )
        if args.picture and scores.pairs:
            _draw(fixed, moving, Path(args.picture))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    weights = "of the network of axial slices (default: the bundled ones)"
    parser.add_argument("--weights", default=str(BUNDLED_WEIGHTS), metavar="W.npz", help=weights)
    parser.add_argument("--greedy", action="store_true", help="beside Greedy, for comparison")
    parser.add_argument("--most", type=int, default=8, metavar="N", help="pairs of each group (default: %(default)s)")
    parser.add_argument("--picture", metavar="P.png", help="draw the last pair before and after")
    return parser.parse_args()


def _groups() -> dict[str, Iterator[tuple[Slice, Slice]]]:
    """Return the pairs of every group; of real scans only where they are here."""
    return {**real_pairs(), **{name: _pairs(seeds, _painted) for name, seeds in PAINTED.items()}}


def real_pairs() -> dict[str, Iterator[tuple[Slice, Slice]]]:
    """Return the pairs of both groups of real scans; none, and say so, where the scans are not here."""
    if data_folder() is None:
        print("the real scans are not here (set PDDNET_DATA to their folder)")
        return {}
    names = splits("ct")
    return {
        "real, tuned on": _pairs((*names["validation"], *names["tune"]), _real),
        "real, held back": _pairs(tuple(names["held_back"]), _real),
    }


def _pairs(people: tuple, patient: Callable[..., tuple[Image, Image] | None]) -> Iterator[tuple[Slice, Slice]]:
    """Pair every two people, at each organ of AT that both scans show."""
    for organ, (first, second) in itertools.product(AT, itertools.permutations(people, 2)):
        both = [patient(each) for each in (first, second)]
        if None in both:
            continue
        slices = [_slice_at(*each, NUMBER[organ]) for each in both if each is not None]
        if None not in slices:
            yield slices[0], slices[1]  # type: ignore[misc]


@lru_cache(maxsize=9)
def _real(name: str) -> tuple[Image, Image] | None:
    numbers = outlines(name)
    return None if numbers is None else (read_volume(real_folder(name) / "ct.nii.gz")[0].canonical(), numbers)


@lru_cache(maxsize=9)
def _painted(seed: int) -> tuple[Image, Image]:
    patient = phantom.virtual_patient(seed, phantom.full_view(seed, 3.0))
    numbers = np.zeros(256, np.uint8)
    for label, name in phantom.LABELS.items():
        numbers[label] = NUMBER.get(name.removeprefix("left_").removeprefix("right_"), 0)
    return patient.image, Image(numbers[patient.labels.array], patient.labels.grid)


def _slice_at(scan: Image, numbers: Image, number: int) -> Slice | None:
    """Take the axial slice that shows most of a structure, with pixels of PIXEL_MM; None where there is little."""
    areas = (numbers.array == number).sum((1, 2)) * numbers.grid.spacing[:2].prod()
    if areas.max() < LEAST_MM2:
        return None
    k = int(areas.argmax())
    planes = [Plane.from_sitk(each.to_sitk()[:, :, k]) for each in (scan, numbers)]
    grid = planes[0].grid
    size = np.round(grid.extent[:2] / PIXEL_MM).astype(int).tolist()
    like = sitk.Image(size, sitk.sitkUInt8)
    like.SetSpacing([PIXEL_MM] * 2)
    like.SetOrigin(grid.origin[:2].tolist())
    like.SetDirection(grid.direction[:2, :2].ravel().tolist())
    target, stay = Plane.from_sitk(like), sitk.Transform(2, sitk.sitkIdentity)
    smooth = planes[0].with_values(sitk.GetArrayFromImage(sitk.DiscreteGaussian(planes[0].flat(), 0.25))[None])
    return Slice(smooth.resample(target, stay, fill=-1000), planes[1].resample(target, stay, labels=True))


def _measure(
    scores: Scores, name: str, method: Callable[[Slice, Slice], sitk.Transform], fixed: Slice, moving: Slice
) -> None:
    start = time.perf_counter()
    transform = method(fixed, moving)
    scores.seconds[name] = scores.seconds.get(name, 0.0) + time.perf_counter() - start
    warped = moving.numbers.resample(fixed.numbers, transform, labels=True).image.array
    for organ in ORGANS:
        masks = [each == NUMBER[organ] for each in (fixed.numbers.image.array, moving.numbers.image.array, warped)]
        if min(mask.sum() for mask in masks[:2]) * PIXEL_MM**2 >= LEAST_MM2:
            scores.dice.setdefault(name, []).append(dice(masks[0], masks[2]) or 0.0)
    scores.folding.setdefault(name, []).append(_folding_percent(transform, fixed.scan))


def _folding_percent(transform: sitk.Transform, fixed: Plane) -> float:
    convert = sitk.TransformToDisplacementFieldFilter()
    convert.SetReferenceImage(fixed.flat())
    determinant = sitk.DisplacementFieldJacobianDeterminant(convert.Execute(transform))
    return 100 * float((sitk.GetArrayFromImage(determinant) <= 0).mean())


def _centres(fixed: Slice, moving: Slice) -> sitk.Transform:
    """Lay the images' centres upon each other: scans of different people have no place in common."""
    return sitk.TranslationTransform(2, (moving.scan.grid.centre - fixed.scan.grid.centre)[:2].tolist())


def _registered(net: PlaneNet | None, fixed: Slice, moving: Slice) -> sitk.Transform:
    return register_planes(fixed.scan, moving.scan, net=net).to_sitk()


def _greedy_affine(fixed: Slice, moving: Slice) -> sitk.Transform:
    """Register affinely by normalised cross-correlation, from the images' centres, as its documentation advises."""
    from picsl_greedy import Greedy2D

    greedy = Greedy2D()
    images = {"fixed": _floats(fixed), "moving": _floats(moving), "affine": None}
    with quiet():  # its optimiser prints on standard output, where the table goes
        greedy.execute(
            "-V 0 -threads 1 -a -dof 12 -ia-image-centers -n 100x50x20 -m NCC 4x4 -i fixed moving -o affine", **images
        )
    matrix = np.array(greedy["affine"])  # of RAS coordinates, in which x and y have the other sign
    turned = np.diag([-1.0, -1.0, 1.0]) @ matrix @ np.diag([-1.0, -1.0, 1.0])
    found = sitk.AffineTransform(2)
    found.SetMatrix(turned[:2, :2].ravel().tolist())
    found.SetTranslation(turned[:2, 2].tolist())
    return found


def _greedy(fixed: Slice, moving: Slice) -> sitk.Transform:
    """Register affinely, then deformably."""
    from picsl_greedy import Greedy2D

    affine = _greedy_affine(fixed, moving)
    greedy = Greedy2D()
    start = Plane.from_sitk(sitk.Cast(moving.scan.flat(), sitk.sitkFloat32)).resample(fixed.scan, affine, fill=-1000)
    images = {"fixed": _floats(fixed), "moving": start.flat(), "warp": None}
    greedy.execute("-V 0 -threads 1 -n 100x50x20 -m NCC 4x4 -s 2.0vox 0.5vox -i fixed moving -o warp", **images)
    warp = sitk.Cast(greedy["warp"], sitk.sitkVectorFloat64)
    both = sitk.CompositeTransform(2)
    both.AddTransform(affine)
    both.AddTransform(sitk.DisplacementFieldTransform(warp))
    return both


def _floats(part: Slice) -> sitk.Image:
    return sitk.Cast(part.scan.flat(), sitk.sitkFloat32)


def _draw(fixed: Slice, moving: Slice, path: Path) -> None:
    """Draw the fixed slice with its organs' outlines, and those of the moving one before and after."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    maps = {"before": _centres(fixed, moving), "after": _registered(load(), fixed, moving)}
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 8), facecolor="black")
    background = fixed.scan.image.array[0]
    for row, (name, transform) in zip(axes, maps.items(), strict=True):
        warped = moving.scan.resample(fixed.scan, transform, fill=-1000).image.array[0]
        numbers = moving.numbers.resample(fixed.numbers, transform, labels=True).image.array[0]
        shown = [np.clip((each + 160.0) / 400, 0, 1) for each in (background, warped)]
        row[0].imshow(shown[0], cmap="gray")
        row[1].imshow(np.stack([shown[0], shown[1], shown[1]], -1))
        for organ in ORGANS:
            for mask, colour in ((fixed.numbers.image.array[0], "cyan"), (numbers, "orange")):
                if (mask == NUMBER[organ]).any():
                    row[0].contour(mask == NUMBER[organ], [0.5], colors=colour, linewidths=0.8)
        row[0].set_title(f"{name}: fixed cyan, moving orange", color="white")
        row[1].set_title(f"{name}: fixed red, moving cyan", color="white")
        for each in row:
            each.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
