"""List the registrations of known error from which the expected error is learned, good ones and spoilt ones.

Two scans of one patient are made from one (`benchmarks.same_patient_scans`); virtual patients correspond where the
painter maps both from one template; two people correspond at landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from benchmarks.same_patient import load
from benchmarks.same_patient_pairs import PAIRS, held_back_scans
from benchmarks.splits import splits
from benchmarks.validation_pairs import common, real, some_view, virtual
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, Preset
from pddnet.phantom import phantom
from pddnet.phantom.body import Body

_DEFAULT = PRESETS["default"]
_FINE, _NEAR = _DEFAULT.stages[-1:], _DEFAULT.stages[1:]
# name -> preset, and the range (mm) of a random error of the start, which then replaces the alignment
SETTINGS: dict[str, tuple[Preset, tuple[float, float] | None]] = {
    "default": (_DEFAULT, None),
    "fast": (PRESETS["fast"], None),
    "general": (replace(_DEFAULT, one_patient=None, stages=_NEAR), None),
    "fineonly": (replace(_DEFAULT, one_patient=None, stages=_FINE), (15.0, 30.0)),
    "off20": (replace(_DEFAULT, stages=_FINE), (10.0, 20.0)),
    "off40": (replace(_DEFAULT, stages=_NEAR), (30.0, 60.0)),
    "off90": (replace(_DEFAULT, stages=_NEAR), (60.0, 110.0)),
    "norefine": (replace(_DEFAULT, one_patient=None, stages=_NEAR[:1], refinement=None), None),
}
EXACT = ("vertebra", "hip_bone", "sacrum", "discs")  # painted in the common frame, the same in every virtual patient
MOST_OF_A_STRUCTURE, MOST_OF_A_KIDNEY, COPIES_OF_A_LANDMARK = 150, 500, 60
SAME, VIRTUAL, REAL = "sp", "vt", "rl"

RUNS: tuple[str, ...] = (
    "rl:acrin_flt_breast_001,tcga_BC-A10X:default", "rl:acrin_nsclc_042,cort_liver:default",
    "rl:acrin_nsclc_042,lidc_0001:default", "rl:actc_3105759107,cort_liver:default",
    "rl:actc_3105759107,cptac_C3L-00189:default", "rl:cort_liver,acrin_flt_breast_001:default",
    "rl:cptac_C3L-00189,ts_example:default", "rl:lungx_CT004,acrin_nsclc_042:default",
    "rl:lungx_CT004,ts_example:default", "rl:tcga_BC-A10X,lidc_0001:default", "rl:ts_example,cort_liver:default",
    "sp:00:default", "sp:01:general", "sp:02:default", "sp:03:fast", "sp:04:off40", "sp:05:default",
    "sp:06:fineonly", "sp:07:default", "sp:08:default", "sp:08:off90", "sp:09:default", "sp:10:general",
    "sp:11:default", "sp:12:default", "sp:12:general", "sp:13:default", "sp:13:fast", "sp:14:default",
    "sp:16:default", "sp:16:off90", "sp:17:default", "sp:18:default", "sp:18:off20", "sp:19:default",
    "sp:20:default", "sp:20:general", "sp:21:default", "sp:21:fineonly", "sp:22:default", "sp:23:default",
    "sp:23:off40", "sp:24:default", "sp:24:fineonly", "sp:25:default", "sp:25:off40", "sp:26:off40", "sp:27:default",
    "sp:28:default", "sp:29:default", "sp:29:off20", "sp:30:default", "sp:30:off90", "sp:31:default", "sp:31:off40",
    "sp:32:default", "sp:33:default", "sp:34:off90", "sp:35:default", "sp:36:general", "sp:37:default",
    "sp:38:default", "sp:39:default", "sp:39:fast", "sp:40:default", "sp:41:general", "sp:42:off40", "sp:43:default",
    "sp:43:fineonly", "sp:44:default", "sp:44:off20", "sp:45:default", "sp:45:off40", "vt:301:default",
    "vt:303:default", "vt:305:default", "vt:307:default", "vt:309:fast", "vt:311:default", "vt:313:default",
    "vt:315:norefine", "vt:317:default", "vt:319:default",
)  # kind:pair:settings  # fmt: skip


@dataclass(frozen=True)
class Known:
    """A pair with points (N, 3) LPS mm of the fixed scan and where they truly lie in the moving one."""

    fixed: Image
    moving: Image
    points: np.ndarray
    truth: np.ndarray
    people: tuple[str, ...]
    held_back: bool


@dataclass(frozen=True)
class Run:
    """One registration: `load` makes its pair; `start` an initial transform, or None for the alignment."""

    name: str
    load: Callable[[], Known]
    preset: Preset
    start: Callable[[Known], sitk.Transform | None]


def runs() -> Iterator[Run]:
    """Yield all runs."""
    load = {SAME: _same_patient, VIRTUAL: _virtual, REAL: _real}
    for name in RUNS:
        kind, pair, settings = name.split(":")
        preset, error_mm = SETTINGS[settings]
        yield Run(name, lambda kind=kind, pair=pair: load[kind](pair), preset, _start(name, error_mm))


def _start(name: str, error_mm: tuple[float, float] | None) -> Callable[[Known], sitk.Transform | None]:
    """Return what makes the start: none, or the true shift with an error of random direction and length."""

    def start(pair: Known) -> sitk.Transform | None:
        if error_mm is None:
            return None
        rng = np.random.default_rng(sum(map(ord, name)))
        direction = rng.normal(size=3)
        error = rng.uniform(*error_mm) * direction / np.linalg.norm(direction)
        return sitk.TranslationTransform(3, ((pair.truth - pair.points).mean(0) + error).tolist())

    return start


def _same_patient(number: str) -> Known:
    pair = PAIRS[int(number)]
    fixed, moving, truth = load(pair)
    return Known(fixed, moving, truth.fixed, truth.moving, (pair.scan,), pair.scan in held_back_scans())


def _real(names: str) -> Known:
    people = tuple(names.split(","))
    fixed, moving = (real(name) for name in people)
    _, points, truth = common(fixed, moving)
    held_back = splits("ct")["held_back"]
    return Known(fixed.image, moving.image, points, truth, people, any(name in held_back for name in people))


def _virtual(seed: str) -> Known:
    """Take landmarks, and points of spine, pelvis and kidneys, which both patients have from one template."""
    first, second = int(seed), int(seed) + 1
    fixed, moving = virtual(first, some_view), virtual(second, some_view)
    points, truth = _template_points(first, second)
    names, landmarks, moved = common(fixed, moving)
    kept = [n for n, name in enumerate(names) if not any(part in name for part in ("kidney", "renal", "body"))]
    points = np.concatenate([points, np.repeat(landmarks[kept], COPIES_OF_A_LANDMARK, 0)])
    truth = np.concatenate([truth, np.repeat(moved[kept], COPIES_OF_A_LANDMARK, 0)])
    shown = fixed.image.grid.contains(points) & moving.image.grid.contains(truth)
    people = (f"patient {first}", f"patient {second}")
    return Known(fixed.image, moving.image, points[shown], truth[shown], people, False)


def _template_points(first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    labels = phantom.virtual_patient(first, some_view(first)).labels
    body, other = Body(first), Body(second)
    rng = np.random.default_rng(first)
    found = []
    for number, name in phantom.LABELS.items():
        kidney = "kidney" in name
        voxels = np.argwhere(labels.array == number)
        if not len(voxels) or not (kidney or any(part in name for part in EXACT)):
            continue
        picked = rng.permutation(len(voxels))[: MOST_OF_A_KIDNEY if kidney else MOST_OF_A_STRUCTURE]
        points = labels.grid.index_to_point(voxels[picked][:, ::-1].astype(float))
        template = body.to_common(points)
        if kidney:
            at = np.stack(body.organs[name].template(*template.T), -1)
            template = other.organs[name].place(at)
        found.append((points, other.to_table(template)))
    points, truth = (np.concatenate(each) for each in zip(*found, strict=True))
    return points, truth
