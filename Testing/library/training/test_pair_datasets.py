"""Pairs of scans: drawn by number, laid upon each other by structures, compared by them. Oracles are formulas."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from helpers.geometry import node_points, rotation
from helpers.trunk import MIDDLE, NAMES, anatomy, label_at, oblique_grid
from pddnet.core.grid import Grid
from pddnet.features.label_table import NUMBER, structure_of
from pddnet.features.semantic_net import SEMANTIC_SPACING_MM
from pddnet.synthesis.patient import PatientSource, Sample
from pddnet.tensor.scan import Scan
from pddnet.training.datasets import annotation_mask
from pddnet.training.labelled_scan import LabelledScan, centre_offset, content_similarity, dice_after_warp
from pddnet.training.pair_datasets import LEAST_CONTENT_SIMILARITY, MISALIGNMENT_MM, PairDataset

SHIFT = np.array([7.0, -13.0, 29.0])  # LPS mm: fixed to moving
NUMBERS = {label: NUMBER.get(structure_of(name) or "", 0) for label, name in NAMES.items()} | {0: 0}
COMMON = annotation_mask(frozenset(NUMBERS.values()) - {0})


def _labelled(grid: Grid, shift: np.ndarray | float = 0.0) -> LabelledScan:
    """The trunk's structures, moved by `shift`, and a body that shows nothing else."""
    labels = label_at(node_points(grid) - shift)
    structures = torch.tensor(np.vectorize(NUMBERS.get)(labels))
    values = torch.ones(3, *grid.shape)
    return LabelledScan(Scan(values, values[:0], grid, grid, grid, False), structures)


def _other_grid() -> Grid:
    """Left-handed and oblique, and not as `oblique_grid`."""
    shape, spacing = (56, 60, 52), np.array([4.0, 3.5, 4.5])
    direction = rotation(-8, 11, 5) @ np.diag([1.0, -1.0, 1.0])
    return Grid(shape, spacing, MIDDLE + SHIFT - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)


def _along(grid: Grid, vector: np.ndarray) -> torch.Tensor:
    """An LPS vector (3,) everywhere on a grid, as components along its array axes D, H, W."""
    parts = [float(vector @ grid.direction[:, axis]) for axis in (2, 1, 0)]
    return torch.tensor(parts).view(3, 1, 1, 1).expand(3, *grid.shape)


def test_structures_are_laid_upon_each_other() -> None:
    fixed, moving = _labelled(oblique_grid()), _labelled(_other_grid(), SHIFT)
    found = centre_offset(fixed, moving)
    assert np.abs(found + SHIFT).max() < 1.0
    again = centre_offset(fixed, moving.translate(found))
    assert np.abs(again).max() < 1e-6


def test_a_structure_that_one_scan_lacks_does_not_draw() -> None:
    fixed, moving = _labelled(oblique_grid()), _labelled(_other_grid(), SHIFT)
    without = torch.where(moving.structures == NUMBER["liver"], 0, moving.structures)
    assert np.abs(centre_offset(fixed, LabelledScan(moving.scan, without)) + SHIFT).max() < 1.0
    few = moving.structures.clone()
    few[few == NUMBER["liver"]] = 0
    few[0, 0, :5] = NUMBER["liver"]  # a bit of it, far from where it is
    assert np.abs(centre_offset(fixed, LabelledScan(moving.scan, few)) + SHIFT).max() < 1.0


def test_without_a_common_structure_the_views_lie_upon_each_other() -> None:
    fixed, moving = _labelled(oblique_grid()), _labelled(_other_grid(), SHIFT)
    empty = LabelledScan(moving.scan, torch.zeros_like(moving.structures))
    assert np.allclose(centre_offset(fixed, empty), oblique_grid().centre - _other_grid().centre)


def test_overlaps_under_the_true_displacement_and_others() -> None:
    fixed, moving = _labelled(oblique_grid()), _labelled(_other_grid(), SHIFT)
    present = set(np.unique(fixed.structures)) - {0}
    right = dice_after_warp(fixed, moving, _along(oblique_grid(), SHIFT), COMMON)
    assert len(right) == len(present) == 5
    assert min(right) > 0.85  # voxels of two grids, nearest ones
    for wrong in (-SHIFT, SHIFT[::-1], SHIFT * [1, 1, 0]):
        assert np.mean(dice_after_warp(fixed, moving, _along(oblique_grid(), wrong), COMMON)) < 0.6


def test_overlaps_by_hand() -> None:
    grid = Grid((1, 1, 6), (4.0,) * 3, (0.0,) * 3, np.eye(3))
    liver, spleen = NUMBER["liver"], NUMBER["spleen"]
    values = torch.ones(3, 1, 1, 6)
    scan = Scan(values, values[:0], grid, grid, grid, False)
    fixed = LabelledScan(scan, torch.tensor([[[liver, liver, spleen, spleen, 0, -1]]]))
    moving = LabelledScan(scan, torch.tensor([[[0, liver, liver, liver, spleen, spleen]]]))
    one = torch.zeros(3, 1, 1, 6)
    one[2] = 4.0  # the moving scan's next voxel; the last lies beyond it
    common = annotation_mask(frozenset({liver, spleen}))
    found = dict(zip(sorted((liver, spleen)), dice_after_warp(fixed, moving, one, common), strict=True))
    assert found == {liver: pytest.approx(2 * 2 / (2 + 3)), spleen: pytest.approx(2 * 1 / (2 + 2))}
    assert dice_after_warp(fixed, moving, one, annotation_mask(frozenset({spleen}))) == [found[spleen]]
    unseen = values.clone()
    unseen[2, ..., 3] = 0  # what the third voxel of the fixed scan finds: that one does not count then
    half = LabelledScan(Scan(unseen, values[:0], grid, grid, grid, False), moving.structures)
    assert dice_after_warp(fixed, half, one, common) == pytest.approx([2 * 1 / (1 + 2), 2 * 2 / (2 + 2)])


def test_views_are_alike_by_the_structures_that_both_show() -> None:
    fixed = _labelled(oblique_grid())
    assert content_similarity(fixed, fixed) == 1.0
    assert content_similarity(fixed, _labelled(oblique_grid(), 1000.0)) == 0.0
    counts = torch.bincount(fixed.structures.flatten())
    half = torch.where(fixed.structures == NUMBER["liver"], 0, fixed.structures)
    expected = 1 - float(counts[NUMBER["liver"]] / counts[1:].sum())
    assert content_similarity(fixed, LabelledScan(fixed.scan, half)) == pytest.approx(expected)
    assert 0.3 < expected < 0.7


def test_what_is_not_told_apart_in_both_is_background() -> None:
    grid = Grid((1, 1, 3), (4.0,) * 3, (0.0,) * 3, np.eye(3))
    values = torch.ones(3, 1, 1, 3)
    given = LabelledScan(Scan(values, values[:0], grid, grid, grid, False), torch.tensor([[[NUMBER["liver"], 7, -1]]]))
    assert given.keep_structures(annotation_mask(frozenset({7}))).structures.tolist() == [[[0, 7, -1]]]


class Plain:
    """A source whose scans show one structure around a place that the seed says."""

    def __init__(self, number: int, annotated: set[int]) -> None:
        self.number, self.annotated = number, frozenset(annotated)

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        structures = torch.zeros(shape, dtype=torch.long)
        k, j, i = (seed % 5, seed // 5 % 7, seed // 35 % 9)
        structures[k : k + 3, j : j + 4, i : i + 5] = 4
        structures[-1] = self.number
        return Sample(torch.full((3, *shape), float(seed % 1000)), structures)


def _pairs(count: int, first: int = 0, seed: int = 2) -> list[tuple[torch.Tensor, ...]]:
    sources = [Plain(5, {4, 5, 6}), Plain(6, {4, 6})]
    return list(itertools.islice(PairDataset(sources, [1.0, 2.0], seed, first, (12, 16, 20)), count))


def test_a_number_is_the_same_pair_wherever_drawing_begins() -> None:
    whole, later = _pairs(6), _pairs(2, first=4)
    for one, other in zip(whole[4:], later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert len({float(pair[0].sum()) for pair in whole}) == 6
    assert any(bool((one[0] != other[0]).any()) for one, other in zip(whole, _pairs(6, seed=3), strict=True))


def test_a_pair_is_two_scans_that_differ_with_what_both_tell_apart() -> None:
    kinds = set()
    for values, structures, common, shift in _pairs(30):
        assert values.shape == (2, 3, 12, 16, 20) and structures.shape == (2, 12, 16, 20) and shift.shape == (3,)
        assert not torch.equal(values[0], values[1])
        shown = frozenset(structures[:, -1].unique().tolist())
        told = tuple(common.nonzero()[:, 0].tolist())
        assert shown <= set(told)
        kinds.add(told)
    assert kinds == {(0, 4, 5, 6), (0, 4, 6)}  # both from one source, and from two


def test_drawn_pairs_lie_upon_each_other_about_as_an_alignment_leaves_them() -> None:
    off = []
    for values, structures, _, shift in _pairs(60):
        at = [[SEMANTIC_SPACING_MM * float(n.float().mean()) for n in (s == 4).nonzero().T] for s in structures]
        off.append(np.array(at[0])[::-1] - at[1][::-1] - shift.numpy())  # LPS mm, less what the slab adds
        assert values.isfinite().all()
    assert np.abs(np.std(off, axis=0)).max() < 2 * MISALIGNMENT_MM
    assert np.std(off) > 0.5 * MISALIGNMENT_MM


def test_painted_patients_overlap_better_when_laid_upon_each_other() -> None:
    drawn = PairDataset([PatientSource(anatomy())], [1.0], 1, 0, (32, 32, 32))
    before, after, shown = [], [], []
    for values, structures, common, shift in itertools.islice(drawn, 3):
        fixed, moving = (
            LabelledScan.from_sample(values[0], structures[0]),
            LabelledScan.from_sample(values[1], structures[1]),
        )
        nothing = torch.zeros(3, 32, 32, 32)
        shown.append(content_similarity(fixed, moving))
        before += dice_after_warp(fixed, moving, nothing, common)
        after += dice_after_warp(fixed, moving.translate(shift.numpy()), nothing, common)
        again = LabelledScan.from_sample(values[1], structures[1], shift.numpy())
        assert np.allclose(again.scan.grid.origin, moving.translate(shift.numpy()).scan.grid.origin)
    assert np.mean(after) > np.mean(before) + 0.05
    assert np.median(shown) > LEAST_CONTENT_SIMILARITY
