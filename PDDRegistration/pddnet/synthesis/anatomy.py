"""`Anatomy`: a label map of a real person (or a virtual one), prepared so that patients can be synthesised from it.

What a map leaves open, a scan would show: the wall of the trunk, the fat under the skin, marrow within compact bone.
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
from ..features.label_table import NUMBER, structure_of
from ..io.label_names import read_names
from ..io.volumes import read_labels

HULL = 36.0  # mm: gaps between structures up to twice as wide lie inside the trunk
HULL_SPACING = 4.0
HULL_MARGIN = 100.0  # mm
WITHIN = 8.0  # mm of muscle at least over whatever is labelled
MOST_LAYERS = 254  # codes are bytes, and a label may take two

# What shows what is not a structure of the common table, and the inner layer of what is not of one piece: material of
# the shell, of the core, and the shell's thickness in mm.
_MATERIALS = (
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
_OF_STRUCTURE = {
    "aorta": "artery", "vena_cava": "vein", "portal_vein": "portal", "psoas": "muscle", "erector_spinae": "muscle",
    "gluteus": "muscle", "adrenal_gland": "gland", "bladder": "urine", "gallbladder": "bile", "oesophagus": "wall",
    "sternum": "cartilage", "rib": "bone", "sacrum": "bone", "hip": "bone", "femur": "bone",
}  # fmt: skip
_LAYERS = {
    "bone": ("bone", "marrow", 2.0),
    "kidney": ("kidney", "medulla", 6.0),
    "heart": ("muscle", "heart", 8.0),
    "stomach": ("wall", "lumen", 3.0),
    "colon": ("wall", "lumen", 2.0),
    "small_bowel": ("wall", "lumen", 2.0),
}


@dataclass(frozen=True)
class Layer:
    """What the voxels of one code are: which label of the map, which structure (0: none) and which material."""

    label: str
    structure: int
    material: str


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Codes (D, H, W) on a canonical grid, what each means, and the depth under the trunk's wall.

    Attributes:
        codes: uint8 (D, H, W), an index into `layers`; 0 where the map says nothing.
        height: (D', H', W') float32 on `height_grid`, mm above the trunk's wall; negative inside.
        annotated: structures of the common table that the map tells apart.
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
        """From a label map of any geometry and what its numbers mean."""
        labels = labels.canonical()
        codes, layers = np.zeros(labels.array.shape, np.uint8), [Layer("", 0, "")]
        for value, label in names.items():
            mask = labels.array == value
            material = _material(label)
            if material is None or not mask.any():
                continue
            structure = NUMBER.get(structure_of(label) or "", 0)
            outer, core, thickness = _LAYERS.get(material, (material, None, 0.0))
            codes[mask] = len(layers)
            layers.append(Layer(label, structure, outer))
            if core is not None:
                codes[_deeper(mask, labels.grid, thickness)] = len(layers)
                layers.append(Layer(label, structure, core))
            if len(layers) > MOST_LAYERS:
                raise InputError(
                    f"{name}: more structures than can be told apart, about {MOST_LAYERS}; name fewer of them"
                )
        if len(layers) == 1:
            raise InputError(f"{name}: none of the label names means a structure of the body")
        height, height_grid = _height(Image((codes > 0).astype(np.uint8), labels.grid))
        annotated = frozenset(layer.structure for layer in layers if layer.structure)
        return cls(name, codes, labels.grid, tuple(layers), height, height_grid, annotated)

    def middle(self, code: int) -> np.ndarray | None:
        """(3,) LPS mm, the centre of a code's voxels; None where there are none."""
        found = np.nonzero(self.codes[::2, ::2, ::2] == code)
        return self.grid.index_to_point(2.0 * np.array([f.mean() for f in found[::-1]])) if len(found[0]) else None


def read_anatomy(path: Path) -> Anatomy:
    """A label map with its names beside it: NAME.nii.gz (or any volume) and NAME.json, label number -> name.

    Raises:
        InputError: a file is missing or says nothing that can be used.
    """
    stem = re.sub(r"\.(nii\.gz|nii|nrrd|mha)$", "", path.name)
    names = read_names(path.with_name(f"{stem}.json"))
    return Anatomy.of(stem, read_labels(path)[0], names)


def _material(label: str) -> str | None:
    """The material of a label, or the key of its layers; None for what is not painted, as the body's own outline."""
    structure = structure_of(label)
    if structure is not None:
        return _OF_STRUCTURE.get(structure, "bone" if structure.startswith("vertebra") else structure)
    plain = re.sub(r"[\s\-]+", "_", label.lower())
    return next((material for pattern, material in _MATERIALS if re.search(pattern, plain)), None)


def _deeper(mask: np.ndarray, grid: Grid, depth: float) -> np.ndarray:
    """The voxels of a mask that lie more than `depth` mm under its surface; never its outermost ones."""
    window = ndimage.find_objects(mask.astype(np.uint8))[0]
    within = ndimage.distance_transform_edt(np.pad(mask[window], 1), sampling=grid.spacing[::-1])
    voxel = grid.spacing.mean()
    deep = np.zeros_like(mask)
    # distances are to the nearest voxel outside; the surface of a rounded thing is about a quarter of a voxel nearer
    deep[window] = within[1:-1, 1:-1, 1:-1] > max(depth + voxel / 4, voxel)
    return deep


def _height(structures: Image) -> tuple[np.ndarray, Grid]:
    """mm above the trunk's wall, on a coarse grid that reaches HULL_MARGIN beyond the map."""
    grid = structures.grid.isotropic(HULL_SPACING, HULL_MARGIN)
    filled = _continued(structures).resample(grid, labels=True).array > 0
    near = ndimage.distance_transform_edt(~filled, sampling=HULL_SPACING) < HULL
    closed = ndimage.distance_transform_edt(near, sampling=HULL_SPACING) > HULL - WITHIN
    outside = ndimage.distance_transform_edt(~closed, sampling=HULL_SPACING)
    inside = ndimage.distance_transform_edt(closed, sampling=HULL_SPACING)
    smooth = ndimage.gaussian_filter((outside - inside).astype(np.float32), 2.0)
    return smooth, grid


def _continued(structures: Image) -> Image:
    """With the first and last slice repeated beyond them: a map's ends are cuts through the body, not its wall."""
    grid = structures.grid
    more = int(np.ceil(HULL_MARGIN / grid.spacing[2])) + 1
    array = np.pad(structures.array, ((more, more), (0, 0), (0, 0)), mode="edge")
    return Image(array, Grid(array.shape, grid.spacing, grid.index_to_point([0, 0, -more]), grid.direction))
