"""`pddnet cohort`: virtual patients, or patients made from label maps, as folders of scan, labels, names, landmarks."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from . import cohort
from .errors import InputError
from .grid import Grid
from .image import Image

EXTENT = (320.0, 400.0)  # mm from front to back and from side to side
HEIGHTS = (170.0, 450.0)  # mm along the body: from a slab to the trunk


def write_cohort(
    out: Path, count: int, seed: int, *, anatomies: Path | None = None, spacing: float = 3.0,
    report: Callable[[float, str], None] = lambda share, text: None,
) -> list[Path]:  # fmt: skip
    """Write `count` patients from `seed` on; each folder appears whole or not at all, what exists is left as it is.

    Args:
        anatomies: a folder of label maps with names (see `read_anatomy`), drawn from in turn, which lend each other
            organs and arrangement; None: the project's own virtual patients, which have landmarks too.
        spacing: mm.

    Raises:
        InputError: the folder holds no label map that can be used, or a file cannot be written.
    """
    draw = _from_maps(anatomies, spacing) if anatomies else _virtual(spacing)
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


Drawn = tuple[Image, Image, dict[int, str], dict[str, np.ndarray]]


def _virtual(spacing: float) -> Callable[[int], Drawn]:
    def draw(seed: int) -> Drawn:
        patient = cohort.virtual_patient(seed, cohort.random_view(seed, patient=seed, spacing=spacing))
        points = {n: p for n, p in patient.landmarks.items() if patient.image.grid.contains(p)}
        return patient.image, patient.labels, cohort.LABELS, points

    return draw


def _from_maps(folder: Path, spacing: float) -> Callable[[int], Drawn]:
    from .anatomy import read_anatomy
    from .surroundings import on_table
    from .synthesis import Source, synthesise
    from .tensors import to_array

    paths = sorted(path for path in folder.glob("*.nii.gz") if path.with_name(path.name[:-7] + ".json").exists())
    if not paths:
        raise InputError(f"{folder}: no label map NAME.nii.gz with its names in NAME.json")
    sources = [Source(read_anatomy(path)) for path in paths]
    for source in sources:
        source.others = [other for other in sources if other is not source]
    # one number means one name in all patients
    every = sorted({layer.label for source in sources for layer in source.anatomy.layers if layer.label})
    number = {"": 0} | {name: n for n, name in enumerate(every, 1)}
    kind = np.uint8 if len(every) <= np.iinfo(np.uint8).max else np.uint16

    def draw(seed: int) -> Drawn:
        source = sources[seed % len(sources)]
        height = np.random.default_rng([seed, 11]).uniform(*HEIGHTS)
        shape = tuple(round(extent / spacing) for extent in (height, *EXTENT))
        sample = synthesise(source, shape, seed, spacing)
        numbers = np.array([number[layer.label] for layer in source.anatomy.layers], kind)
        names = {n: every[n - 1] for n in sorted({*numbers.tolist()} - {0})}
        grid = Grid(shape, np.full(3, spacing), -(np.array(shape[::-1]) - 1) / 2 * spacing, np.eye(3))
        hu = on_table(sample.values[0], sample.values[1] > 0.5, spacing)
        hu = np.rint(to_array(hu)).astype(np.int16)
        labels = numbers[to_array(sample.codes).astype(int)]
        return Image(hu, grid), Image(labels, grid), names, {}

    return draw


def _write(folder: Path, image: Image, labels: Image, names: dict[int, str], landmarks: dict[str, np.ndarray]) -> None:
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
