"""Makes the sample pair in PDDRegistration/Resources/SampleData: two virtual patients, seen by two different scans.

Usage: python Resources/make_sample_pair.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.phantom.phantom import LABELS, Patient, full_view, rotation, virtual_patient

FOLDER = Path(__file__).resolve().parent.parent / "PDDRegistration" / "Resources" / "SampleData"  # Slicer packages it
FIXED, MOVING = 21, 6  # seeds
OFFSET = np.array([38.0, -46.0, 57.0])  # mm: where the moving patient's L2 lies, seen from the fixed one's
ROUNDING = 8  # HU: far below the noise of a scan, and the files become small
NOISE = 7.0  # HU


def cropped(
    grid: Grid, spacing: tuple[float, float, float], bottom: float, top: float, degrees: tuple[float, ...]
) -> Grid:
    """A view of 400 x 320 mm around the middle of `grid`, from `bottom` to `top` mm along z, turned by `degrees`."""
    direction = rotation(np.array(degrees))
    size = np.round(np.array([410, 310, top - bottom]) / spacing).astype(int)
    middle = grid.centre + [0, -6, (top + bottom) / 2]
    return Grid(tuple(size[::-1]), np.array(spacing), middle - direction @ ((size - 1) / 2 * spacing), direction)


def sample_pair() -> tuple[Patient, Patient]:
    """The fixed patient: chest to iliac crest. The moving one: an oblique scan with thick slices, stored feet last."""
    fixed = virtual_patient(FIXED, cropped(full_view(FIXED), (3.0, 3.0, 3.0), -130, 190, (0, 0, 0)), noise=NOISE)
    view = cropped(full_view(MOVING), (3.0, 3.0, 5.0), -205, 125, (9, -5, 12))
    last = view.index_to_point([0, 0, view.shape[0] - 1])
    view = Grid(view.shape, view.spacing, last, view.direction * [1, 1, -1])
    moving = virtual_patient(MOVING, view, noise=NOISE)
    return fixed, moved(moving, fixed.landmarks["L2_body"] + OFFSET - moving.landmarks["L2_body"])


def moved(patient: Patient, offset: np.ndarray) -> Patient:
    """The same scan on a table that lies `offset` (3,) mm further."""
    grid = patient.image.grid
    grid = Grid(grid.shape, grid.spacing, grid.origin + offset, grid.direction)
    points = {name: point + offset for name, point in patient.landmarks.items()}
    return Patient(Image(patient.image.array, grid), Image(patient.labels.array, grid), points)


def write(patient: Patient, name: str, folder: Path) -> None:
    """The scan, its labels, and the landmarks that the scan shows (LPS mm)."""
    hu = (np.round(patient.image.array / ROUNDING) * ROUNDING).astype(np.int16)
    sitk.WriteImage(Image(hu, patient.image.grid).to_sitk(), str(folder / f"{name}.nii.gz"), useCompression=True)
    sitk.WriteImage(patient.labels.to_sitk(), str(folder / f"{name}_labels.nii.gz"), useCompression=True)
    with (folder / f"{name}_landmarks.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "x", "y", "z"])
        for landmark, point in patient.landmarks.items():
            if patient.image.grid.contains(point):
                writer.writerow([landmark, *(f"{value:.1f}" for value in point)])


def main() -> None:
    """Writes all files of the sample pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, patient in zip(("fixed", "moving"), sample_pair(), strict=True):
        write(patient, name, folder)
    (folder / "labels.json").write_text(json.dumps({str(k): v for k, v in LABELS.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
