"""Measure the preset `multimodal`: painted pairs of CT and MR beside CT alone, and three real pairs by landmarks.

Usage: PYTHONPATH=Testing python -m benchmarks.mr [--maps held_back|train] [--pairs 8] [--only naming|painted|real]

The painted pairs are of two patients, painted from two maps, of which only the moving one is painted as MR. *MIND
alone* is the preset without the networks. The Dice is of organs and bones, without ribs and vertebrae.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.bone_marrow import gaps_of_shafts, load_shafts
from benchmarks.console import line, progress, table, title
from benchmarks.naming_scores import scores, with_interval
from benchmarks.splits import splits
from benchmarks.validation_pairs import data_folder
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.linear import DEFORMABLE
from pddnet.core.presets import PRESETS, Preset, without_stages
from pddnet.core.result import Registration
from pddnet.evaluation.metrics import dice
from pddnet.features.label_table import STRUCTURES
from pddnet.features.semantic_net import BUNDLED_WEIGHTS, MR_WEIGHTS, SEMANTIC_SPACING_MM, load
from pddnet.io.volumes import read_volume
from pddnet.pipeline import register
from pddnet.synthesis.anatomy import read_anatomy
from pddnet.synthesis.magnetic import MagneticResonance
from pddnet.synthesis.modality import COMPUTED_TOMOGRAPHY
from pddnet.synthesis.patient import PatientSource, Sample, synthesise

SHAPE = (64, 64, 88)  # voxels of 4 mm
FIXED_SEED, MOVING_SEED = 7000, 7500  # apart from those of training and of other benchmarks
NAMED_SEED = 9500
FEWEST_VOXELS = 50
NETWORKS = (("CT", COMPUTED_TOMOGRAPHY, BUNDLED_WEIGHTS), ("MR", MagneticResonance(), MR_WEIGHTS))
_MULTIMODAL = PRESETS["multimodal"]
_PLAIN = replace(_MULTIMODAL, semantic=0.0)
METHODS: dict[str, Preset] = {
    "alignment alone": without_stages(_PLAIN),
    "MIND alone": _PLAIN,
    "multimodal": _MULTIMODAL,
}
REAL_METHODS = {name: (preset, DEFORMABLE) for name, preset in METHODS.items()} | {"rigid": (_MULTIMODAL, "rigid")}
# Points in voxels (i, j, k) that were placed by eye, fixed (MR) and moving (CT), about 4 mm exact: lower and upper pole
# of the tumour, and the hindmost point of the ilium beside its middle.
PELVIS = "sts_018_ct_mr"
PELVIS_POINTS = np.array([[(49, 54, 11), (84, 90, 16)], [(57, 42, 30), (88, 80, 36)], [(35, 38, 18), (57, 79, 23)]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", choices=("held_back", "train"), default="held_back", help="painted from these")
    parser.add_argument("--pairs", type=int, default=8, help="painted pairs (%(default)s)")
    parser.add_argument("--patients", type=int, default=8, help="painted from each map, to be named (%(default)s)")
    parser.add_argument("--only", choices=("naming", "painted", "real"))
    args = parser.parse_args()
    data = data_folder()
    if data is None:
        print("the real scans are not here: set PDDNET_DATA to their folder")
        return 1
    names = splits("anatomy")[args.maps][:2]
    sources = [PatientSource(read_anatomy(data / "anatomy" / f"{name}.nii.gz")) for name in names]
    print(f"painted from {' and '.join(names)}")
    if args.only in (None, "naming"):
        report_naming(sources, args.patients)
    if args.only in (None, "painted"):
        report_painted(sources, args.pairs)
    if args.only in (None, "real"):
        report_real(data / "pairs")
    return 0


def report_naming(sources: list[PatientSource], count: int) -> None:
    """Print how well the networks name the structures of painted patients, in CT and in MR."""
    title(f"{count * len(sources)} painted patients: mean Dice of what is named")
    body = []
    for kind, modality, path in NETWORKS:
        net = load(path)
        rows = []
        for source, seed in itertools.product(sources, range(NAMED_SEED, NAMED_SEED + count)):
            progress(f"{kind}, {source.anatomy.name} {seed}")
            drawn = synthesise(source, SHAPE, seed, modality=modality)
            rows.append(scores(net, drawn.values, drawn.structures.numpy().astype(int), None))
        body.append((kind, *(with_interval([row[name] for row in rows]) for name in ("organs", "bones", "vertebrae"))))
    table(("", "organs", "bones", "vertebrae by level"), body)


def report_painted(sources: list[PatientSource], count: int) -> None:
    """Print the mean Dice of the painted pairs, as CT and CT and as CT and MR."""
    title(f"{count} painted pairs: mean Dice")
    found: dict[str, list[float]] = {}
    for number in range(count):
        for name, preset, fixed, moving in _painted(sources, number):
            progress(f"pair {number + 1}, {name}")
            result = register(_values(fixed), _values(moving, mr="MR" in name), preset)
            found.setdefault(name, []).append(mean_dice(result, fixed, moving))
    rows = [(name, with_interval(values), " ".join(f"{each:.2f}" for each in values)) for name, values in found.items()]
    table(("", "Dice", "pair by pair"), rows)


def _painted(sources: list[PatientSource], number: int) -> Iterator[tuple[str, Preset, Sample, Sample]]:
    """Paint a pair, and yield each way to register it: its name, the preset, and both scans."""
    fixed_source, moving_source = sources[number % 2], sources[(number // 2 + 1) % 2]
    fixed = synthesise(fixed_source, SHAPE, FIXED_SEED + number)
    ct, mr = (
        synthesise(moving_source, SHAPE, MOVING_SEED + number, modality=modality)
        for modality in (COMPUTED_TOMOGRAPHY, MagneticResonance())
    )
    yield "CT and CT, default", PRESETS["default"], fixed, ct
    for name, preset in METHODS.items():
        yield f"CT and MR, {name}", preset, fixed, mr


def mean_dice(result: Registration, fixed: Sample, moving: Sample) -> float:
    """Return the mean Dice of the organs and bones that both patients show."""
    numbers = fixed.structures.numpy(), moving.structures.numpy()
    warped = result.warp(_image(numbers[1].clip(min=0).astype(np.uint8)), labels=True).array
    shown = [n for n in np.unique(numbers[0]) if n > 0 and not STRUCTURES[n].startswith(("vertebra", "rib"))]
    both = [n for n in shown if (numbers[0] == n).sum() >= FEWEST_VOXELS and (numbers[1] == n).any()]
    return float(np.mean([dice(numbers[0] == n, warped == n) for n in both]))


def _values(sample: Sample, *, mr: bool = False) -> Image:
    """Return the scan; of MR in signals, which are not below 0."""
    values = sample.values[0].numpy()
    return _image(values + 1000.0 if mr else values)


def _image(array: np.ndarray) -> Image:
    return Image(array, Grid(array.shape, np.full(3, SEMANTIC_SPACING_MM), np.zeros(3), np.eye(3)))


def report_real(folder: Path) -> None:
    """Print how far what belongs together lies apart in the real pairs, in mm, as they lie and registered."""
    title("real pairs of CT and T1 MR: in-plane distance between the marrow cavities of the femur, mm")
    for name, shafts in load_shafts(folder).items():
        _report_pair(folder / name, lambda move, shafts=shafts: gaps_of_shafts(*shafts, move))
    title("real pair of CT and T1 MR of a hip: distance between three points placed by eye (about 4 mm exact), mm")
    fixed, moving = (read_volume(folder / PELVIS / f"{kind}.nii.gz")[0].grid for kind in ("mr", "ct"))
    ends = fixed.index_to_point(PELVIS_POINTS[:, 0]), moving.index_to_point(PELVIS_POINTS[:, 1])
    _report_pair(folder / PELVIS, lambda move: np.linalg.norm(move(ends[0]) - ends[1], axis=1))


def _report_pair(folder: Path, gaps: Callable[[Callable[[np.ndarray], np.ndarray]], np.ndarray]) -> None:
    fixed, moving = (read_volume(folder / f"{kind}.nii.gz")[0] for kind in ("mr", "ct"))
    _report(folder.name, "as they lie", gaps(lambda points: points), "")
    for method, (preset, kind) in REAL_METHODS.items():
        progress(f"{folder.name}, {method}")
        result = register(fixed, moving, preset, transform_type=kind)
        field: DisplacementField = result.field
        _report("", method, gaps(field.transform_points), result.verdict.status)


def _report(pair: str, method: str, gaps: np.ndarray, verdict: str) -> None:
    line(pair, method, f"mean {gaps.mean():.1f}", f"largest {gaps.max():.1f}", verdict)


if __name__ == "__main__":
    sys.exit(main())
