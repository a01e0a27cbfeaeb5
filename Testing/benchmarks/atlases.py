"""Measure segmentation by atlases on painted patients: Dice by the number of atlases and by method.

Usage: PYTHONPATH=Testing python -m benchmarks.atlases [--targets 3] [--atlases 8] [--spacing 4.0] [--preset fast]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.console import goal, line, progress, table, title
from pddnet.core.image import Image
from pddnet.core.presets import find_preset
from pddnet.evaluation.metrics import dice
from pddnet.fusion.fuse import METHODS, Warped, fuse
from pddnet.io.atlas_folder import AtlasFiles, find_atlases
from pddnet.io.common_labels import CommonLabels
from pddnet.phantom.labels import LABELS, RIBS
from pddnet.phantom.phantom import full_view, virtual_patient
from pddnet.phantom.write import PatientFiles, write_patients
from pddnet.run.segment import sigma_of
from pddnet.run.warped_atlas import RegistrationSettings, Target, WarpedAtlas

ATLAS_SEED, TARGET_SEED = 401, 301  # no settings were chosen on these patients
ORGANS = [number for number in LABELS if number < RIBS]  # soft tissues
GAIN = 8.0  # points over the mean single registration, the goal
Scores = dict[int, float]
"""Dice by organ."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=3, help="patients to segment")
    parser.add_argument("--atlases", type=int, default=8, help="a power of two")
    parser.add_argument("--spacing", type=float, default=4.0, help="mm, voxels")
    parser.add_argument("--preset", default="fast")
    args = parser.parse_args()
    settings = RegistrationSettings(find_preset(args.preset))
    sizes = [2**n for n in range(args.atlases.bit_length())]
    scores: dict[tuple[str, int], list[Scores]] = defaultdict(list)
    best: list[float] = []
    start = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_patients(folder, _painter(args.spacing), args.atlases, ATLAS_SEED)
        atlases, _ = find_atlases(folder)
        for number in range(args.targets):
            patient = virtual_patient(TARGET_SEED + number, full_view(TARGET_SEED + number, args.spacing))
            target = Target(patient.image, f"target {number + 1}", settings)
            warped = list(_warped(target, atlases, folder, number * len(atlases), args.targets * len(atlases)))
            singles = [_scores(each.labels, patient.labels) for each in warped]
            best.append(max(map(_mean, singles)))
            for method, size in _cases(sizes):
                for group in _groups(warped, size):
                    fused = fuse(target.values(), group, method, sigma_of(target.scan.grid)).labels
                    scores[method, size].append(_scores(fused, patient.labels))
    _report(scores, sizes, float(np.mean(best)), args, time.process_time() - start)
    return 0


def _painter(spacing_mm: float) -> Callable[[int], PatientFiles]:
    def draw(seed: int) -> PatientFiles:
        patient = virtual_patient(seed, full_view(seed, spacing_mm))
        return patient.image, patient.labels, LABELS, {}

    return draw


def _warped(target: Target, atlases: Sequence[AtlasFiles], folder: Path, done: int, count: int) -> Iterator[Warped]:
    """Register the atlases, and yield those whose verdict is not "failed"."""
    common = CommonLabels(folder)
    for number, atlas in enumerate(atlases):
        progress(f"registration {done + number + 1} of {count}")
        found: WarpedAtlas = target.warp(atlas, common, lambda fraction, stage: None)
        if found.warped is not None:
            yield found.warped


def _cases(sizes: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield (method, number of atlases); of one atlas there is nothing to fuse."""
    yield "majority", 1
    for size in sizes[1:]:
        for method in METHODS:
            yield method, size


def _groups(warped: Sequence[Warped], size: int) -> Iterator[Sequence[Warped]]:
    """Yield disjoint groups, so that a small number of atlases is averaged over all of them; at least one."""
    for start in range(0, max(len(warped) - size + 1, 1), size):
        yield warped[start : start + size]


def _scores(labels: np.ndarray, truth: Image) -> Scores:
    found = {
        number: dice(labels == number, truth.array == number) for number in ORGANS if (truth.array == number).any()
    }
    return {number: value or 0.0 for number, value in found.items()}


def _mean(scores: Scores) -> float:
    return float(np.mean(list(scores.values())))


def _total(scores: Sequence[Scores]) -> float:
    return float(np.mean([_mean(each) for each in scores]))


def _over(scores: Sequence[Scores], organ: int) -> float:
    return float(np.mean([each[organ] for each in scores if organ in each]))


def _report(
    scores: dict[tuple[str, int], list[Scores]], sizes: Sequence[int], best: float, args: argparse.Namespace, cpu: float
) -> None:
    single = _total(scores["majority", 1])
    title(f"{args.targets} painted patients, {args.atlases} atlases, voxels of {args.spacing} mm, preset {args.preset}")
    line("mean Dice of one atlas", f"{single:.3f}")
    line("mean Dice of the best single one", f"{best:.3f}")
    rows = [[method, *(f"{_total(scores[method, size]):.3f}" for size in sizes[1:])] for method in METHODS]
    title("mean Dice by method and number of atlases")
    table(["method", *map(str, sizes[1:])], rows)
    fused, alone = [scores[method, sizes[-1]] for method in METHODS], scores["majority", 1]
    shown = [organ for organ in ORGANS if any(organ in each for each in alone)]
    rows = [[LABELS[n], *(f"{_over(each, n):.2f}" for each in (alone, *fused))] for n in shown]
    title(f"Dice by organ, one and {sizes[-1]} atlases")
    table(["organ", "one", *METHODS], rows)
    gain = 100 * (_total(fused[0]) - single)
    title("goal")
    line(f"{METHODS[0]} over one, points", f"{gain:.1f}", goal(gain, GAIN, at_least=True))
    line("time of the processor, s", f"{cpu:.0f}")


if __name__ == "__main__":
    sys.exit(main())
