"""Draw whole patients from label maps of people, for `pddnet phantom --anatomy`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from ..phantom.write import PatientFiles
from ..tensor.convert import to_array
from .anatomy import read_anatomy
from .arms_and_table import add_table
from .patient import PatientSource, synthesise

EXTENT_MM = (320.0, 400.0)  # from front to back and from side to side
HEIGHTS_MM = (170.0, 450.0)  # along the body: from a slab to the trunk
HEIGHT_STREAM = 11  # of random numbers, apart from those that paint the patient


def patients_from_maps(folder: Path, spacing_mm: float) -> Callable[[int], PatientFiles]:
    """Make a function that draws the patient of a seed from a folder of label maps, in voxels of `spacing_mm`.

    The maps, NAME.nii.gz with their names in NAME.json (see `read_anatomy`), are used in turn, and exchange organs and
    arrangement. A label number means the same name in all patients.

    Raises:
        InputError: the folder holds no label map that can be used.
    """
    sources = _read_sources(folder)
    names = sorted({layer.label for source in sources for layer in source.anatomy.layers if layer.label})
    number_of = {"": 0} | {name: n for n, name in enumerate(names, 1)}
    kind = np.uint8 if len(names) <= np.iinfo(np.uint8).max else np.uint16

    def draw(seed: int) -> PatientFiles:
        source = sources[seed % len(sources)]
        grid = _random_grid(seed, spacing_mm)
        sample = synthesise(source, grid.shape, seed, spacing_mm)
        number_of_code = np.array([number_of[layer.label] for layer in source.anatomy.layers], kind)
        own_names = {n: names[n - 1] for n in sorted({*number_of_code.tolist()} - {0})}
        hu = add_table(sample.values[0], sample.values[1] > 0.5, spacing_mm)
        hu_array = np.rint(to_array(hu)).astype(np.int16)
        assert sample.codes is not None  # made from an anatomy
        labels = number_of_code[to_array(sample.codes).astype(int)]
        return Image(hu_array, grid), Image(labels, grid), own_names, {}

    return draw


def _read_sources(folder: Path) -> list[PatientSource]:
    """Read all label maps of a folder that have names, each with all others to take organs from."""
    paths = sorted(path for path in folder.glob("*.nii.gz") if path.with_name(path.name[:-7] + ".json").exists())
    if not paths:
        raise InputError(f"{folder}: no label map NAME.nii.gz with its names in NAME.json")
    sources = [PatientSource(read_anatomy(path)) for path in paths]
    for source in sources:
        source.others = [other for other in sources if other is not source]
    return sources


def _random_grid(seed: int, spacing_mm: float) -> Grid:
    """Draw an isotropic grid along LPS, around the origin; its height along the body is random."""
    height = np.random.default_rng([seed, HEIGHT_STREAM]).uniform(*HEIGHTS_MM)
    front_to_back, side_to_side = EXTENT_MM
    shape = (round(height / spacing_mm), round(front_to_back / spacing_mm), round(side_to_side / spacing_mm))
    origin = -(np.array(shape[::-1]) - 1) / 2 * spacing_mm
    return Grid(shape, np.full(3, spacing_mm), origin, np.eye(3))
