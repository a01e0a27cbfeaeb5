"""Make the sample pair in PDDRegistration/Resources/SampleData: two virtual patients in two scans of different views.

Usage: python tools/make_sample_pair.py [--out FOLDER]
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

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "PDDRegistration" / "Resources" / "SampleData"  # Slicer packages it
FIXED_SEED, MOVING_SEED = 21, 6
L2_OFFSET_MM = np.array([38.0, -46.0, 57.0])  # LPS, from the fixed patient's second lumbar vertebra to the moving one's
VIEW_MM = (410.0, 310.0)  # along x and y
VIEW_CENTRE_MM = np.array([0.0, -6.0, 0.0])  # from the centre of the full view
NOISE_HU = 7.0
ROUNDING_HU = 8  # near the noise of a scan, and the files become small


def main() -> None:
    """Write all files of the sample pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for the files (default: the module's)")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, patient in zip(("fixed", "moving"), sample_pair(), strict=True):
        write(patient, name, folder)
    names = {str(label): name for label, name in LABELS.items()}
    (folder / "labels.json").write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")


def sample_pair() -> tuple[Patient, Patient]:
    """Paint both patients. Fixed: chest to iliac crest. Moving: an oblique scan with thick slices, stored feet last."""
    fixed_view = cropped(full_view(FIXED_SEED), (3.0, 3.0, 3.0), -130, 190, (0, 0, 0))
    fixed = virtual_patient(FIXED_SEED, fixed_view, noise=NOISE_HU)

    moving_view = cropped(full_view(MOVING_SEED), (3.0, 3.0, 5.0), -205, 125, (9, -5, 12))
    moving = virtual_patient(MOVING_SEED, feet_last(moving_view), noise=NOISE_HU)
    return fixed, moved(moving, fixed.landmarks["L2_body"] + L2_OFFSET_MM - moving.landmarks["L2_body"])


def cropped(
    grid: Grid, spacing_mm: tuple[float, float, float], bottom: float, top: float, degrees: tuple[float, ...]
) -> Grid:
    """Return a view of VIEW_MM around the middle of `grid`, from `bottom` to `top` mm along z, rotated by `degrees`."""
    direction = rotation(np.array(degrees))
    size = np.round(np.array([*VIEW_MM, top - bottom]) / spacing_mm).astype(int)
    centre = grid.centre + VIEW_CENTRE_MM + [0, 0, (top + bottom) / 2]
    origin = centre - direction @ ((size - 1) / 2 * spacing_mm)
    return Grid(tuple(size[::-1].tolist()), np.array(spacing_mm), origin, direction)


def feet_last(grid: Grid) -> Grid:
    """Return the same grid with its slices stored from head to feet: left-handed."""
    last = grid.index_to_point([0, 0, grid.shape[0] - 1])
    return Grid(grid.shape, grid.spacing, last, grid.direction * [1, 1, -1])


def moved(patient: Patient, offset_mm: np.ndarray) -> Patient:
    """Shift a scan, its labels and landmarks by `offset_mm` (3,), LPS."""
    grid = patient.image.grid
    grid = Grid(grid.shape, grid.spacing, grid.origin + offset_mm, grid.direction)
    points = {name: point + offset_mm for name, point in patient.landmarks.items()}
    return Patient(Image(patient.image.array, grid), Image(patient.labels.array, grid), points)


def write(patient: Patient, name: str, folder: Path) -> None:
    """Write a scan, its labels, and the landmarks inside its view (LPS mm)."""
    hu = (np.round(patient.image.array / ROUNDING_HU) * ROUNDING_HU).astype(np.int16)
    image = Image(hu, patient.image.grid).to_sitk()
    sitk.WriteImage(image, str(folder / f"{name}.nii.gz"), useCompression=True)
    sitk.WriteImage(patient.labels.to_sitk(), str(folder / f"{name}_labels.nii.gz"), useCompression=True)
    with (folder / f"{name}_landmarks.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "x", "y", "z"])
        for landmark, point in patient.landmarks.items():
            if patient.image.grid.contains(point):
                writer.writerow([landmark, *(f"{value:.1f}" for value in point)])


if __name__ == "__main__":
    main()
