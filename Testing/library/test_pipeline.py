"""The whole run: what must not change the result, what must, and how it stops."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from helpers import samples
from pddnet import pipeline
from pddnet.core.affine import Affine
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, Preset, Stage
from pddnet.core.result import Registration
from pddnet.core.structures import VERDICTS
from pddnet.errors import Cancelled, InputError
from pddnet.features import semantic_net
from pddnet.matching import alignment, deformation, job_run
from pddnet.matching.stage import StageResult
from pddnet.phantom.labels import LEFT_KIDNEY
from pddnet.phantom.phantom import full_view, virtual_patient
from pddnet.pipeline import ONLY_START, register
from pddnet.tensor.scan import inside

QUICK = dataclasses.replace(
    PRESETS["default"],
    stages=(Stage(24.0, 24.0, 7, 8.0, 0.005, iterations=10),),
    refinement=None,
    one_patient=None,
    network_spacings_mm=(4.0,),  # the network, most of the time of a run, is asked once
)
IDLE = dataclasses.replace(QUICK, stages=(), semantic=0.0)  # ends where it starts: nothing is matched
DETAILED = dataclasses.replace(QUICK, stages=(), one_patient=PRESETS["followup"].one_patient, semantic=0.0)
REFINED = dataclasses.replace(QUICK, refinement=PRESETS["default"].refinement)
TURN = np.array(sitk.Euler3DTransform((0, 0, 0), 0.2, -0.15, 0.3).GetMatrix()).reshape(3, 3)


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    """Two virtual patients; the second one's view is lower and 40 mm to the side."""
    fixed, moving = full_view(3, 6.0), full_view(8, 6.0)
    fixed = _slices(fixed, 12, 60)
    moving = _slices(moving, 8, 56)
    second = virtual_patient(8, moving).image
    shifted = dataclasses.replace(moving, origin=moving.origin + [40.0, -25.0, 60.0])
    return virtual_patient(3, fixed).image, Image(second.array, shifted)


def _slices(grid: Grid, first: int, last: int) -> Grid:
    """Some slices of a grid."""
    return Grid((last - first, *grid.shape[1:]), grid.spacing, grid.index_to_point([0, 0, first]), grid.direction)


@pytest.fixture(scope="module")
def result(pair: tuple[Image, Image]) -> Registration:
    return register(*pair, QUICK)


@pytest.fixture(scope="module")
def points(pair: tuple[Image, Image]) -> np.ndarray:
    """(N, 3) LPS mm inside the fixed volume."""
    grid = pair[0].grid
    index = np.random.default_rng(0).uniform(0.1, 0.9, (200, 3)) * (grid.size - 1)
    return grid.index_to_point(index)


def _stored_otherwise(image: Image) -> Image:
    """The same physical content, axes permuted to (k, i, j) and two of them flipped."""
    grid = image.grid
    array = image.array.transpose(1, 2, 0)[::-1, :, ::-1]  # array axes j, i, k
    first = grid.index_to_point(np.array([0, grid.shape[1] - 1, grid.shape[0] - 1], float))
    direction = np.stack([-grid.direction[:, 2], grid.direction[:, 0], -grid.direction[:, 1]], axis=1)
    return Image(np.ascontiguousarray(array), Grid(array.shape, grid.spacing[[2, 0, 1]], first, direction))


def _moved(image: Image, matrix: np.ndarray, shift: np.ndarray) -> Image:
    """The scan after a rigid motion x -> matrix @ x + shift of the patient and the scanner's axes."""
    grid = image.grid
    turned = Grid(grid.shape, grid.spacing, matrix @ grid.origin + shift, matrix @ grid.direction)
    return Image(image.array, turned)


@pytest.mark.slow
def test_how_a_scan_is_stored_does_not_matter(
    pair: tuple[Image, Image], result: Registration, points: np.ndarray
) -> None:
    again = register(_stored_otherwise(pair[0]), _stored_otherwise(pair[1]), QUICK)
    moved, expected = again.field.transform_points(points), result.field.transform_points(points)
    assert np.abs(moved - expected).max() < 0.1
    assert np.linalg.norm(expected - points, axis=-1).min() > 10  # it does move


@pytest.mark.slow
def test_moving_the_moving_scan_moves_the_result(
    pair: tuple[Image, Image], result: Registration, points: np.ndarray
) -> None:
    shift = np.array([7.0, -13.0, 229.0])
    again = register(pair[0], _moved(pair[1], np.eye(3), shift), QUICK)
    difference = again.field.transform_points(points) - result.field.transform_points(points) - shift
    assert np.abs(difference).max() < 0.1


@pytest.mark.slow
def test_a_motion_of_both_scans_conjugates_the_result(
    pair: tuple[Image, Image], result: Registration, points: np.ndarray
) -> None:
    shift = np.array([31.0, -5.0, 12.0])
    again = register(_moved(pair[0], TURN, shift), _moved(pair[1], TURN, shift), QUICK)
    expected = result.field.transform_points(points) @ TURN.T + shift
    difference = np.linalg.norm(again.field.transform_points(points @ TURN.T + shift) - expected, axis=-1)
    assert np.median(difference) < 0.1
    assert difference.max() < 1.0


@pytest.mark.slow
def test_the_field_covers_the_fixed_volume_and_ends_in_the_affine_map(
    pair: tuple[Image, Image], result: Registration
) -> None:
    grid = result.field.grid
    assert grid.contains(pair[0].grid.corners()).all()
    border = np.concatenate([result.field.array[0].reshape(-1, 3), result.field.array[:, :, -1].reshape(-1, 3)])
    at = grid.points()
    at = np.concatenate([at[0].reshape(-1, 3), at[:, :, -1].reshape(-1, 3)])
    rows = np.c_[at, np.ones(len(at))]
    fit = np.linalg.lstsq(rows, border, rcond=None)[0]
    assert np.abs(rows @ fit - border).max() < 0.05


@pytest.mark.slow
def test_the_inverse_brings_points_back(pair: tuple[Image, Image], result: Registration, points: np.ndarray) -> None:
    inverse, residual = result.inverse(pair[1].grid)
    there = result.field.transform_points(points)
    inside = inverse.grid.contains(there)
    assert inside.sum() > 50
    assert np.abs(inverse.transform_points(there) - points)[inside].max() < 1.0
    assert residual < 1.0


@pytest.mark.slow
def test_a_refined_transform_is_nearer_and_can_be_inverted(
    pair: tuple[Image, Image], result: Registration, points: np.ndarray
) -> None:
    refined = register(*pair, REFINED)
    assert refined.verdict.measures["similarity"] > result.verdict.measures["similarity"] + 0.02
    assert refined.field.jacobian_determinant().min() > 0
    inverse, residual = refined.inverse(pair[1].grid)
    there = refined.field.transform_points(points)
    inside = inverse.grid.contains(there)
    gap = np.abs(inverse.transform_points(there) - points)[inside].max(1)
    assert residual < 1.0  # at the inverse's nodes; between them it bends where the transform squeezes most
    assert np.percentile(gap, 95) < 1.0
    assert gap.max() < 4.0  # mm, one node


@pytest.mark.slow
def test_a_scan_lies_on_itself(pair: tuple[Image, Image], points: np.ndarray) -> None:
    again = register(pair[0], pair[0], QUICK)
    assert (
        np.median(np.linalg.norm(again.field.transform_points(points) - points, axis=-1)) < 2.0
    )  # a quarter of QUICK's step
    assert again.verdict.measures["similarity"] > 0.9


def test_an_initial_transform_replaces_the_alignment(pair: tuple[Image, Image], points: np.ndarray) -> None:
    start = sitk.AffineTransform(3)
    start.SetMatrix((TURN * 1.05).ravel().tolist())
    start.SetTranslation((300.0, -20.0, 50.0))
    field = register(*pair, IDLE, initial_transform=start).field
    expected = np.array([start.TransformPoint(p) for p in points.tolist()])
    assert np.abs(field.transform_points(points) - expected).max() < 0.05


def test_a_warping_initial_transform_is_kept(pair: tuple[Image, Image], points: np.ndarray) -> None:
    grid = pair[0].grid.isotropic(8.0, 60.0)
    x = grid.points()
    bent = np.stack([7 + 5 * np.sin(x[..., 2] / 60), -13 + 0.1 * x[..., 0], 29 + 0 * x[..., 1]], axis=-1)
    start = DisplacementField(bent.astype(np.float32), grid)
    field = register(*pair, IDLE, initial_transform=start.to_sitk()).field
    body = points[np.linalg.norm(points - pair[0].grid.centre, axis=-1) < 120]
    assert len(body) > 20
    assert np.abs(field.transform_points(body) - start.transform_points(body)).max() < 0.5


@pytest.mark.slow
def test_an_affine_fit_follows_the_alignment_where_the_preset_says_so(
    pair: tuple[Image, Image], points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[Affine] = []
    fit = alignment.refit_affine
    monkeypatch.setattr(alignment, "SCORE_SLACK", 1.0)  # whatever comes of it
    monkeypatch.setattr(alignment, "refit_affine", lambda *given: fits.append(fit(*given)) or fits[-1])
    moved = [
        register(*pair, dataclasses.replace(IDLE, affine_fit=fitted)).field.transform_points(points)
        for fitted in (False, True)
    ]
    assert len(fits) == 1
    apart = np.linalg.norm(moved[1] - moved[0], axis=1)
    assert 0.5 < apart.mean() < 20.0
    assert np.abs(moved[1] - fits[0].points(points)).max() < 0.01


def test_without_alignment_it_starts_where_the_scans_lie(pair: tuple[Image, Image], points: np.ndarray) -> None:
    field = register(*pair, IDLE, align=False).field
    assert np.abs(field.array).max() == 0


@pytest.mark.slow
def test_guiding_labels_change_the_result_and_help(pair: tuple[Image, Image], result: Registration) -> None:
    fixed = virtual_patient(3, pair[0].grid).labels
    grid = dataclasses.replace(pair[1].grid, origin=pair[1].grid.origin - [40.0, -25.0, 60.0])
    moving = Image(virtual_patient(8, grid).labels.array, pair[1].grid)
    guided = register(*pair, QUICK, fixed_labels=fixed, moving_labels=moving)
    assert ONLY_START not in guided.warnings
    liver = {name: _overlap(run, fixed, moving, 6) for name, run in (("plain", result), ("guided", guided))}
    assert liver["guided"] > liver["plain"]


def _overlap(run: Registration, fixed: Image, moving: Image, label: int) -> float:
    a, b = fixed.array == label, run.warp(moving, labels=True).array == label
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_progress_rises_and_ends_in_the_last_stage() -> None:
    seen: list[tuple[float, str]] = []
    register(*samples.small_pair(), QUICK, progress=lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert list(dict.fromkeys(stage for _, stage in seen)) == ["prepare", "structures", "align", "match 1", "finish"]
    seen.clear()
    register(*samples.small_pair(), DETAILED, progress=lambda fraction, stage: seen.append((fraction, stage)))
    assert list(dict.fromkeys(stage for _, stage in seen)) == ["prepare", "align", "match 1", "detail", "finish"]
    assert [fraction for fraction, _ in seen] == sorted(fraction for fraction, _ in seen)


@pytest.mark.parametrize(
    ("preset", "stage"),
    [*((REFINED, stage) for stage in ("prepare", "align", "match 1", "refine", "finish")), (DETAILED, "detail")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_it_can_be_cancelled_in_every_stage(preset: Preset, stage: str) -> None:
    pair = samples.small_pair()
    before = [image.array.copy() for image in pair]

    def stop(_: float, now: str) -> None:
        if now == stage:
            raise Cancelled(stage)

    with pytest.raises(Cancelled):
        register(*pair, preset, progress=stop)
    for image, array in zip(pair, before, strict=True):
        assert np.array_equal(image.array, array)


def test_out_of_gpu_memory_is_tried_smaller_then_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    real, tried = pipeline._run, []

    def run(job: object, device: torch.device, work: object, *rest: object) -> Registration:
        tried.append((device.type, work.gpu_values))
        if device.type == "cuda":
            raise RuntimeError("CUDA out of memory. Tried to allocate 9 GiB")
        return real(job, device, work, *rest)

    monkeypatch.setattr(pipeline, "_run", run)
    monkeypatch.setattr(pipeline, "choose_device", lambda name: torch.device("cuda" if name == "auto" else name))
    result = register(*samples.small_pair(), dataclasses.replace(QUICK, stages=()))
    assert [kind for kind, _ in tried] == ["cuda", "cuda", "cpu"]
    assert tried[1][1] < tried[0][1]
    assert result.device == "cpu"
    assert [warning for warning in result.warnings if "out of memory" in warning] == [
        "the GPU ran out of memory; tried again in smaller pieces",
        "the GPU ran out of memory; went on with the CPU",
    ]


@pytest.mark.slow
def test_scans_without_common_anatomy_are_not_called_ok() -> None:
    view = full_view(3, 6.0)
    patient = virtual_patient(3, view).image
    top, bottom = (
        Image(patient.array[part], dataclasses.replace(view, shape=patient.array[part].shape, origin=origin))
        for part, origin in (
            (slice(-14, None), view.index_to_point(np.array([0, 0, view.shape[0] - 14.0]))),
            (slice(0, 14), view.origin),
        )
    )
    assert register(top, bottom, QUICK).verdict.status != "ok"


def test_unusable_volumes_are_refused_by_name(pair: tuple[Image, Image]) -> None:
    with pytest.raises(InputError, match="moving volume"):
        register(pair[0], Image(np.zeros_like(pair[1].array), pair[1].grid), QUICK)
    with pytest.raises(InputError, match="no preset 'best'"):
        register(*pair, "best")


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_a_mask_that_trusts_nothing_is_refused_by_name(side: str) -> None:
    fixed, moving = samples.small_pair()
    scan = {"fixed": fixed, "moving": moving}[side]
    empty = Image(np.zeros(scan.grid.shape, np.uint8), scan.grid)
    aside = Image(np.ones(scan.grid.shape, np.uint8), dataclasses.replace(scan.grid, origin=scan.grid.origin + 900.0))
    for mask in (empty, aside):
        with pytest.raises(InputError, match=f"{side} mask: the mask is empty inside the scan"):
            register(fixed, moving, DETAILED, **{f"{side}_mask": mask})


@pytest.mark.parametrize("settings", [{"preset": DETAILED}, {"preset": IDLE, "transform_type": "rigid"}])
def test_labels_that_can_only_help_to_find_the_start_are_told(settings: dict) -> None:
    fixed, moving = samples.small_pair()
    maps = {"fixed_labels": samples.labels(fixed.grid, fixed.grid.centre)}
    maps["moving_labels"] = samples.labels(moving.grid, fixed.grid.centre + samples.SHIFT)
    assert ONLY_START in register(fixed, moving, **settings, **maps).warnings
    assert ONLY_START not in register(fixed, moving, **settings).warnings


def test_a_mask_of_one_thin_slice_is_seen() -> None:
    """It falls between the voxels in which the scan is prepared."""
    grid = Grid((40, 24, 26), (2.5, 2.5, 1.0), (-30, 20, -300), samples.direction(3))
    painted = Image(np.zeros(grid.shape, np.uint8), grid)
    coarse = Image(np.zeros(grid.shape, np.float32), grid).coarsen(4.0).grid
    for k in range(18, 23):
        painted.array[:] = 0
        painted.array[k, 8:16, 8:18] = 1
        seen = coarse.index_to_point(np.argwhere(inside(painted, coarse))[:, ::-1])
        assert len(seen)
        assert np.abs(grid.point_to_index(seen)[:, 2] - k).max() <= 2.0


@pytest.mark.parametrize("preset", [QUICK, DETAILED], ids=["plain", "detailed"])
def test_a_start_beside_everything_fails_in_words_and_numbers(preset: Preset) -> None:
    fixed, moving = samples.small_pair()
    far = sitk.TranslationTransform(3, (900.0, 0.0, 0.0))
    spot = np.zeros(fixed.grid.shape, np.uint8)
    spot[9, 11, 13] = 1
    for settings in ({"initial_transform": far}, {"fixed_mask": Image(spot, fixed.grid)}):
        found = register(fixed, moving, dataclasses.replace(preset, semantic=0.0), **settings)
        assert found.verdict.status == "failed"
        assert any("do not resemble each other" in reason for reason in found.verdict.reasons)
        assert np.isfinite(found.field.array).all()


@pytest.mark.slow
def test_two_stages_both_ways_bring_landmarks_together() -> None:
    first, second = (virtual_patient(seed, full_view(seed, 5.0)) for seed in (3, 8))
    stages = (
        dataclasses.replace(
            QUICK.stages[0], control_spacing_mm=20.0, capture_range_mm=32.0, displacements_per_axis=9, both_ways=True
        ),
        Stage(14.0, 12.0, 7, 4.0, 0.01, iterations=10),
    )
    result = register(first.image, second.image, dataclasses.replace(QUICK, stages=stages))
    names = sorted(set(first.landmarks) & set(second.landmarks))
    here, there = (np.array([patient.landmarks[name] for name in names]) for patient in (first, second))
    error = np.linalg.norm(result.field.transform_points(here) - there, axis=-1)
    assert np.median(error) < 10
    assert np.median(error) < 0.5 * np.median(np.linalg.norm(here - there, axis=-1))
    assert result.inverse_consistency is not None
    assert 0 < result.inverse_consistency < 20
    assert result.verdict.measures["folding_percent"] < 1.0


def test_the_directions_disagreement_is_the_last_stages_that_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps, real = iter((9.0, 4.0, None)), deformation.deform

    def deform(*args: Any) -> StageResult:
        step, gap = real(*args), next(gaps)
        return dataclasses.replace(step, inconsistency=None if gap is None else torch.full_like(step.uncertainty, gap))

    monkeypatch.setattr(deformation, "deform", deform)
    monkeypatch.setattr(deformation, "resemblance", lambda *_: 0.0)  # else a deformation of mere noise is left out
    stage = dataclasses.replace(
        QUICK.stages[0], control_spacing_mm=40.0, capture_range_mm=8.0, displacements_per_axis=3
    )
    result = register(*samples.small_pair(), dataclasses.replace(QUICK, stages=(stage, stage, stage)))
    assert result.inverse_consistency == pytest.approx(4.0)
    assert result.verdict.measures["inverse_consistency"] == pytest.approx(4.0)


@pytest.mark.slow
def test_the_multimodal_preset_finds_an_inverted_contrast(pair: tuple[Image, Image], points: np.ndarray) -> None:
    """No Hounsfield units: bright is dark inside the body, in another scale; the same patient 40 mm away."""
    fixed = pair[0]
    inverted = np.where(fixed.array > -400, 900 - 0.4 * fixed.array, 0).astype(np.float32)
    shift = np.array([40.0, -25.0, 10.0])
    moving = _moved(Image(inverted, fixed.grid), np.eye(3), shift)
    result = register(fixed, moving, dataclasses.replace(PRESETS["multimodal"], stages=QUICK.stages))
    inside = points[np.linalg.norm((points - fixed.grid.centre) / [120, 80, 150], axis=-1) < 1]
    error = np.linalg.norm(result.field.transform_points(inside) - inside - shift, axis=-1)
    assert len(inside) > 30
    assert np.median(error) < 6


@pytest.mark.parametrize(("fixed_is_ct", "said"), [(True, "moving volume"), (False, "fixed volume and moving volume")])
def test_it_is_said_which_scan_is_no_ct_as_the_verdict_was_fitted_on_ct(fixed_is_ct: bool, said: str) -> None:
    ct, moving = samples.small_pair()
    normalised = Image((moving.array + 1000) / 2000, moving.grid)
    fixed = ct if fixed_is_ct else normalised
    align_alone = dataclasses.replace(PRESETS["mind"], stages=(), refinement=None, one_patient=None, hu=False)
    assert f"{said}: {pipeline.NO_CT}" in register(fixed, normalised, align_alone).warnings
    assert not any(pipeline.NO_CT in text for text in register(ct, moving, align_alone).warnings)


@pytest.mark.slow
def test_structures_that_make_scans_of_any_kind_less_similar_are_left_out(
    pair: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that was never trained names the same patient as it likes; MIND alone finds the shift of 40 mm."""
    fixed = pair[0]
    moving = _moved(Image(900 - 0.4 * fixed.array, fixed.grid), np.eye(3), np.array([40.0, -25.0, 10.0]))
    torch.manual_seed(1)
    nonsense = semantic_net.SemanticNet(8).eval().requires_grad_(False)
    nonsense.head.weight *= 20  # sure of what it says
    asked = []
    monkeypatch.setattr(semantic_net, "load_for", lambda in_hu, **_: asked.append(in_hu) or nonsense)
    preset = dataclasses.replace(PRESETS["multimodal"], stages=QUICK.stages, refinement=None, semantic=30.0)
    found = register(fixed, moving, preset)
    assert asked == [True, False]
    plain = register(fixed, moving, dataclasses.replace(preset, semantic=0.0))
    assert found.warnings == (*plain.warnings, pipeline.UNNAMED)
    assert np.array_equal(found.field.array, plain.field.array)
    assert "agreement" not in found.verdict.measures
    monkeypatch.setattr(pipeline, "similarity_fell", lambda measures: False)
    kept = register(fixed, moving, preset)
    assert kept.verdict.measures["similarity"] < plain.verdict.measures["similarity"]


# --- structures ---


def test_structures_are_reported_and_change_nothing(
    pair: tuple[Image, Image], result: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transform is the same, bit by bit, where nothing is compared afterwards."""
    assert {"liver", "left kidney"} <= {fit.name for fit in result.structures}
    assert all(fit.verdict in VERDICTS for fit in result.structures)
    monkeypatch.setattr(job_run, "compare_structures", lambda *inputs: ())
    without = register(*pair, QUICK)
    assert without.structures == ()
    assert np.array_equal(without.field.array, result.field.array)
    assert register(*pair, IDLE, align=False).structures == ()


@pytest.mark.slow
def test_an_organ_that_was_moved_is_named_alone() -> None:
    """A kidney is cut out of a virtual patient and put back 29 mm away; the transform is the identity."""
    patient = virtual_patient(3, full_view(3, 4.0))
    there = np.argwhere(ndimage.binary_dilation(patient.labels.array == LEFT_KIDNEY))
    grid = patient.image.grid
    shift = np.array([8.0, -12.0, -24.0])  # LPS mm
    moved = grid.index_to_point(there[:, ::-1]) + shift
    array = patient.image.array.copy()
    array[tuple(there.T)] = -100
    array[tuple(np.rint(grid.point_to_index(moved)).astype(int)[:, ::-1].T)] = patient.image.array[tuple(there.T)]
    seen = dataclasses.replace(IDLE, semantic=PRESETS["default"].semantic)
    found = register(patient.image, Image(array, grid), seen, align=False)
    astray = [fit for fit in found.structures if fit.verdict == "astray"]
    assert [fit.name for fit in astray] == ["left kidney"]
    assert np.allclose(astray[0].shift_lps_mm, shift, atol=5.0)
    assert any("left kidney" in reason for reason in found.verdict.reasons)


@pytest.mark.slow
def test_a_diffeomorphic_result_hardly_differs_and_has_its_inverse(
    pair: tuple[Image, Image], result: Registration, points: np.ndarray
) -> None:
    found = register(*pair, QUICK, diffeomorphic=True)
    assert (found.diffeomorphic, result.diffeomorphic) == (True, False)
    apart = np.linalg.norm(found.field.transform_points(points) - result.field.transform_points(points), axis=-1)
    assert 0.0 < apart.mean() < 0.1
    assert found.field.jacobian_determinant().min() > 0.0
    inverse, residual = found.inverse(pair[1].grid)
    landed = found.field.transform_points(points)
    within = inverse.grid.contains(landed)
    assert within.sum() > 50
    error = np.linalg.norm(inverse.transform_points(landed[within]) - points[within], axis=-1)
    assert error.mean() < 0.1
    assert error.max() <= residual + 1.0
    assert residual < 2.0


def test_a_linear_result_needs_no_velocity(pair: tuple[Image, Image]) -> None:
    found = register(*pair, IDLE, transform_type="rigid", diffeomorphic=True)
    assert found.inverse_parts is None
    assert found.linear is not None
