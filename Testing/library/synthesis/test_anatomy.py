"""Anatomies from label maps: what lies where, in LPS mm, whatever grid the map is stored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from helpers.geometry import inner_points, rotation
from helpers.trunk import MIDDLE, NAMES, anatomy, label_at, label_map, oblique_grid, place, write_anatomy
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.features.label_table import NUMBER
from pddnet.synthesis.anatomy import Anatomy, read_anatomy


def _codes_at(found: Anatomy, points: np.ndarray) -> np.ndarray:
    i, j, k = np.moveaxis(np.rint(found.grid.point_to_index(points)).astype(int), -1, 0)
    return found.codes[k, j, i]


def _sphere(radius: float) -> Anatomy:
    """One ball of liver about MIDDLE, on an oblique left-handed grid."""
    shape, spacing = (52, 46, 58), np.array([3.0, 4.0, 3.5])
    direction = rotation(8, -6, 11) @ np.diag([-1.0, 1.0, 1.0])
    grid = Grid(shape, spacing, MIDDLE - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)
    near = np.linalg.norm(grid.points() - MIDDLE, axis=-1) < radius
    return Anatomy.of("ball", Image(near.astype(np.uint8), grid), {1: "liver"})


def test_codes_tell_what_lies_at_a_point() -> None:
    found = anatomy()
    points = inner_points(oblique_grid(), 12000, 1.0)
    expected = label_at(points, edge=5.0)
    labels = np.array([layer.label for layer in found.layers])[_codes_at(found, points)]
    for value, name in NAMES.items():
        inside = expected == value
        if name == "a nameless thing":  # neither a structure nor of any known material
            assert inside.any() and (labels[inside] == "").all()
        else:
            assert inside.sum() > 10 and (labels[inside] == name).all(), name
    assert (labels[expected == 0] == "").all()


def test_layers_say_structure_and_material() -> None:
    layers = {(layer.label, layer.structure, layer.material) for layer in anatomy().layers}
    assert layers == {
        ("", 0, ""),
        ("liver", NUMBER["liver"], "liver"),
        ("spleen", NUMBER["spleen"], "spleen"),
        ("kidney_left", NUMBER["kidney"], "kidney"),
        ("kidney_left", NUMBER["kidney"], "medulla"),
        ("vertebrae_L1", NUMBER["vertebra_L1"], "bone"),
        ("vertebrae_L1", NUMBER["vertebra_L1"], "marrow"),
        ("lung_lower_lobe_left", NUMBER["lung"], "lung"),
    }
    assert anatomy().annotated == {NUMBER[n] for n in ("liver", "spleen", "kidney", "vertebra_L1", "lung")}


@pytest.mark.parametrize(
    ("label", "shell", "core", "thickness"),
    [
        ("kidney_left", "kidney", "medulla", 6.0),
        ("femur_left", "bone", "marrow", 2.0),
        ("heart", "muscle", "heart", 8.0),
    ],
)
def test_the_core_lies_as_deep_as_its_layer_says(label: str, shell: str, core: str, thickness: float) -> None:
    shape, spacing = (26, 44, 36), np.array([1.1, 0.9, 1.6])
    direction = rotation(8, -6, 11)[:, [1, 2, 0]]
    grid = Grid(shape, spacing, MIDDLE - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)
    deep = 18.0 - np.linalg.norm(grid.points() - MIDDLE, axis=-1)
    found = Anatomy.of("ball", Image((deep > 0).astype(np.uint8), grid), {1: label})
    assert [layer.material for layer in found.layers] == ["", shell, core]
    deep = 18.0 - np.linalg.norm(found.grid.points() - MIDDLE, axis=-1)
    # a voxel's half diagonal is 1.1 mm
    assert (found.codes[deep > thickness + 1.1] == 2).all()
    assert (found.codes[(deep > 0) & (deep < thickness - 1.1)] == 1).all()
    radius = (3 / (4 * np.pi) * (found.codes == 2).sum() * grid.spacing.prod()) ** (1 / 3)
    assert 18.0 - radius == pytest.approx(thickness, abs=0.25)
    assert (found.codes[deep < 0] == 0).all()


@pytest.mark.parametrize("spacing", [1.5, 2.0, 3.0])
def test_bones_have_a_shell_at_any_voxel_size(spacing: float) -> None:
    shape = tuple(2 * [round(76 / spacing)] + [round(80 / spacing)])
    direction = rotation(8, -6, 11) @ np.diag([1.0, -1.0, 1.0])
    middle = (np.array(shape[::-1]) - 1) / 2 * spacing
    grid = Grid(shape, (spacing,) * 3, MIDDLE - direction @ middle, direction)
    away = np.linalg.norm(grid.points() - MIDDLE, axis=-1)
    found = Anatomy.of("ball", Image((away < 30).astype(np.uint8), grid), {1: "femur_left"})
    radius = (3 / (4 * np.pi) * (found.codes == 2).sum() * spacing**3) ** (1 / 3)
    assert 30.0 - radius == pytest.approx(2.0, abs=0.7)
    outer = (found.codes > 0) & ~ndimage.binary_erosion(found.codes > 0)
    assert {found.layers[code].material for code in np.unique(found.codes[outer])} == {"bone"}


def test_materials_of_what_is_no_structure() -> None:
    grid = Grid((4, 4, 8), (4.0,) * 3, (0, 0, 0), np.eye(3))
    array = np.broadcast_to(np.repeat(np.arange(4), 2), grid.shape).astype(np.uint8)
    found = Anatomy.of("x", Image(array, grid), {1: "iliac_vena_left", 2: "celiac trunk", 3: "trachea"})
    assert [(layer.structure, layer.material) for layer in found.layers[1:]] == [(0, "vein"), (0, "artery"), (0, "air")]
    assert found.annotated == frozenset()


def test_height_is_mm_above_a_wall_over_the_structures() -> None:
    found = _sphere(48.0)
    heights = []
    for direction in rotation(20, 30, 40).T:
        for sign in (-1, 1):
            for distance in (30.0, 50.0, 65.0, 85.0):
                index = found.height_grid.point_to_index(MIDDLE + sign * distance * direction)
                value = ndimage.map_coordinates(found.height, index[::-1, None], order=1)[0]
                heights.append(value - (distance - (48.0 + 8.0)))  # the wall lies 8 mm over what is labelled
    assert np.abs(heights).max() < 4.0  # its grid has voxels of 4 mm
    assert abs(np.mean(heights)) < 2.0
    assert found.height_grid.contains(found.grid.corners() * 1.0).all()


@pytest.mark.parametrize("up", [False, True])
def test_the_ends_of_a_map_are_cuts_through_the_body(up: bool) -> None:
    """A thick cylinder along the body, cut by the map: its wall is beside it, not across it."""
    direction = (rotation(4, -3, 5) @ np.diag([1.0, -1.0, -1.0 if up else 1.0]))[:, [2, 0, 1]]
    shape, spacing = (36, 40, 30), np.array([4.5, 3.5, 4.0])  # along j, k, i: z, x, y nearly
    grid = Grid(shape, spacing, MIDDLE - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)
    axis, half = rotation(4, -3, 5)[:, 2], shape[2] * spacing[0] / 2
    away = grid.points() - MIDDLE
    away = away - (away @ axis)[..., None] * axis
    found = Anatomy.of("trunk", Image((np.linalg.norm(away, axis=-1) < 45).astype(np.uint8), grid), {1: "liver"})
    for side in (rotation(4, -3, 5)[:, 0], -rotation(4, -3, 5)[:, 1]):
        levels = np.array([-half - 60, -half + 2, 0.0, half - 2, half + 60])
        points = MIDDLE + levels[:, None, None] * axis + np.array([22.0, 40.0, 65.0])[:, None] * side
        index = np.moveaxis(found.height_grid.point_to_index(points)[..., ::-1], -1, 0)
        heights = ndimage.map_coordinates(found.height, index, order=1)
        assert np.ptp(heights, axis=0).max() < 1.0  # the same at every level, beyond the map too
        assert np.allclose(heights, np.array([22, 40, 65]) - 53, atol=8.0)  # two of the voxels in which it is computed


def test_gaps_between_structures_are_inside() -> None:
    grid = Grid((30, 30, 60), (4.0,) * 3, MIDDLE, np.eye(3))
    away = [np.linalg.norm(grid.points() - MIDDLE - [x, 60, 60], axis=-1) for x in (72.0, 164.0)]
    found = Anatomy.of("two", Image((np.minimum(*away) < 25).astype(np.uint8), grid), {1: "liver"})

    def height(x: float) -> float:
        return ndimage.map_coordinates(
            found.height, found.height_grid.point_to_index(MIDDLE + [x, 60, 60])[::-1, None]
        )[0]

    assert height(118.0) < 0  # 42 mm between the balls
    assert height(20.0) > 10 and height(216.0) > 10  # and 27 mm to the outside of either


def test_how_a_map_is_stored_does_not_matter() -> None:
    grid, labels = oblique_grid(), label_map()
    direction = grid.direction[:, [1, 2, 0]] * [1, -1, 1]
    start = grid.index_to_point([0, 0, grid.size[2] - 1])
    stored = Grid(labels.array.transpose(2, 0, 1).shape, grid.spacing[[1, 2, 0]], start, direction)
    array = np.flip(labels.array, 0).transpose(2, 0, 1)
    other = Anatomy.of("trunk", Image(np.ascontiguousarray(array), stored), NAMES)
    found = anatomy()
    assert other.grid.same_as(found.grid)
    assert (other.codes == found.codes).all()
    # a voxel just between two others may fall to either
    assert np.quantile(np.abs(other.height - found.height), 0.99) < 0.5


def test_the_middle_of_a_code() -> None:
    found = anatomy()
    for code, layer in enumerate(found.layers):
        if layer.material in ("liver", "spleen", "lung"):
            label = next(value for value, name in NAMES.items() if name == layer.label)
            assert np.allclose(found.centre(code), place(label), atol=2.0)
    assert found.centre(200) is None


def test_a_map_and_its_names_from_files(tmp_path: Path) -> None:
    found = read_anatomy(write_anatomy(tmp_path, "some.body"))
    assert found.name == "some.body"
    assert found.layers == anatomy().layers
    assert (found.codes == anatomy().codes).all()
    assert np.abs(found.grid.corners() - anatomy().grid.corners()).max() < 1e-2  # NIfTI stores float32


@pytest.mark.parametrize("text", [None, "", "{", "[1, 2]", '{"one": "liver"}', '"liver"', b"\xff\xfe\x00"])
def test_names_that_cannot_be_used_are_told_by_file(tmp_path: Path, text: str | bytes | None) -> None:
    path = write_anatomy(tmp_path)
    beside = tmp_path / "trunk.json"
    beside.unlink() if text is None else beside.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r"trunk.json") as error:
        read_anatomy(path)
    assert "\n" not in str(error.value)


def test_maps_that_cannot_be_used(tmp_path: Path) -> None:
    path = write_anatomy(tmp_path)
    (tmp_path / "trunk.json").write_text('{"2": "the moon", "3": "body"}')
    with pytest.raises(InputError, match=r"trunk.*none of the label names"):
        read_anatomy(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"trunk.nii.gz"):
        read_anatomy(path)
    sitk.WriteImage(sitk.Cast(label_map().to_sitk(), sitk.sitkFloat32) * 0.5, str(path))
    with pytest.raises(InputError, match="no label map"):
        read_anatomy(path)


def test_more_layers_than_a_byte_can_count() -> None:
    grid = Grid((7, 7, 7), (4.0,) * 3, (0, 0, 0), np.eye(3))
    array = np.arange(343).reshape(7, 7, 7).astype(np.uint16)
    with pytest.raises(InputError, match=r"many.*254"):
        Anatomy.of("many", Image(array, grid), {n: f"liver {n}" for n in range(1, 300)})
