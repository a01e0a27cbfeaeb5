"""Write patients as folders: scan, label map, names of the labels, landmarks."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.image import Image
from ..errors import InputError
from . import phantom

PatientFiles = tuple[Image, Image, dict[int, str], dict[str, np.ndarray]]
"""What the files of a patient hold: scan (HU), label map, label number -> name, landmark name -> (3,) LPS mm."""


def write_patients(
    out: Path,
    draw: Callable[[int], PatientFiles],
    count: int,
    seed: int,
    report: Callable[[float, str], None] = lambda share, text: None,
) -> list[Path]:
    """Write `count` patients, drawn with the seeds from `seed` on, and return their folders.

    Each folder appears complete or not at all; existing folders stay as they are.

    Raises:
        InputError: a file or folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: the folder cannot be made ({error.strerror}); choose another one") from None
    folders = [out / f"patient_{number:04d}" for number in range(seed, seed + count)]
    for n, folder in enumerate(folders):
        report(n / count, folder.name)
        if not folder.exists():
            _write(folder, *draw(seed + n))
    report(1.0, "done")
    return folders


def phantoms(spacing_mm: float) -> Callable[[int], PatientFiles]:
    """Make a function that draws the project's own procedural patient of a seed, with pixels of `spacing_mm`."""

    def draw(seed: int) -> PatientFiles:
        patient = phantom.virtual_patient(seed, phantom.random_view(seed, patient=seed, spacing=spacing_mm))
        points = {n: p for n, p in patient.landmarks.items() if patient.image.grid.contains(p)}
        return patient.image, patient.labels, phantom.LABELS, points

    return draw


def _write(folder: Path, image: Image, labels: Image, names: dict[int, str], landmarks: dict[str, np.ndarray]) -> None:
    """Write one patient's folder under a temporary name, and rename it when it is complete."""
    part = None
    try:
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        sitk.WriteImage(image.to_sitk(), str(part / "ct.nii.gz"), True)
        sitk.WriteImage(labels.to_sitk(), str(part / "labels.nii.gz"), True)
        (part / "labels.json").write_text(json.dumps(names, indent=1) + "\n")
        if landmarks:
            with (part / "landmarks.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("name", "x", "y", "z"), *((n, *p.round(2)) for n, p in landmarks.items())])
        part.chmod(0o755)
        part.rename(folder)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{folder}: cannot be written ({error}); is the disk full?") from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
