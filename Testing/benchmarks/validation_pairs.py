"""List the pairs that `validate.py` registers: real scans, virtual patients, and pairs with no anatomy in common."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.io.landmarks import read_points
from pddnet.io.volumes import read_volume
from pddnet.phantom import phantom

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = ("real", "virtual", "none")
LEAST_LANDMARKS = 3
VIRTUAL_PAIRS, FOREIGN_PAIRS, FIRST_SEED = 20, 20, 301
APART_MM = 60.0  # along the body between two slabs that share nothing
CHESTS = ("acrin_nsclc_042", "lidc_0001", "lungx_CT004")  # scans that reach well above the liver's dome
PELVES = ("acrin_flt_breast_001", "actc_3105759107", "cort_liver", "ts_example")  # and well below the fourth vertebra


@dataclass(frozen=True)
class Subject:
    """A scan and its landmarks within the view, (3,) LPS mm by name."""

    image: Image
    landmarks: dict[str, np.ndarray]


@dataclass(frozen=True)
class Pair:
    """Two subjects, which `load` reads or paints; `scans` names the people: a cross-validation leaves them out."""

    kind: str
    fixed: str
    moving: str
    scans: tuple[str, str]
    load: Callable[[], tuple[Subject, Subject]]

    @property
    def key(self) -> str:
        """The name of the pair in the file of results."""
        return f"{self.kind} {self.fixed} {self.moving}"


def common(fixed: Subject, moving: Subject) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the names of the common landmarks, and their points (N, 3) in the fixed and the moving scan, LPS mm."""
    names = [name for name in fixed.landmarks if name in moving.landmarks]
    fixed_points, moving_points = (
        np.array([subject.landmarks[name] for name in names]).reshape(-1, 3) for subject in (fixed, moving)
    )
    return names, fixed_points, moving_points


def data_folder() -> Path | None:
    """Return the folder of real scans (ct/<case>/ct.nii.gz, landmarks.csv), or None."""
    folder = Path(os.environ.get("PDDNET_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if (folder / "ct").is_dir() else None


def real_names() -> list[str]:
    """Return the names of the real scans; none where the folder is absent."""
    folder = data_folder()
    return sorted(path.parent.name for path in (folder / "ct").glob("*/landmarks.csv")) if folder else []


def real_folder(name: str) -> Path:
    """Return the folder of one real scan.

    Raises:
        FileNotFoundError: there is no folder of real scans.
    """
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError("the real scans are not here; set PDDNET_DATA to their folder")
    return folder / "ct" / name


@lru_cache(maxsize=9)
def real(name: str) -> Subject:
    """Read a real scan with all its landmarks."""
    folder = real_folder(name)
    return Subject(read_volume(folder / "ct.nii.gz")[0].canonical(), read_points(folder / "landmarks.csv"))


@lru_cache(maxsize=4)
def virtual(seed: int, grid: Callable[[int], Grid]) -> Subject:
    """Paint a virtual patient on the view that `grid` gives for the seed, with the landmarks inside it."""
    patient = phantom.virtual_patient(seed, grid(seed))
    view = patient.image.grid
    return Subject(patient.image, {n: p for n, p in patient.landmarks.items() if view.contains(p)})


def some_view(seed: int) -> Grid:
    """Return a random view, as of some scanner, with pixels of 3 mm."""
    return phantom.random_view(seed, patient=seed, spacing=3.0)


def whole_view(seed: int) -> Grid:
    """Return the view from the middle of the chest to the hips, with voxels of 3 mm."""
    return phantom.full_view(seed, 3.0)


def slab(subject: Subject, low: float, high: float) -> Subject:
    """Cut the part between two heights (z in mm) of a scan stored along LPS."""
    image = subject.image
    first, step = float(image.grid.corners()[:, 2].min()), image.grid.spacing[2]
    start = max(round((low - first) / step), 0)
    stop = min(round((high - first) / step), image.grid.shape[0])
    array = image.array[start:stop]
    grid = Grid(
        array.shape, image.grid.spacing, image.grid.index_to_point(np.array([0, 0, start])), image.grid.direction
    )
    inside = {name: point for name, point in subject.landmarks.items() if grid.contains(point)}
    return Subject(Image(array, grid), inside)


def all_pairs() -> list[Pair]:
    """List every pair, always the same; those with real scans only where these are."""
    return [*_real_pairs(), *_virtual_pairs(), *_foreign_pairs()]


def _real_pairs() -> list[Pair]:
    points = {name: read_points(real_folder(name) / "landmarks.csv") for name in real_names()}
    return [
        Pair("real", a, b, (a, b), partial(_both, partial(real, a), partial(real, b)))
        for a, b in itertools.permutations(points, 2)
        if len(points[a].keys() & points[b].keys()) >= LEAST_LANDMARKS
    ]


def _virtual_pairs() -> list[Pair]:
    pairs = []
    for seed in range(FIRST_SEED, FIRST_SEED + 2 * VIRTUAL_PAIRS, 2):
        fixed, moving = f"patient {seed}", f"patient {seed + 1}"
        load = partial(_both, partial(virtual, seed, some_view), partial(virtual, seed + 1, some_view))
        pairs.append(Pair("virtual", fixed, moving, (fixed, moving), load))
    return pairs


def _both(fixed: Callable[[], Subject], moving: Callable[[], Subject]) -> tuple[Subject, Subject]:
    return fixed(), moving()


@dataclass(frozen=True)
class _Slab:
    """A part of the scan `name`, cut when it is called."""

    name: str
    whole: Callable[[], Subject]
    cut: Callable[[Subject], Subject]

    def __call__(self) -> Subject:
        return self.cut(self.whole())


def _foreign_pairs() -> list[Pair]:
    """List 20 pairs of an upper and a lower slab, every other one with the lower slab as the fixed scan."""
    real_here = bool(real_names())
    uppers = [_Slab(name, partial(real, name), _chest) for name in CHESTS if real_here]
    lowers = [_Slab(name, partial(real, name), _pelvis) for name in PELVES if real_here]
    combinations = list(itertools.product(uppers, lowers))[:10]
    seeds = range(FIRST_SEED + 100, FIRST_SEED + 120)
    if real_here:
        for number, seed in enumerate(seeds[:5]):
            combinations.append((uppers[number % len(uppers)], _virtual_slab(seed, _pelvis)))
    for seed in seeds[5:19:2]:
        if len(combinations) < FOREIGN_PAIRS:
            combinations.append((_virtual_slab(seed, _upper_abdomen), _virtual_slab(seed + 1, _pelvis)))
    pairs = []
    for number, (upper, lower) in enumerate(combinations):
        sides = [(f"{upper.name} above", upper), (f"{lower.name} below", lower)]
        (fixed_name, fixed), (moving_name, moving) = sides if number % 2 else sides[::-1]
        scans = (fixed.name, moving.name)
        pairs.append(Pair("none", fixed_name, moving_name, scans, partial(_both, fixed, moving)))
    return pairs


def _virtual_slab(seed: int, cut: Callable[[Subject], Subject]) -> _Slab:
    return _Slab(f"patient {seed}", partial(virtual, seed, whole_view), cut)


def _chest(subject: Subject) -> Subject:
    """Cut what lies more than APART_MM above the liver's dome."""
    return slab(subject, subject.landmarks["liver_dome"][2] + APART_MM, _top(subject))


def _upper_abdomen(subject: Subject) -> Subject:
    """Cut from APART_MM above the fourth lumbar vertebra to the top: the chests of virtual patients are short."""
    return slab(subject, subject.landmarks["L4_body"][2] + APART_MM, _top(subject))


def _pelvis(subject: Subject) -> Subject:
    """Cut all below the fourth lumbar vertebra."""
    return slab(subject, -1e4, subject.landmarks["L4_body"][2])


def _top(subject: Subject) -> float:
    return float(subject.image.grid.corners()[:, 2].max())
