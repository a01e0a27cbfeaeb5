"""Reference deformations of shapes whose deformation is known by formula, on oblique, flipped, anisotropic grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers.geometry import SHEARED, grids, sitk_image, sitk_points
from pddnet.cli.exit_codes import BAD_INPUT, OK
from pddnet.cli.main import main
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.shapes.alignment import align
from pddnet.shapes.spline import Spline
from pddnet.shapes.surfaces import Surface, label_surfaces

pytest.importorskip("vtkmodules")

RADIUS_MM = 30.0
CENTRE = grids()["oblique"].centre
BALLS = {1: (0, 0, 0), 2: (40, 5, -8), 3: (-12, 44, 10), 5: (6, -14, 48), 7: (-38, -30, -30)}  # mm from CENTRE
SIZES_MM = {1: 14.0, 2: 10.0, 3: 12.0, 5: 9.0, 7: 11.0}


def grid(name: str, shape: tuple[int, int, int] = (40, 52, 76)) -> Grid:
    return grids(shape)[name]


def ball(on: Grid) -> Image:
    return Image((np.linalg.norm(on.points() - CENTRE, axis=-1) < RADIUS_MM).astype(np.uint8) * 4, on)


def sphere_points(count: int = 300) -> np.ndarray:
    along = np.random.default_rng(2).normal(size=(count, 3))
    return CENTRE + RADIUS_MM * along / np.linalg.norm(along, axis=1, keepdims=True)


def balls(points: np.ndarray) -> dict[int, Surface]:
    """Exact surfaces of the balls, from unit vectors (N, 3)."""
    none = np.zeros(len(points), bool)
    return {
        label: Surface(CENTRE + place + SIZES_MM[label] * points, points, none) for label, place in BALLS.items()
    }  # fmt: skip


def unit_vectors() -> np.ndarray:
    along = np.random.default_rng(1).normal(size=(600, 3))
    return along / np.linalg.norm(along, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["oblique", "left-handed", "left-handed oblique", "permuted oblique"])
def test_a_surface_lies_in_lps_and_its_normals_point_outwards(name: str) -> None:
    surface = label_surfaces(ball(grid(name)), {4})[4]
    radius = np.linalg.norm(surface.points - CENTRE, axis=1)
    assert abs(radius.mean() - RADIUS_MM) < 0.15
    assert np.abs(radius - RADIUS_MM).max() < 2.6  # of voxels of up to 4.3 mm
    assert (surface.normals * (surface.points - CENTRE) / radius[:, None]).sum(axis=1).min() > 0.7
    assert not surface.cut.any()


def test_what_a_scan_cuts_is_marked() -> None:
    on = grid("oblique")
    half = Grid((20, 52, 76), on.spacing, on.origin, on.direction)  # its last slices go through the ball
    surface = label_surfaces(ball(half), {4})[4]
    height = half.point_to_index(surface.points)[:, 2]
    assert surface.cut.any() and height[surface.cut].min() > 17.9
    assert not surface.cut[height < 17.9].any()


def test_a_known_affine_map_is_recovered() -> None:
    fixed = balls(unit_vectors())
    moving = {n: Surface(SHEARED(s.points), s.normals, s.cut) for n, s in fixed.items()}
    points = np.vstack([s.points for s in fixed.values()])
    assert np.linalg.norm(align(fixed, moving).points(points) - SHEARED(points), axis=1).max() < 0.5


def test_a_mirrored_and_a_turned_patient_are_refused() -> None:
    fixed = balls(unit_vectors())
    for matrix, said in ((np.diag([-1.0, 1, 1]), "mirror image"), (np.diag([-1.0, -1, 1]), "turned by 180 degrees")):
        moving = {n: Surface((s.points - CENTRE) @ matrix.T, s.normals, s.cut) for n, s in fixed.items()}
        with pytest.raises(InputError, match=said):
            align(fixed, moving)


def test_the_spline_is_the_biharmonic_one() -> None:
    """Against its own formula: w times the distances plus a linear map, with the side conditions, solved here."""
    rng = np.random.default_rng(3)
    points, shifts, at = rng.uniform(-40, 40, (9, 3)), rng.normal(0, 5, (9, 3)), rng.uniform(-60, 60, (5, 3))

    def rows(x: np.ndarray) -> np.ndarray:
        return np.c_[np.linalg.norm(x[:, None] - points, axis=-1), np.ones(len(x)), x]

    system = np.zeros((13, 13))
    system[:9] = rows(points)
    system[9:, :9] = np.c_[np.ones(9), points].T
    weights = np.linalg.solve(system, np.vstack([shifts, np.zeros((4, 3))]))
    np.testing.assert_allclose(Spline(points, shifts)(at), rows(at) @ weights, atol=1e-8)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A ball and an ellipsoid, on grids of different kinds; and what the command makes of them."""
    folder = tmp_path_factory.mktemp("reference")
    fixed, on = grid("left-handed oblique"), grid("permuted oblique")
    inside = np.linalg.norm((on.points() - CENTRE - [9, -7, 5]) / [1.25, 0.85, 1.0], axis=-1) < RADIUS_MM
    paths = {name: folder / name for name in ("A.nrrd", "B.nrrd", "T.h5", "I.h5", "V.nrrd", "L.tfm", "R.json")}
    sitk.WriteImage(sitk_image(ball(fixed).array, fixed), str(paths["A.nrrd"]))
    sitk.WriteImage(sitk_image(inside.astype(np.uint8) * 4, on), str(paths["B.nrrd"]))
    before = paths["A.nrrd"].read_bytes(), paths["B.nrrd"].read_bytes()
    options = ("fixed-labels", "moving-labels", "out", "inverse", "velocity", "affine", "report")
    given = [word for option, path in zip(options, paths.values(), strict=True) for word in (f"--{option}", str(path))]
    assert main(["reference", *given, "--spacing", "5"]) == OK
    assert before == (paths["A.nrrd"].read_bytes(), paths["B.nrrd"].read_bytes())
    return paths


@pytest.mark.slow
def test_a_ball_becomes_an_ellipsoid(pair: dict[str, Path]) -> None:
    """ITK moves the points of the ball; the formula says how far they land from the ellipsoid."""
    landed = sitk_points(sitk.ReadTransform(str(pair["T.h5"])), sphere_points())
    radius = np.linalg.norm((landed - CENTRE - [9, -7, 5]) / [1.25, 0.85, 1.0], axis=1)
    assert np.abs(radius - RADIUS_MM).mean() < 0.6
    assert np.abs(radius - RADIUS_MM).max() < 2.0


@pytest.mark.slow
def test_the_inverse_leads_back(pair: dict[str, Path]) -> None:
    points = sphere_points()
    there = sitk_points(sitk.ReadTransform(str(pair["T.h5"])), points)
    back = sitk_points(sitk.ReadTransform(str(pair["I.h5"])), there)
    assert np.linalg.norm(back - points, axis=1).max() < 0.3


@pytest.mark.slow
def test_the_transform_is_the_flow_along_the_velocity_then_the_affine_map(pair: dict[str, Path]) -> None:
    """Small Euler steps along the written velocity, taken here with ITK, end where the written transform ends."""
    velocity = sitk.DisplacementFieldTransform(sitk.ReadImage(str(pair["V.nrrd"]), sitk.sitkVectorFloat64))
    points = at = sphere_points(60)
    for _ in range(200):
        at = at + (sitk_points(velocity, at) - at) / 200
    expected = sitk_points(sitk.ReadTransform(str(pair["L.tfm"])), at)
    found = sitk_points(sitk.ReadTransform(str(pair["T.h5"])), points)
    assert np.linalg.norm(found - expected, axis=1).max() < 0.3


def test_maps_without_a_common_label_and_empty_ones_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on = grid("oblique", (12, 14, 16))
    maps = {"one": np.full(on.shape, 1), "two": np.full(on.shape, 2), "none": np.zeros(on.shape)}
    maps["half"] = np.broadcast_to(np.arange(12)[:, None, None] < 6, on.shape)  # cut on all sides but one
    paths = {name: str(tmp_path / f"{name}.nrrd") for name in maps}
    for name, array in maps.items():
        sitk.WriteImage(sitk_image(array.astype(np.uint8), on), paths[name])
    for one, other, said in (
        ("one", "two", "no label is in both"),
        ("one", "none", "is empty"),
        ("one", "one", "large enough to have a surface"),
        ("half", "half", "lies in one plane"),
    ):
        arguments = ["--fixed-labels", paths[one], "--moving-labels", paths[other], "--out", str(tmp_path / "T.h5")]
        assert main(["reference", *arguments]) == BAD_INPUT
        assert said in capsys.readouterr().err
        assert not (tmp_path / "T.h5").exists()


def _vertebrae(scatter_mm: float, seed: int) -> dict[int, Surface]:
    points, random = unit_vectors(), np.random.default_rng(seed)
    places = [CENTRE + [0, 0, 32.0 * n] + random.normal(size=3) * scatter_mm for n in range(5)]
    none = np.zeros(len(points), bool)
    return {n: Surface(place + 14.0 * points, points, none) for n, place in enumerate(places)}


@pytest.mark.parametrize("seed", range(6))
def test_labels_nearly_on_a_line_do_not_tell_how_the_patient_is_turned(seed: int) -> None:
    """The turn about the line is noise: of patients that lie alike it was said to be more than the most."""
    fixed, moving = _vertebrae(1.5, seed), _vertebrae(1.5, 100 + seed)
    points = np.vstack([s.points for s in fixed.values()])
    moved = align(fixed, moving).points(points)
    assert np.linalg.norm(moved - points, axis=1).max() < 8.0


@pytest.mark.parametrize("lower_mm", [0.0, 300.0, 1000.0])
def test_where_a_patient_lies_is_not_taken_for_size(lower_mm: float) -> None:
    shaft = unit_vectors() * [12.0, 10.0, 90.0]
    none = np.zeros(len(shaft), bool)
    fixed = {n: Surface(np.array([80.0 * n, 10, -100]) + shaft, unit_vectors(), none) for n in (1, 2)}
    away = np.array([5.0, -3.0, -lower_mm])
    moving = {n: Surface(1.05 * s.points + away, s.normals, s.cut) for n, s in fixed.items()}
    points = np.vstack([s.points for s in fixed.values()])
    assert np.linalg.norm(align(fixed, moving).points(points) - (1.05 * points + away), axis=1).max() < 1.5
