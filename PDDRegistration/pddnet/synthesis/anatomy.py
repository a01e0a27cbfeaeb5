"""Prepare the label map of a real person or a virtual patient, so that patients can be synthesised from it (`Anatomy`).

The wall of the trunk and the inner layers of bones and organs are added, which a scan shows but a label map lacks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..core.grid import Grid
from ..core.image import Image
from ..errors import InputError
from ..features.label_table import NUMBER, structure_of, told_apart
from ..io.label_names import read_names
from ..io.volumes import read_labels

HULL_GAP_MM = 36.0  # gaps between structures up to twice as wide lie inside the trunk
HULL_SPACING_MM = 4.0
HULL_MARGIN_MM = 100.0
LEAST_WALL_MM = 8.0  # of muscle over whatever is labelled
MOST_LAYERS = 254  # codes are bytes, and a label may take two

# The materials (`tissue.MATERIAL_HU`) of labels that are no structure of the common table, by a pattern in their names.
_MATERIAL_OF_PATTERN = (
    (r"trachea", "air"),
    (r"disc", "disc"),
    (r"cord", "cord"),
    (r"scapula|clavicula|humerus|skull|vertebra|cervical", "bone"),
    (r"ureter|renal_pelvis", "urine"),
    (r"vein|vena|venous", "vein"),
    (r"arter|trunk", "artery"),
    (r"muscle", "muscle"),
    (r"thyroid|prostate|uterus", "gland"),
)
# The materials of structures that have another name than their material.
_MATERIAL_OF_STRUCTURE = {
    "aorta": "artery", "vena_cava": "vein", "portal_vein": "portal", "psoas": "muscle", "erector_spinae": "muscle",
    "gluteus": "muscle", "adrenal_gland": "gland", "bladder": "urine", "gallbladder": "bile", "oesophagus": "wall",
    "sternum": "cartilage", "rib": "bone", "sacrum": "bone", "hip": "bone", "femur": "bone",
}  # fmt: skip
# The layers of what is not of one material: that of the shell, that of the core, and the shell's thickness in mm.
_SHELL_AND_CORE = {
    "bone": ("bone", "marrow", 2.0),
    "kidney": ("kidney", "medulla", 6.0),
    "heart": ("muscle", "heart", 8.0),
    "stomach": ("wall", "lumen", 3.0),
    "colon": ("wall", "lumen", 2.0),
    "small_bowel": ("wall", "lumen", 2.0),
}


@dataclass(frozen=True)
class Layer:
    """Code of an anatomy: its label in the map, structure (number in the common table; 0 none) and material."""

    label: str
    structure: int
    material: str


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Anatomy: codes on a canonical grid, the meaning of each, and the height above the trunk's wall.

    Attributes:
        name: for messages.
        codes: (D, H, W) uint8 on `grid`, an index into `layers`; 0 where the map has no label.
        layers: the meaning of each code.
        height: (D', H', W') float32 on `height_grid`, mm above the trunk's wall; negative inside.
        annotated: structures of the common table that the map distinguishes.
    """

    name: str
    codes: np.ndarray
    grid: Grid
    layers: tuple[Layer, ...]
    height: np.ndarray
    height_grid: Grid
    annotated: frozenset[int]

    @classmethod
    def of(cls, name: str, labels: Image, names: dict[int, str]) -> Anatomy:
        """Make the anatomy of a label map (D, H, W) of any geometry and the name of each label number.

        Raises:
            InputError: no label name means a structure of the body, or there are too many.
        """
        labels = labels.canonical()
        codes = np.zeros(labels.array.shape, np.uint8)
        layers = [Layer("", 0, "")]
        for value, label in names.items():
            mask = labels.array == value
            material = _material(label)
            if material is None or not mask.any():
                continue
            structure = NUMBER.get(structure_of(label) or "", 0)
            outer, core, thickness = _SHELL_AND_CORE.get(material, (material, None, 0.0))
            codes[mask] = len(layers)
            layers.append(Layer(label, structure, outer))
            if core is not None:
                codes[_below_surface(mask, labels.grid, thickness)] = len(layers)
                layers.append(Layer(label, structure, core))
            if len(layers) > MOST_LAYERS:
                raise InputError(
                    f"{name}: more structures than can be told apart, about {MOST_LAYERS}; name fewer of them"
                )
        if len(layers) == 1:
            raise InputError(f"{name}: none of the label names means a structure of the body")
        height, height_grid = _height_above_wall(Image((codes > 0).astype(np.uint8), labels.grid))
        annotated = told_apart(names.values(), frozenset(layer.structure for layer in layers if layer.structure))
        return cls(name, codes, labels.grid, tuple(layers), height, height_grid, annotated)

    def centre(self, code: int) -> np.ndarray | None:
        """Return the centre (3,) LPS mm of a code's voxels, of every second one; None where there are none."""
        k, j, i = np.nonzero(self.codes[::2, ::2, ::2] == code)
        if not len(k):
            return None
        return self.grid.index_to_point(2.0 * np.array([i.mean(), j.mean(), k.mean()]))


def read_anatomy(path: Path) -> Anatomy:
    """Read a label map with its names beside it: NAME.nii.gz (or any volume) and NAME.json, label number -> name.

    Raises:
        InputError: a file is missing or holds nothing that can be used.
    """
    stem = re.sub(r"\.(nii\.gz|nii|nrrd|mha)$", "", path.name)
    names = read_names(path.with_name(f"{stem}.json"))
    return Anatomy.of(stem, read_labels(path)[0], names)


def _material(label: str) -> str | None:
    """Return the material of a label, or the key of its layers; None for labels not painted, as the body's outline."""
    structure = structure_of(label)
    if structure is not None:
        return _MATERIAL_OF_STRUCTURE.get(structure, "bone" if structure.startswith("vertebra") else structure)
    plain = re.sub(r"[\s\-]+", "_", label.lower())
    return next((material for pattern, material in _MATERIAL_OF_PATTERN if re.search(pattern, plain)), None)


def _below_surface(mask: np.ndarray, grid: Grid, depth_mm: float) -> np.ndarray:
    """Return the voxels of a mask that lie more than `depth_mm` under its surface; never its outermost ones."""
    window = ndimage.find_objects(mask.astype(np.uint8))[0]
    to_outside = ndimage.distance_transform_edt(np.pad(mask[window], 1), sampling=grid.spacing[::-1])
    voxel = grid.spacing.mean()
    # distances are to the nearest voxel outside; a rounded surface is about a quarter of a voxel nearer
    least = max(depth_mm + voxel / 4, voxel)
    deep = np.zeros_like(mask)
    deep[window] = to_outside[1:-1, 1:-1, 1:-1] > least
    return deep


def _height_above_wall(structures: Image) -> tuple[np.ndarray, Grid]:
    """Compute heights (D', H', W') in mm above the trunk's wall, on a coarse grid that reaches HULL_MARGIN_MM beyond
    the map.

    The trunk is the morphological closing of all structures by HULL_GAP_MM, widened by LEAST_WALL_MM.
    """
    grid = structures.grid.isotropic(HULL_SPACING_MM, HULL_MARGIN_MM)
    filled = _extend_ends(structures).resample(grid, labels=True).array > 0
    dilated = ndimage.distance_transform_edt(~filled, sampling=HULL_SPACING_MM) < HULL_GAP_MM
    trunk = ndimage.distance_transform_edt(dilated, sampling=HULL_SPACING_MM) > HULL_GAP_MM - LEAST_WALL_MM
    outside = ndimage.distance_transform_edt(~trunk, sampling=HULL_SPACING_MM)
    inside = ndimage.distance_transform_edt(trunk, sampling=HULL_SPACING_MM)
    smooth = ndimage.gaussian_filter((outside - inside).astype(np.float32), 2.0)
    return smooth, grid


def _extend_ends(structures: Image) -> Image:
    """Repeat the first and last slice beyond the map: its ends are cuts through the body, not the body's wall."""
    grid = structures.grid
    more = int(np.ceil(HULL_MARGIN_MM / grid.spacing[2])) + 1
    array = np.pad(structures.array, ((more, more), (0, 0), (0, 0)), mode="edge")
    origin = grid.index_to_point(np.array([0, 0, -more]))
    return Image(array, Grid(array.shape, grid.spacing, origin, grid.direction))
