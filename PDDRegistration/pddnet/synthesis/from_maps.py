"""Draw whole patients from label maps of people, for `pddnet phantom --anatomy`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from ..phantom.write import Patient
from ..tensor.convert import to_array
from .anatomy import read_anatomy
from .arms_and_table import on_table
from .patient import Source, synthesise

EXTENT_MM = (320.0, 400.0)  # from front to back and from side to side
HEIGHTS_MM = (170.0, 450.0)  # along the body: from a slab to the trunk


def patients_from_maps(folder: Path, spacing: float) -> Callable[[int], Patient]:
    """Draw patients from a folder of label maps NAME.nii.gz with their names in NAME.json (see `read_anatomy`).

    The maps are used in turn, and lend each other organs and arrangement. Voxels of `spacing` mm.

    Raises:
        InputError: the folder holds no label map that can be used.
    """
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

    def draw(seed: int) -> Patient:
        source = sources[seed % len(sources)]
        height = np.random.default_rng([seed, 11]).uniform(*HEIGHTS_MM)
        shape = tuple(round(extent / spacing) for extent in (height, *EXTENT_MM))
        sample = synthesise(source, shape, seed, spacing)
        numbers = np.array([number[layer.label] for layer in source.anatomy.layers], kind)
        names = {n: every[n - 1] for n in sorted({*numbers.tolist()} - {0})}
        grid = Grid(shape, np.full(3, spacing), -(np.array(shape[::-1]) - 1) / 2 * spacing, np.eye(3))
        hu = on_table(sample.values[0], sample.values[1] > 0.5, spacing)
        hu = np.rint(to_array(hu)).astype(np.int16)
        labels = numbers[to_array(sample.codes).astype(int)]
        return Image(hu, grid), Image(labels, grid), names, {}

    return draw
