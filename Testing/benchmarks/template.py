"""Measure the mean of painted patients: how sharp it is round by round, and whether displacements and sizes are true.

Usage: PYTHONPATH=Testing python -m benchmarks.template [--patients 8] [--spacing 4.0] [--preset default] [--keep X]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from benchmarks.console import line, table, title
from pddnet.cli.main import main as pddnet
from pddnet.core.field import DisplacementField
from pddnet.core.image import Image
from pddnet.evaluation.metrics import dice
from pddnet.fusion.vote import vote
from pddnet.io.text_files import read_json
from pddnet.phantom.labels import LABELS, RIBS
from pddnet.phantom.phantom import Patient, full_view, virtual_patient
from pddnet.template.average import (
    Member,
    Placed,
    Settings,
    average,
    body_of,
    field_of,
    on_mean_shape,
    read_hu,
    shape_of,
)
from pddnet.template.rounds import TARGET, round_folder
from pddnet.template.shape import mean_field

SEED = 701  # no settings were chosen on these patients
ORGANS = [number for number in LABELS if number < RIBS]  # soft tissues
SMALLEST_VOXELS = 30  # of an organ whose volume is compared


@dataclass(frozen=True)
class Cohort:
    """Painted patients, and the scans that show them."""

    patients: list[Patient]
    members: list[Member]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=8)
    parser.add_argument("--spacing", type=float, default=4.0, help="mm, voxels of the scans and of the mean")
    parser.add_argument("--preset", default="default")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep scans and template here, and go on from there"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        cohort = _paint(folder, args.patients, args.spacing)
        start = time.perf_counter()
        report = _make(folder / "template", cohort, args)
        seconds = time.perf_counter() - start
        title(f"{args.patients} painted patients, voxels of {args.spacing:g} mm, preset {args.preset}")
        _report_rounds(folder / "template", cohort, report, Settings(args.spacing))
        _report_truth(folder / "template", cohort, report)
        line("time, s", f"{seconds:.0f}")
    return 0


def _paint(folder: Path, count: int, spacing_mm: float) -> Cohort:
    patients, members = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(SEED, SEED + count):
        patient = virtual_patient(seed, full_view(seed, spacing_mm))
        scan, labels = folder / f"p{seed}.nii.gz", folder / f"p{seed}_labels.nii.gz"
        for image, path in ((patient.image, scan), (patient.labels, labels)):
            if not path.exists():
                sitk.WriteImage(image.to_sitk(), str(path), True)
        patients.append(patient)
        members.append(Member(f"p{seed}", scan, labels))
    return Cohort(patients, members)


def _make(out: Path, cohort: Cohort, args: argparse.Namespace) -> dict[str, Any]:
    """Run the command, and return its report."""
    scans = [str(member.scan) for member in cohort.members]
    labels = [str(member.labels) for member in cohort.members]
    settings = ["--spacing", str(args.spacing), "--preset", args.preset, "--workers", "1", "--threads", "1"]
    with contextlib.redirect_stdout(sys.stderr):
        pddnet(["template", *scans, "--labels", *labels, "--out", str(out), *settings])
    report: dict[str, Any] = read_json(out / "report.json")
    return report


def _report_rounds(out: Path, cohort: Cohort, report: dict[str, Any], settings: Settings) -> None:
    """Print what each round reaches, after the mean of scans that are aligned by affine maps only."""
    rows = [["affine only", *_affine_row(out, cohort, settings)]]
    fixed, before = cohort.members[0].scan, None
    for found in report["rounds"]:
        placed = _placed(out, found["number"], [each for each in cohort.members if each.id in found["used"]])
        values = (found["residual_mm"], found["sharpness_hu_per_mm"], found["spread_hu"], found["least_determinant"])
        moved, sharpness, spread, least = (f"{value:.2f}" for value in values)
        mean, alike = _drift(before, fixed, placed, settings)
        agreement = _agreement(fixed, placed, cohort, settings)
        rows.append([str(found["number"]), moved, alike, sharpness, spread, *agreement, least])
        before = mean
        fixed = round_folder(out, found["number"]) / TARGET
    head = [
        "moved, mm",
        "as before, r",
        "sharpness, HU/mm",
        "spread, HU",
        "Dice to the majority",
        "landmarks, mm",
        "least determinant",
    ]
    table(["round", *head], rows)
    line("mean displacement, mm", f"{report['mean_displacement_mm']:.4f}")
    line("folds, %, worst scan", f"{max(row['folding_percent'] for row in report['scans']):.4f}")


def _drift(
    before: DisplacementField | None, fixed: Path, placed: Sequence[Placed], settings: Settings
) -> tuple[DisplacementField, str]:
    """Return how the mean moved, and how much like the round before: near 1 it drifts, near 0 it scatters."""
    scan = read_hu(fixed, settings)
    mean, body = mean_field(field_of(each, scan) for each in placed), body_of(scan)
    points = body.grid.points()[body.array]
    return mean, "" if before is None else f"{_pearson(mean.sample(points), before.sample(points)):.2f}"


def _placed(out: Path, number: int, members: Sequence[Member]) -> list[Placed]:
    """Find the transforms of a round; the scan that was fixed has none."""
    folders = {member.id: sorted((round_folder(out, number) / member.id).glob("*_xfm.h5")) for member in members}
    return [Placed(member, folders[member.id][0] if folders[member.id] else None) for member in members]


def _affine_row(out: Path, cohort: Cohort, settings: Settings) -> list[str]:
    """Average the scans by the affine part of the first round's transforms."""
    fixed = cohort.members[0].scan
    with tempfile.TemporaryDirectory() as name:
        placed = []
        for each in _placed(out, 1, cohort.members):
            path = each.transform
            if path is not None:
                field = DisplacementField(*_array_and_grid(path))
                matrix, shift = field.affine()
                path = Path(name) / f"{each.member.id}.tfm"
                sitk.WriteTransform(sitk.AffineTransform(matrix.ravel().tolist(), shift.tolist()), str(path))
            placed.append(Placed(each.member, path))
        found = average(read_hu(fixed, settings), placed, settings, lambda share, name: None)
        agreement = _agreement(fixed, placed, cohort, settings)
    return ["", "", f"{found.sharpness_hu_per_mm:.2f}", f"{found.spread_hu:.2f}", *agreement, ""]


def _array_and_grid(path: Path) -> tuple[np.ndarray, Any]:
    image = sitk.DisplacementFieldTransform(sitk.ReadTransform(str(path))).GetDisplacementField()
    probe = sitk.VectorIndexSelectionCast(image, 0)
    return sitk.GetArrayFromImage(image).astype(np.float32), Image.from_sitk(probe).grid


def _agreement(fixed: Path, placed: Sequence[Placed], cohort: Cohort, settings: Settings) -> list[str]:
    """Return the mean Dice of each scan's warped true labels to the majority's, and the mean error at landmarks, mm."""
    scan = read_hu(fixed, settings)
    shape = shape_of(scan, placed, settings)
    patients = {m.id: p for m, p in zip(cohort.members, cohort.patients, strict=True)}
    used = {each.member.id: patients[each.member.id] for each in placed}
    points, true = _displacements(used)
    warped, errors = [], []
    for (each, field, values), expected in zip(on_mean_shape(placed, scan, shape, settings), true, strict=True):
        labels = Image.from_sitk(sitk.ReadImage(str(each.member.labels)))
        warped.append(labels.resample(values.grid, field.to_sitk(), labels=True).array)
        errors.append(np.linalg.norm(field.sample(points) - expected, axis=-1).mean())
    majority, _ = vote(np.stack(warped), np.ones((len(warped), *warped[0].shape), np.float32))
    found = [dice(each == n, majority == n) for each in warped for n in ORGANS if (each == n).any()]
    return [f"{np.mean([value or 0.0 for value in found]):.3f}", f"{np.mean(errors):.2f}"]


def _report_truth(out: Path, cohort: Cohort, report: dict[str, Any]) -> None:
    """Print how displacements at landmarks and volumes of organs agree with what was painted."""
    used = [row["id"] for row in report["scans"]]
    patients = {
        member.id: patient for member, patient in zip(cohort.members, cohort.patients, strict=True) if member.id in used
    }
    transforms = {name: sitk.ReadTransform(str(out / "scans" / name / "transform.h5")) for name in patients}
    points, true = _displacements(patients)
    landed = np.array([[each.TransformPoint(point.tolist()) for point in points] for each in transforms.values()])
    found = landed - points
    title("displacements from the mean to the patients, at landmarks")
    for what, degree in (("all", -1), ("without each patient's shift", 0), ("without each patient's affine map", 1)):
        here, there = (np.stack([_without(each, points, degree) for each in sets]) for sets in (true, found))
        error = np.linalg.norm(there - here, axis=-1).mean()
        size = np.linalg.norm(here, axis=-1).mean()
        line(what, f"r = {_pearson(here, there):.3f}", f"true {size:.1f} mm", f"error {error:.1f} mm")
    line("landmarks, patients", str(len(points)), str(len(patients)))
    title("log volumes of organs against log-Jacobians")
    pairs = _volumes(out, patients)
    for what, part in (("between patients", pairs), ("without each patient's mean", [_centred(p) for p in pairs])):
        line(what, f"r = {_pearson(np.array(part[0]), np.array(part[1])):.3f}")


def _displacements(patients: dict[str, Patient]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean places (L, 3) of landmarks, and the true displacements (N, L, 3) from there to each patient.

    Landmarks count that lie in the view of all patients.
    """
    names = [
        name
        for name in next(iter(patients.values())).landmarks
        if all(patient.image.grid.contains(patient.landmarks[name]) for patient in patients.values())
    ]
    places = np.array([[patient.landmarks[name] for name in names] for patient in patients.values()])
    mean = places.mean(0)
    return mean, places - mean


def _without(displacements: np.ndarray, points: np.ndarray, degree: int) -> np.ndarray:
    """Take the mean (degree 0), or the best affine map (1), from displacements (L, 3) at points (L, 3)."""
    if degree < 0:
        return displacements
    columns = [np.ones(len(points))] + ([points - points.mean(0)] if degree else [])
    base = np.column_stack(columns)
    return np.asarray(displacements - base @ np.linalg.lstsq(base, displacements, rcond=None)[0])


def _volumes(out: Path, patients: dict[str, Patient]) -> tuple[np.ndarray, np.ndarray]:
    """Return log volumes (N, organs) and the logarithms of mean Jacobian determinants, less their means over N."""
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "template_labels.nii.gz")))
    organs = [
        n for n in ORGANS if (labels == n).sum() >= SMALLEST_VOXELS and all(_whole(p, n) for p in patients.values())
    ]
    true, found = [], []
    for name, patient in patients.items():
        logarithm = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "scans" / name / "log_jacobian.nii.gz")))
        true.append([np.log((patient.labels.array == n).sum()) for n in organs])
        found.append([np.log(np.exp(logarithm[labels == n]).mean()) for n in organs])
    return tuple(np.array(each) - np.mean(each, axis=0) for each in (true, found))  # type: ignore[return-value]


def _whole(patient: Patient, organ: int) -> bool:
    """Tell whether a patient has an organ, and the view does not cut it."""
    inside = patient.labels.array == organ
    ends = [inside.take(end, axis).any() for axis in range(3) for end in (0, -1)]
    return bool(inside.sum() >= SMALLEST_VOXELS and not any(ends))


def _centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


if __name__ == "__main__":
    sys.exit(main())
