"""Measure segmentation by atlases on real CTs with outlined organs: Dice by method and organ.

Usage: PYTHONPATH=Testing python -m benchmarks.atlases_real [--spacing 3.0] [--preset fast] [--targets held-back|all]

Each target is segmented by all outlined scans that are not held back, itself left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.console import line, progress, table, title
from benchmarks.splits import splits
from benchmarks.validation_labels import ORGANS, UNKNOWN, dice, outlines
from benchmarks.validation_pairs import data_folder, real_folder
from pddnet.core.image import Image
from pddnet.core.presets import find_preset
from pddnet.features.label_table import NUMBER
from pddnet.fusion.fuse import METHODS, Warped, fuse
from pddnet.io.atlas_folder import find_atlases
from pddnet.io.common_labels import CommonLabels
from pddnet.io.volumes import read_volume
from pddnet.run.segment import sigma_of
from pddnet.run.warped_atlas import RegistrationSettings, Target

LEAST_LIVER_ML = 300.0
Scores = dict[str, float]
"""Dice by organ."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spacing", type=float, default=3.0, help="mm, to which scans and outlines are averaged")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--targets", choices=("held-back", "all"), default="held-back")
    args = parser.parse_args()
    if data_folder() is None:
        print("the real scans are not here: set PDDNET_DATA to their folder")
        return 1
    held_back, others = _outlined(held_back=True), _outlined(held_back=False)
    settings = RegistrationSettings(find_preset(args.preset))
    singles: list[Scores] = []
    best: list[float] = []
    fused: dict[str, list[Scores]] = defaultdict(list)
    start = time.process_time()
    for name in held_back + (others if args.targets == "all" else []):
        with tempfile.TemporaryDirectory() as folder:
            scan, truth = _coarse(name, args.spacing)
            target = Target(scan, name, settings)
            warped = _warped(target, [each for each in others if each != name], Path(folder), args.spacing)
            found = [_scores(each.labels, truth) for each in warped]
            singles += found
            best.append(max(map(_mean, found)))
            for method in METHODS:
                labels = fuse(target.values(), warped, method, sigma_of(scan.grid)).labels
                fused[method].append(_scores(labels, truth))
    _report(singles, best, fused, args, time.process_time() - start)
    return 0


def _outlined(*, held_back: bool) -> list[str]:
    """List the scans with outlined organs that may be targets (held back) or atlases."""
    scans = splits("ct")
    groups = ("held_back",) if held_back else ("validation", "choose", "train", "tune")
    return [name for group in groups for name in scans[group] if _has_organs(name)]


def _has_organs(name: str) -> bool:
    """Tell whether a trunk is outlined: a scan of head and neck may show the tip of a liver."""
    labels = outlines(name)
    if labels is None:
        return False
    liver_ml = (labels.array == NUMBER["liver"]).sum() * float(np.prod(labels.grid.spacing)) / 1000.0
    return bool(liver_ml > LEAST_LIVER_ML)


def _coarse(name: str, spacing_mm: float) -> tuple[Image, Image]:
    """Read a scan, and its outlines on the same grid (uint8, UNKNOWN where undecided)."""
    scan = read_volume(real_folder(name) / "ct.nii.gz")[0].canonical().coarsen(spacing_mm)
    labels = outlines(name)
    assert labels is not None  # `_outlined` names no others
    return scan, labels.resample(scan.grid, labels=True)


def _warped(target: Target, atlases: list[str], folder: Path, spacing_mm: float) -> list[Warped]:
    """Write the atlases into a folder, register them, and return those whose verdict is not "failed"."""
    for name in atlases:
        scan, labels = _coarse(name, spacing_mm)
        (folder / name).mkdir()
        named = Image(np.where(np.isin(labels.array, [NUMBER[organ] for organ in ORGANS]), labels.array, 0), scan.grid)
        sitk.WriteImage(scan.to_sitk(), str(folder / name / "ct.nii.gz"))
        sitk.WriteImage(named.to_sitk(), str(folder / name / "labels.nii.gz"))
    (folder / "labels.json").write_text(json.dumps({str(NUMBER[organ]): organ for organ in ORGANS}), "utf-8")
    common, found = CommonLabels(folder), []
    for atlas in find_atlases(folder)[0]:
        progress(f"{target.name} by {atlas.name}")
        found.append(target.warp(atlas, common, lambda fraction, stage: None).warped)
    return [each for each in found if each is not None]


def _scores(labels: np.ndarray, truth: Image) -> Scores:
    known = truth.array != UNKNOWN
    organs = [organ for organ in ORGANS if (truth.array == NUMBER[organ]).any()]
    return {organ: dice((labels == NUMBER[organ]) & known, truth.array == NUMBER[organ]) for organ in organs}


def _mean(scores: Scores) -> float:
    return float(np.mean(list(scores.values())))


def _over(scores: list[Scores], organ: str) -> float:
    return float(np.mean([each[organ] for each in scores if organ in each]))


def _report(
    singles: list[Scores], best: list[float], fused: dict[str, list[Scores]], args: argparse.Namespace, cpu: float
) -> None:
    title(f"{len(best)} real CTs ({args.targets}), voxels of about {args.spacing} mm, preset {args.preset}")
    single = float(np.mean([_mean(each) for each in singles]))
    line("registrations", str(len(singles)))
    line("mean Dice of one atlas", f"{single:.3f}")
    line("mean Dice of the best single one", f"{float(np.mean(best)):.3f}")
    for method in METHODS:
        mean = float(np.mean([_mean(each) for each in fused[method]]))
        line(f"{method}", f"{mean:.3f}   {100 * (mean - single):+.1f} points over one")
    title("Dice by organ")
    organs = [organ for organ in ORGANS if any(organ in each for each in singles)]
    rows = [
        [organ, *(f"{_over(each, organ):.2f}" for each in (singles, *map(fused.get, METHODS)) if each)]
        for organ in organs
    ]
    table(["organ", "one", *METHODS], rows)
    line("time of the processor, s", f"{cpu:.0f}")


if __name__ == "__main__":
    sys.exit(main())
