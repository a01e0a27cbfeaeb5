"""The pairs that `validate.py` registers: real scans, virtual patients, and pairs with no anatomy in common."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.io.landmarks import read_points
from pddnet.io.volumes import read_volume
from pddnet.phantom import phantom as cohort

REPOSITORY = Path(__file__).resolve().parents[2]
KINDS = ("real", "virtual", "none")
LEAST_LANDMARKS = 3
VIRTUAL_PAIRS, FIRST_SEED = 20, 301
APART = 60.0  # mm along the body between two slabs that share nothing
CHESTS = ("acrin_nsclc_042", "lidc_0001", "lungx_CT004")  # scans that reach well above the liver's dome
PELVES = ("acrin_flt_breast_001", "actc_3105759107", "cort_liver", "ts_example")  # and well below the fourth vertebra


@dataclass(frozen=True)
class Subject:
    """A scan and its landmarks within the view, (3,) LPS mm by name."""

    image: Image
    landmarks: dict[str, np.ndarray]


@dataclass(frozen=True)
class Pair:
    """Two subjects, made when asked for. `scans`: which people they show, to keep them apart in a cross-validation."""

    kind: str
    fixed: str
    moving: str
    scans: tuple[str, str]
    load: Callable[[], tuple[Subject, Subject]]

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.kind} {self.fixed} {self.moving}"


def common(fixed: Subject, moving: Subject) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names of the landmarks that both views show, and the points (N, 3) of either in LPS mm."""
    names = [name for name in fixed.landmarks if name in moving.landmarks]
    points = (np.array([subject.landmarks[n] for n in names]).reshape(-1, 3) for subject in (fixed, moving))
    return names, *points


def data_folder() -> Path | None:
    """The folder of real scans (ct/<case>/ct.nii.gz, landmarks.csv), where there is one."""
    folder = Path(os.environ.get("PDDNET_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if (folder / "ct").is_dir() else None


def real_names() -> list[str]:
    """The real scans, by name; none where the folder is absent."""
    folder = data_folder()
    return sorted(path.parent.name for path in (folder / "ct").glob("*/landmarks.csv")) if folder else []


@lru_cache(maxsize=9)
def real(name: str) -> Subject:
    """A real scan with all its landmarks."""
    folder = data_folder() / "ct" / name
    return Subject(read_volume(folder / "ct.nii.gz")[0].canonical(), read_points(folder / "landmarks.csv"))


@lru_cache(maxsize=4)
def virtual(seed: int, grid: Callable[[int], Grid]) -> Subject:
    """A virtual patient on the view that `grid` gives for the seed, with the landmarks inside it."""
    patient = cohort.virtual_patient(seed, grid(seed))
    view = patient.image.grid
    return Subject(patient.image, {n: p for n, p in patient.landmarks.items() if view.contains(p)})


def some_view(seed: int) -> Grid:
    """As some scanner might have taken the patient, with pixels of 3 mm."""
    return cohort.random_view(seed, patient=seed, spacing=3.0)


def whole_view(seed: int) -> Grid:
    """From the middle of the chest to the hips, 3 mm."""
    return cohort.full_view(seed, 3.0)


def slab(subject: Subject, low: float, high: float) -> Subject:
    """The part of a scan stored along LPS between two heights (z in mm)."""
    image = subject.image
    first, step = float(image.grid.corners()[:, 2].min()), image.grid.spacing[2]
    start = max(round((low - first) / step), 0)
    stop = min(round((high - first) / step), image.grid.shape[0])
    array = image.array[start:stop]
    grid = Grid(array.shape, image.grid.spacing, image.grid.index_to_point([0, 0, start]), image.grid.direction)
    inside = {name: point for name, point in subject.landmarks.items() if grid.contains(point)}
    return Subject(Image(array, grid), inside)


def all_pairs() -> list[Pair]:
    """Every pair, always the same; those with real scans only where these are."""
    return [*_real_pairs(), *_virtual_pairs(), *_foreign_pairs()]


def _real_pairs() -> list[Pair]:
    folder, pairs = data_folder(), []
    points = {name: read_points(folder / "ct" / name / "landmarks.csv") for name in real_names()}
    for a, b in itertools.permutations(points, 2):
        if len(points[a].keys() & points[b].keys()) >= LEAST_LANDMARKS:
            pairs.append(Pair("real", a, b, (a, b), lambda a=a, b=b: (real(a), real(b))))
    return pairs


def _virtual_pairs() -> list[Pair]:
    pairs, seed = [], FIRST_SEED
    while len(pairs) < VIRTUAL_PAIRS:
        a, b = seed, seed + 1
        seed += 2
        pairs.append(
            Pair(
                "virtual", f"patient {a}", f"patient {b}", (f"patient {a}", f"patient {b}"),
                lambda a=a, b=b: (virtual(a, some_view), virtual(b, some_view)),
            )
        )  # fmt: skip
    return pairs


def _foreign_pairs() -> list[Pair]:
    """20 pairs of an upper and a lower slab, every other one with the lower slab as the fixed scan."""
    real_here = bool(real_names())
    uppers = [(name, lambda name=name: _chest(real(name))) for name in CHESTS if real_here]
    lowers = [(name, lambda name=name: _pelvis(real(name))) for name in PELVES if real_here]
    combinations = list(itertools.product(uppers, lowers))[:10]
    seeds = range(FIRST_SEED + 100, FIRST_SEED + 120)
    for number, seed in enumerate(seeds[:5]):
        if real_here:
            combinations.append((uppers[number % len(uppers)], _virtual_slab(seed, _pelvis)))
    for upper, lower in zip(seeds[5::2], seeds[6::2], strict=False):
        if len(combinations) < 20:
            combinations.append((_virtual_slab(upper, _upper_abdomen), _virtual_slab(lower, _pelvis)))
    pairs = []
    for number, (upper, lower) in enumerate(combinations):
        a, b = ((f"{upper[0]} above", upper), (f"{lower[0]} below", lower))[:: 1 if number % 2 else -1]
        pairs.append(Pair("none", a[0], b[0], (a[1][0], b[1][0]), lambda a=a, b=b: (a[1][1](), b[1][1]())))
    return pairs


def _virtual_slab(seed: int, cut: Callable[[Subject], Subject]) -> tuple[str, Callable[[], Subject]]:
    return f"patient {seed}", lambda: cut(virtual(seed, whole_view))


def _chest(subject: Subject) -> Subject:
    """More than APART above the liver's dome."""
    return slab(subject, subject.landmarks["liver_dome"][2] + APART, _top(subject))


def _upper_abdomen(subject: Subject) -> Subject:
    """From APART above the fourth lumbar vertebra to the top: for virtual patients, whose chests are short."""
    return slab(subject, subject.landmarks["L4_body"][2] + APART, _top(subject))


def _pelvis(subject: Subject) -> Subject:
    """All below the fourth lumbar vertebra."""
    return slab(subject, -1e4, subject.landmarks["L4_body"][2])


def _top(subject: Subject) -> float:
    return float(subject.image.grid.corners()[:, 2].max())
