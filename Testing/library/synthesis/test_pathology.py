"""Painted pathology: volumes in mm^3 in the view, what is pushed aside, and what the labels become."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from helpers.trunk import MIDDLE, NAMES, ORGANS, label_map, oblique_grid
from pddnet.core.grid import Grid
from pddnet.features.label_table import NUMBER, structure_of
from pddnet.synthesis import bowel, fluid, masses, surgery
from pddnet.synthesis import patient as synthesis
from pddnet.synthesis.anatomy import Anatomy
from pddnet.synthesis.hard_views import as_child, box_view, low_dose
from pddnet.synthesis.modality import COMPUTED_TOMOGRAPHY
from pddnet.synthesis.noise import Noise
from pddnet.synthesis.pathology import PAINTERS, draw_pathology, paint_findings, paint_pathology
from pddnet.synthesis.patient import PatientSource, synthesise
from pddnet.synthesis.random_organs import RandomOrgans
from pddnet.synthesis.scene import Finding, Scene
from pddnet.synthesis.tissue import GAS_HU, MATERIAL_HU, MATERIAL_INDEX
from pddnet.tensor.convert import to_tensor

SPACING_MM = 3.0
SHAPE = (66, 60, 70)  # 200 mm and about as much to each side: all of the trunk
LIVER, LUNG, KIDNEY = (NUMBER[name] for name in ("liver", "lung", "kidney"))
AS = {2: "liver", 3: "stomach", 5: "kidney_left", 6: "vertebrae_L1", 9: "lung_lower_lobe_left", 11: "aorta"}


@pytest.fixture(scope="module")
def source() -> PatientSource:
    """The trunk on its oblique, left-handed, anisotropic grid, with a stomach and a (round) aorta."""
    return PatientSource(Anatomy.of("trunk", label_map(oblique_grid()), AS))


@pytest.fixture
def scene(source: PatientSource) -> Scene:
    """A view around MIDDLE, axes along LPS, in which nothing is missing or exchanged."""
    grid = Grid(SHAPE, np.full(3, SPACING_MM), MIDDLE - (np.array(SHAPE[::-1]) - 1) / 2 * SPACING_MM, np.eye(3))
    points = to_tensor(np.moveaxis(grid.points(), -1, 0))
    codes = torch.arange(len(source.structure_of_code))
    organs = RandomOrgans(
        source, source.structure_of_code, source.material_of_code, torch.zeros_like(codes, dtype=torch.bool), codes
    )
    return Scene(organs, points, SPACING_MM, np.random.default_rng(3), Noise(3, torch.device("cpu"), SPACING_MM))


def _volume(mask: torch.Tensor) -> float:
    """mm^3."""
    return float(mask.sum()) * SPACING_MM**3


def _ball(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3


def _structures(scene: Scene) -> torch.Tensor:
    """What the voxels are labelled, with the findings."""
    body = torch.ones(scene.shape, dtype=torch.bool)
    return scene.organs.structure_of_code[scene.labelled(scene.codes(), body)]


def test_a_place_in_the_view_is_the_point_of_the_anatomy_there(scene: Scene) -> None:
    """The view lies along LPS around MIDDLE, so a place is a point less MIDDLE."""
    assert torch.allclose(scene.places(), scene.points - to_tensor(MIDDLE).view(3, 1, 1, 1), atol=1e-3)
    voxel = torch.tensor([5, 11, 40])
    assert torch.allclose(scene.place_of(voxel), scene.places()[:, 5, 11, 40])


def test_what_is_pushed_aside_keeps_its_volume(scene: Scene) -> None:
    """A hole in the middle of the liver: all of the liver lies around it."""
    centre, radii = torch.tensor(ORGANS[2][0]), torch.tensor([22.0, 18.0, 26.0])
    before = scene.structures() == LIVER
    pushed = scene.pushed_aside(centre, radii)
    after = pushed.structures() == LIVER
    hole = masses.ellipsoid(scene, centre, radii) > 0
    assert _volume(hole) == pytest.approx(4 / 3 * np.pi * 22 * 18 * 26, rel=0.03)
    assert _volume(after & ~hole) == pytest.approx(_volume(before), rel=0.04)
    far = (scene.places() - centre.view(3, 1, 1, 1)).norm(dim=0) > 90
    moved = (pushed.points - scene.points).norm(dim=0)
    assert float(moved[far].max()) < 1.5  # r - (r^3 - R^3)^(1/3) is R^3 / 3 r^2: 0.9 mm on the long axis
    assert float(moved[~far & ~hole].max()) > 10


def test_what_swells_is_larger_and_the_rest_stays(scene: Scene) -> None:
    centre = torch.tensor(ORGANS[5][0])
    before = _volume(scene.structures() == KIDNEY)
    swollen = scene.swollen(centre, 60.0, 1.3)
    assert 1.7 < _volume(swollen.structures() == KIDNEY) / before < 1.3**3 + 0.05
    far = (scene.places() - centre.view(3, 1, 1, 1)).norm(dim=0) > 190
    assert not bool(far.any()) or float((swollen.points - scene.points).norm(dim=0)[far].max()) < 1.0


@pytest.mark.parametrize("cystic", [True, False])
def test_a_mass_has_its_volume_and_its_label(scene: Scene, cystic: bool) -> None:
    centre, radius = torch.tensor(ORGANS[2][0]), 24.0
    code = scene.code_of(LIVER)
    assert code is not None
    grown = masses.grown(scene, centre, radius, code, cystic)
    level = grown.findings[0].level
    assert _volume(level > 0) == pytest.approx(_ball(radius), rel=0.6)  # half axes and lumps are random
    assert (_structures(grown)[level > 0] == LIVER).all()
    hu = grown.findings[0].hu
    assert isinstance(hu, float) and (not cystic or -8 <= hu <= 25)
    beside = masses.grown(scene, centre, radius, 0, cystic)
    assert not _structures(beside)[beside.findings[0].level > 0].any()
    assert not grown.foreign().any()
    assert torch.equal(beside.foreign(), torch.stack([finding.level > 0 for finding in beside.findings]).any(0))


def test_what_lies_beside_an_organ_touches_it_and_is_none_of_it(scene: Scene) -> None:
    organ = scene.structures() == LIVER
    middle, radius = torch.tensor(ORGANS[2][0]), ORGANS[2][1]
    found = [masses._place_beside(scene, organ, 20.0) for _ in range(20)]
    places = [place for place in found if place is not None]
    assert len(places) > 10
    for place in places:
        gap = float((place - middle).norm()) - radius
        assert 0.7 * 20 - 6 < gap < 1.1 * 20 + 6  # voxels of 3 mm, those of the map of up to 4.5 mm


def test_experts_leave_out_what_is_larger_than_its_organ(scene: Scene) -> None:
    liver, kidney = scene.code_of(LIVER), scene.code_of(KIDNEY)
    assert masses._code_within(scene, LIVER, 70.0, cystic=True) == liver
    assert masses._code_within(scene, KIDNEY, 12.0, cystic=True) == 0
    assert masses._code_within(scene, KIDNEY, 12.0, cystic=False) == kidney
    assert masses._code_within(scene, LUNG, 30.0, cystic=False) == 0


def test_an_aneurysm_is_aorta_and_flows_within(scene: Scene) -> None:
    wide = masses.aneurysm(scene)
    before, after = (_volume(labels == NUMBER["aorta"]) for labels in (scene.structures(), _structures(wide)))
    assert after - before > 0.8 * _ball(masses.ANEURYSM_RADIUS_MM[0])
    wall, flow = wide.findings
    assert flow.hu == "artery" and bool(((flow.level > 0) <= (wall.level > 0)).all())
    assert 0.1 < _volume(flow.level > 0) / _volume(wall.level > 0) < 0.95


def test_ascites_is_no_organ_and_lies_in_the_cavity(scene: Scene) -> None:
    before = scene.structures()
    wet = fluid.ascites(scene)
    (found,) = wet.findings
    there = found.level > 0
    assert _volume(there) > 20_000
    assert not before[there].any() and not _structures(wet)[there].any()
    assert (_structures(wet) == before).all()
    height = scene.organs.source.height_above_wall(scene.points)
    assert float(height[there].max()) <= -fluid.UNDER_WALL_MM
    assert float(scene.places()[2][there].max()) <= ORGANS[2][0][2] + ORGANS[2][1] + SPACING_MM


def test_an_effusion_takes_its_share_of_the_lung_from_the_back(scene: Scene) -> None:
    lung = scene.structures() == LUNG
    wet = fluid._effusion_of(scene, lung, 0.4)
    water = wet.findings[-1].level > 0
    assert _volume(water) == pytest.approx(0.4 * _volume(lung), rel=0.02)
    assert bool((water <= lung).all())
    assert not _structures(wet)[water].any()
    assert (_structures(wet)[lung & ~water] == LUNG).all()
    y = scene.places()[1]
    assert float(y[water].mean()) > float(y[lung & ~water].mean()) + 10


def test_a_kidney_full_of_urine_is_larger_and_keeps_its_rind(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fluid, "RIND_MM", (6.0, 6.0))
    before = _volume(scene.structures() == KIDNEY)
    for seed in range(20):
        full = fluid.hydronephrosis(dataclasses.replace(scene, rng=np.random.default_rng(seed)))
        if full.findings:  # the trunk has the left kidney only
            break
    calyces, pelvis = full.findings
    labels = _structures(full)
    kidney = labels == KIDNEY
    assert _volume(kidney) > before
    assert bool(kidney[calyces.level > 0].all())
    assert 0.15 < _volume(calyces.level > 0) / _volume(kidney) < 0.6  # a ball of 21 mm without 6 mm: 0.36
    assert not labels[pelvis.level > 0].any()


def test_a_part_of_an_organ_is_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surgery, "PARTLY_REMOVED", (LIVER,))
    monkeypatch.setattr(surgery, "REMOVED_SHARE", (0.3, 0.3))
    before = scene.structures() == LIVER
    cut = surgery.resection(scene)
    gone = cut.findings[0].level > 0
    assert _volume(gone) == pytest.approx(0.3 * _volume(before), rel=0.02)
    assert ((_structures(cut) == LIVER) == (before & ~gone)).all()


def test_wide_bowel_is_wider_with_gas_over_fluid(scene: Scene) -> None:
    number = NUMBER["stomach"]
    before = _volume(scene.structures() == number)
    wide = bowel.dilated_bowel(scene)
    assert _volume(_structures(wide) == number) > 1.3 * before
    content, gas = wide.findings
    there = gas.level > 0
    assert gas.hu == GAS_HU and bool((there <= (content.level > 0)).all())
    y = scene.places()[1]
    if there.any() and not there[content.level > 0].all():
        assert float(y[there].max()) <= float(y[(content.level > 0) & ~there].min()) + SPACING_MM


def test_empty_bowel_is_wall_and_keeps_its_label(scene: Scene) -> None:
    empty = bowel.collapsed_bowel(scene)
    (found,) = empty.findings
    assert found.hu == "wall"
    assert (scene.organs.material_of_code[scene.codes()][found.level > 0] == MATERIAL_INDEX["lumen"]).all()
    assert torch.equal(_structures(empty), scene.structures())


def test_metal_lies_behind_the_spine_and_in_no_label(scene: Scene) -> None:
    held = surgery.rods(scene)
    (metal,) = held.findings
    there = metal.level > 0
    assert metal.over_bone and metal.code is None
    x, y, _ = scene.places()
    spine = scene.structures() == NUMBER["vertebra_L1"]
    assert float(y[there].mean()) > float(y[spine].mean())
    middle = float(x[spine].mean())
    assert float(x[there].min()) < middle - 10 and float(x[there].max()) > middle + 10
    slices = int(there.flatten(1).any(1).sum())
    assert _volume(there) == pytest.approx(2 * np.pi * surgery.ROD_RADIUS_MM**2 * slices * SPACING_MM, rel=0.2)
    assert held.added_hu is not None
    assert float(held.added_hu.abs().amax()) > 40 and not held.added_hu[~there.flatten(1).any(1)].any()


def test_a_stent_lies_in_a_wall(scene: Scene) -> None:
    wired = surgery.stent(scene)
    there = wired.findings[0].level > 0
    aorta = scene.structures() == NUMBER["aorta"]
    assert there.any() and bool((there <= aorta).all()) and not there[aorta].all()


def test_a_finding_is_painted_over_all_but_bone(scene: Scene) -> None:
    level = masses.ellipsoid(scene, torch.zeros(3), torch.full((3,), 30.0))
    fine = tuple(2 * n for n in scene.shape)
    body = torch.ones(fine, dtype=torch.bool)
    rigid = torch.zeros(fine, dtype=torch.bool)
    rigid[: fine[0] // 2] = True
    mean = torch.tensor([entry[0] for entry in MATERIAL_HU.values()])
    painted = {}
    for over_bone in (False, True):
        full = scene.with_finding(Finding(level, "bile", 0.0, None, over_bone))
        painted[over_bone] = (
            paint_findings(full, torch.zeros(fine), body, rigid, mean, COMPUTED_TOMOGRAPHY) == MATERIAL_HU["bile"][0]
        )
    assert float(painted[True].sum()) * (SPACING_MM / 2) ** 3 == pytest.approx(_ball(30.0), rel=0.02)
    assert float(painted[False].sum()) == pytest.approx(float(painted[True].sum()) / 2, rel=0.02)
    assert not bool((painted[False] & rigid).any())


@pytest.mark.parametrize("name", PAINTERS)
def test_every_painter_gives_a_finding_or_nothing(scene: Scene, name: str) -> None:
    painted = paint_pathology(scene, (name,))
    assert painted.points.shape == scene.points.shape and bool(painted.points.isfinite().all())
    assert all(bool(finding.level.isfinite().all()) for finding in painted.findings)
    empty = dataclasses.replace(scene, points=scene.points + 5000.0)  # a view of nothing
    assert not paint_pathology(empty, (name,)).findings


def test_everyone_with_pathology_has_some() -> None:
    drawn = [draw_pathology(np.random.default_rng(seed)) for seed in range(300)]
    assert all(drawn)
    share = np.mean(["ascites" in names for names in drawn])
    assert abs(share - PAINTERS["ascites"][1]) < 0.07


def test_a_child_is_smaller(scene: Scene) -> None:
    small = as_child(scene.points, np.random.default_rng(4))
    seen = [float(points[0].max() - points[0].min()) for points in (scene.points, small)]
    assert 1 / 0.8 - 0.01 < seen[1] / seen[0] < 1 / 0.4 + 0.01
    along = [float(points[2].max() - points[2].min()) for points in (scene.points, small)]
    assert along[1] / along[0] >= seen[1] / seen[0] - 1e-3  # shorter still
    assert torch.allclose(small.flatten(1).mean(1), scene.points.flatten(1).mean(1), atol=0.01)


def test_a_box_is_cut_from_the_sides() -> None:
    view = box_view((40, 60, 80), np.random.default_rng(1), torch.device("cpu"))
    k, j, i = (int(view.bool().any(a).any(b).sum()) for a, b in ((2, 1), (2, 0), (1, 0)))
    assert float(view.sum()) == k * j * i and k >= 24 and j >= 24 and i >= 32
    assert k < 40 or j < 60 or i < 80


def test_low_dose_is_noise_alone() -> None:
    noise = Noise(1, torch.device("cpu"), 4.0)
    hu = low_dose(torch.full((20, 20, 20), 50.0), np.random.default_rng(2), noise)
    assert float(hu.mean()) == pytest.approx(50, abs=3)
    assert 19 < float(hu.std()) < 57


def test_a_hard_patient_differs_from_the_same_one_without_pathology(
    source: PatientSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesis, "CHILD", 0.0)
    easy, hard = (synthesise(source, (24, 32, 32), 5, hard=one, pathology=("resection",)) for one in (False, True))
    again = synthesise(source, (24, 32, 32), 5, hard=True, pathology=("resection",))
    assert torch.equal(hard.values, again.values) and torch.equal(hard.structures, again.structures)
    assert int((hard.structures > 0).sum()) < int((easy.structures > 0).sum())
    assert set(hard.structures.unique().tolist()) <= {0, *source.annotated}


def test_as_many_are_hard_as_asked_for(source: PatientSource, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    draw: Callable[..., None] = lambda *_, hard=False, modality: asked.append(hard)  # noqa: E731
    monkeypatch.setattr(synthesis, "synthesise", draw)
    monkeypatch.setattr(source, "hard", 0.25)
    for seed in range(400):
        source.draw((8, 8, 8), seed)
    assert abs(np.mean(asked) - 0.25) < 0.07


def test_the_names_of_the_trunk_are_known() -> None:
    assert set(AS) == set(NAMES) and all(structure_of(name) for name in AS.values())
