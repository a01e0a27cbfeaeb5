"""The network that names structures: its layout, its codes, and that they lie where the structures are."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from helpers.trunk import MIDDLE, ORGANS, ct, label_at, oblique_grid, place
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, Stage
from pddnet.errors import InputError
from pddnet.features import semantic_net
from pddnet.features.guide import with_label_codes
from pddnet.features.label_table import LEVELS, NUMBER, STRUCTURES
from pddnet.features.semantic_codes import (
    EMBEDDING_SIZE,
    _surer,
    class_embedding,
    segmented,
    with_semantic_codes,
)
from pddnet.features.semantic_net import (
    SEMANTIC_SPACING_MM,
    SemanticNet,
    depth_to_space,
    inputs,
    load,
    load_for,
    probabilities,
    save,
)
from pddnet.io.weights_file import write_weights
from pddnet.pipeline import register
from pddnet.tensor.convert import to_array
from pddnet.tensor.pools import halved
from pddnet.tensor.scan import Scan, prepare

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def net() -> SemanticNet:
    torch.manual_seed(3)
    return SemanticNet(8).eval().requires_grad_(False)


class Threshold(nn.Module):
    """Names liver what is denser than 60 HU, background the rest: what a network would do if it were that simple."""

    hu = True

    def forward(self, x: Tensor) -> Tensor:
        assert all(n % semantic_net.BLOCK == 0 for n in x.shape[2:])
        logits = x.new_zeros(1, len(STRUCTURES), *x.shape[2:])
        dense = (500 * x[:, 1] > 60).float() * x[:, 2]
        logits[:, NUMBER["liver"]] = 60 * dense - 30
        return logits

    def block_features(self, x: Tensor) -> Tensor:
        return semantic_net._space_to_depth(self(x))

    def block_logits(self, features: Tensor) -> Tensor:
        return features


def _scan(image: Image, mask: Image | None = None) -> Scan:
    return prepare(image, 4.0, CPU, mask=mask)


def _at(scan: Scan, points: np.ndarray) -> np.ndarray:
    """(E, N) codes at LPS points (N, 3), by scipy."""
    index = scan.features_grid.point_to_index(points)[:, ::-1].T
    return np.stack([ndimage.map_coordinates(code, index, order=1, mode="nearest") for code in scan.features.numpy()])


def test_folding_and_unfolding_are_inverses() -> None:
    x = torch.randn(2, 3, 4, 6, 8)
    folded = semantic_net._space_to_depth(x)
    assert folded.shape == (2, 24, 2, 3, 4)
    assert torch.equal(depth_to_space(folded), x)
    y = torch.randn(1, 16, 3, 2, 5)
    assert torch.equal(semantic_net._space_to_depth(depth_to_space(y)), y)


def test_a_block_holds_eight_neighbours() -> None:
    x = torch.arange(2 * 4 * 4 * 4).view(1, 2, 4, 4, 4)
    folded = semantic_net._space_to_depth(x)
    for c, d, h, w in itertools.product(range(2), range(2), range(2), range(2)):
        block = x[0, c, 2 * d : 2 * d + 2, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2].flatten()
        assert torch.equal(folded[0, 8 * c : 8 * c + 8, d, h, w], block)


def test_the_network_maps_every_voxel_to_every_structure(net: SemanticNet) -> None:
    assert net(torch.randn(2, 3, 8, 16, 24)).shape == (2, len(STRUCTURES), 8, 16, 24)
    assert sum(p.numel() for p in SemanticNet(32).parameters()) * 2 < 8e6  # bytes as they are stored


def test_what_changes_add_is_nothing_before_they_are_trained() -> None:
    """A network may begin as one without them, and go on from there."""
    torch.manual_seed(4)
    fresh, x = SemanticNet(8).eval(), torch.randn(1, 3, 16, 24, 8)
    assert len(fresh.residual_blocks()) == 7
    logits = fresh(x)
    for name in fresh.residual_blocks():
        part = fresh.get_submodule(name)
        for layer in list(part)[:-1]:
            for parameter in layer.parameters():
                parameter.data.normal_()
        assert torch.equal(fresh(x), logits)
        part[-1].weight.data.fill_(1.0)
        assert (fresh(x) - logits).abs().max() > 1e-3
        part[-1].weight.data.zero_()


def test_codes_of_one_length_that_tell_structures_apart() -> None:
    table = class_embedding()
    assert table.shape == (len(STRUCTURES), EMBEDDING_SIZE)
    lengths = np.linalg.norm(table, axis=1)
    assert lengths[0] == 0
    spine = np.array([name.startswith("vertebra") for name in STRUCTURES])
    assert np.allclose(lengths[1:], np.where(spine, 0.6, 1)[1:], atol=1e-6)
    assert np.linalg.norm(table[NUMBER["aorta"]] - table[NUMBER["vena_cava"]]) == pytest.approx(np.sqrt(2))
    assert np.linalg.norm(table[NUMBER["spleen"]] - table[NUMBER["small_bowel"]]) == pytest.approx(2)
    assert np.linalg.norm(table[NUMBER["liver"]] - table[NUMBER["spleen"]]) == pytest.approx(np.sqrt(2))
    bone = np.linalg.norm(table[NUMBER["rib"]] - table[NUMBER["vertebra_L1"]])
    assert bone == pytest.approx(np.sqrt(1.36), abs=1e-6)


def test_neighbouring_vertebrae_are_nearer_than_all_others() -> None:
    spine = class_embedding()[[NUMBER[f"vertebra_{level}"] for level in LEVELS]]
    apart = np.linalg.norm(spine[:, None] - spine[None], axis=-1)
    steps = np.abs(np.subtract.outer(np.arange(17), np.arange(17)))
    near, far = apart[steps == 1], apart[(steps > 1) & (steps < 7)]  # further apart than any displacement reaches
    assert np.ptp(near) < 1e-5
    assert near.max() < 0.47 < 0.8 < far.min()


def test_inputs_are_soft_tissue_all_hu_and_the_body_in_view() -> None:
    values = torch.tensor([[40.0, 190.0, -1000.0, 700.0], [1, 1, 0, 1], [1, 0, 1, 1]]).view(3, 1, 1, 4)
    found = inputs(values).view(3, 4)
    assert torch.allclose(found[0], torch.tensor([0, 1, -1.5, 1.5]))
    assert torch.allclose(found[1], torch.tensor([0.08, 0.38, -2, 1.4]))
    assert found[2].tolist() == [1, 0, 0, 1]


def test_inputs_of_mr_are_its_range_and_that_of_its_roots() -> None:
    values = torch.tensor([[-1000.0, -750.0, 0.0], [0, 1, 1], [1, 1, 0]]).view(3, 1, 1, 3)
    found = inputs(values, hu=False).view(3, 3)
    assert torch.allclose(found[0], torch.tensor([-1.5, -0.75, 1.5]))
    assert torch.allclose(found[1], torch.tensor([-2.0, -1.0, 0.0]))
    assert found[2].tolist() == [0, 1, 0]
    padded = semantic_net.padded_inputs(values, hu=False)
    assert padded.shape == (3, 2, 2, 4)
    assert (padded[:, 1] == torch.tensor([-1.5, -2.0, 0.0])[:, None, None]).all()


def test_what_is_halved_and_doubled_stays_where_it_was() -> None:
    """Of an odd number of voxels, too: the last one stands for two."""
    ramp = torch.arange(11.0).view(1, 1, 11, 1, 1).expand(1, 1, 11, 7, 4)
    halves = halved(ramp)
    assert halves.shape == (1, 1, 6, 4, 2)
    assert halves[0, 0, :, 0, 0].tolist() == [1, 3, 5, 7, 9, 10]
    doubled = semantic_net._upsampled(halves, ramp)
    assert doubled.shape == ramp.shape
    assert doubled[0, 0, :, 3, 1].tolist() == pytest.approx([1, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.25, 9.75])


def test_without_a_gradient_the_same_is_computed(net: SemanticNet) -> None:
    """By oneDNN, which torch itself would not ask for volumes as small as these."""
    x = torch.randn(1, 3, 14, 10, 6, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = net.block_features(x)
    assert torch.allclose(found, net.block_features(x.requires_grad_(True)), atol=1e-5)


def test_sizes_that_fit_are_not_padded(net: SemanticNet) -> None:
    values = torch.rand(3, 16, 8, 24) * torch.tensor([400.0, 1, 1]).view(3, 1, 1, 1)
    with torch.no_grad():
        expected = net(inputs(values)[None])[0].softmax(0)
    assert torch.allclose(probabilities(net, values), expected, rtol=0, atol=1e-6)  # convolutions may round otherwise


@pytest.mark.parametrize("shape", [(16, 16, 16), (9, 15, 22), (1, 7, 8), (17, 8, 3)])
def test_any_size_gets_probabilities_of_its_own_shape(net: SemanticNet, shape: tuple[int, int, int]) -> None:
    found = probabilities(net, torch.zeros(3, *shape))
    assert found.shape == (len(STRUCTURES), *shape)
    assert torch.allclose(found.sum(0), torch.ones(shape), atol=1e-5)
    assert not found.requires_grad


def test_expected_codes_are_the_table_weighted_by_the_probabilities(net: SemanticNet) -> None:
    torch.manual_seed(5)
    x, table = torch.randn(1, 3, 8, 16, 24), torch.randn(len(STRUCTURES), 4)
    found = depth_to_space(segmented(net, net.block_features(x)[0], table)[None])[0]
    probability, likeliest = net(x)[0].softmax(0).max(0)
    expected = torch.einsum("se,sdhw->edhw", table, net(x)[0].softmax(0))
    assert torch.allclose(found[:4], expected, atol=1e-5)
    assert len(likeliest.unique()) > 5
    assert torch.equal(found[4], likeliest.float())
    assert torch.allclose(found[5], probability, atol=1e-5)


def test_padding_stands_at_the_far_ends_and_is_no_body() -> None:
    seen = []

    class Spy(nn.Module):
        hu = True

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x[0])
            return x.new_zeros(1, len(STRUCTURES), *x.shape[2:])

    values = torch.rand(3, 9, 8, 13) + 1
    probabilities(Spy(), values)
    assert seen[0].shape == (3, 10, 8, 14)
    assert torch.equal(seen[0][:, :9, :, :13], inputs(values))
    padded = torch.ones(10, 8, 14, dtype=torch.bool)
    padded[:9, :, :13] = False
    assert (seen[0][:2, padded] <= -1.5).all()  # as dark as air
    assert (seen[0][2, padded] == 0).all()


@pytest.mark.parametrize(
    "spacings_mm", [(SEMANTIC_SPACING_MM,), (3.5,), (4.6,), PRESETS["default"].network_spacings_mm]
)
def test_codes_lie_where_the_structure_is_on_an_oblique_grid(spacings_mm: tuple[float, ...]) -> None:
    scan = with_semantic_codes(_scan(ct(oblique_grid())), Threshold(), 3.0, spacings_mm)
    assert scan.features.shape == (EMBEDDING_SIZE, *scan.features_grid.shape)
    assert np.allclose(scan.features_grid.spacing, SEMANTIC_SPACING_MM)
    rng = np.random.default_rng(1)
    points = MIDDLE + rng.uniform(-80, 80, (6000, 3))
    label = label_at(points, edge=9.0 if spacings_mm == (SEMANTIC_SPACING_MM,) else 11.0)
    away = np.linalg.norm((points - MIDDLE) / [1.0, 0.9, 1.3], axis=-1)
    inside = oblique_grid().contains(points) & (away < 80)
    found = _at(scan, points)
    dense = inside & np.isin(label, (2, 3, 5, 6, 9, 11))  # all organs are denser than 60 HU, the fat is not
    assert dense.sum() > 100
    assert np.abs(found[:, dense] - 3.0 * class_embedding()[NUMBER["liver"]][:, None]).max() < 0.15
    assert np.abs(found[:, inside & (label == 0)]).max() < 0.15


@pytest.mark.parametrize("spacings_mm", [(SEMANTIC_SPACING_MM,), PRESETS["default"].network_spacings_mm])
def test_what_is_named_lies_where_the_structure_is_on_an_oblique_grid(spacings_mm: tuple[float, ...]) -> None:
    named = with_semantic_codes(_scan(ct(oblique_grid())), Threshold(), 3.0, spacings_mm).named
    assert named is not None
    points = named.numbers.grid.points()
    label = label_at(points, edge=7.0)
    away = np.linalg.norm((points - MIDDLE) / [1.0, 0.9, 1.3], axis=-1)
    inside = oblique_grid().contains(points) & (away < 80)
    dense = inside & np.isin(label, (2, 3, 5, 6, 9, 11))
    assert dense.sum() > 500
    assert (named.numbers.array[dense] == NUMBER["liver"]).mean() > 0.999
    assert (named.numbers.array[inside & (label == 0)] == 0).mean() > 0.999
    assert named.certainty[dense].min() > 0.99


def test_two_segmentations_that_disagree_are_half_as_sure() -> None:
    """The surer one wins: 5 twice; 5 before 7; 7 before 5; nothing before 7."""
    before, sums = torch.tensor([5.0, 5.0, 5.0, 0.0]), torch.tensor([0.9, 0.8, 0.6, 0.0])
    other, probability = torch.tensor([5.0, 7.0, 7.0, 7.0]), torch.tensor([0.7, 0.5, 0.9, 0.4])
    winner, total = _surer(before, sums, other, probability)
    assert winner.tolist() == [5, 5, 7, 7]
    assert torch.allclose(total, torch.tensor([1.6, 0.8, 0.9, 0.4]))


def test_how_the_scan_is_stored_does_not_matter(net: SemanticNet) -> None:
    image = ct(oblique_grid())
    points = np.concatenate([place(n) + np.random.default_rng(n).normal(0, 8, (40, 3)) for n in ORGANS])
    expected = _at(with_semantic_codes(_scan(image), net, 1.0), points)
    assert np.abs(expected).max() > 0.05
    for order, flips in (((0, 1, 2), (1, 0, 0)), ((2, 0, 1), (0, 1, 1)), ((1, 0, 2), (0, 0, 1))):
        grid = image.grid
        axes = [a for a in range(3) if flips[a]]  # ITK's i, j, k to be reversed
        start = grid.index_to_point(np.where(flips, grid.size - 1, 0))
        direction = (grid.direction * np.where(flips, -1, 1))[:, order]
        array = np.flip(image.array, [2 - a for a in axes]).transpose([2 - order[2 - n] for n in range(3)])
        stored = Image(np.ascontiguousarray(array), Grid(array.shape, grid.spacing[list(order)], start, direction))
        assert np.allclose(_at(with_semantic_codes(_scan(stored), net, 1.0), points), expected, atol=1e-4)


def test_no_codes_outside_the_body_or_the_view(net: SemanticNet) -> None:
    image = ct(oblique_grid())
    half = (image.grid.points()[..., 0] < MIDDLE[0]).astype(np.uint8)
    scan = with_semantic_codes(_scan(image, Image(half, image.grid)), net, 1.0)
    seen = scan.warped(scan.features_grid, Affine.identity()).values
    out = (seen[1] * seen[2]) == 0
    assert 0.2 < out.float().mean() < 0.95
    assert (scan.features[:, out] == 0).all()
    assert (scan.features[:, ~out].abs().sum(0) > 0).float().mean() > 0.99
    right = scan.features_grid.points()[..., 0] > MIDDLE[0] + 5
    assert not scan.features[:, torch.as_tensor(right)].any()


def test_what_is_seen_at_several_scales_is_averaged(net: SemanticNet) -> None:
    scan = _scan(ct(oblique_grid()))
    one, other, both = (
        with_semantic_codes(scan, net, 2.0, spacings_mm).features for spacings_mm in ((3.5,), (4.6,), (3.5, 4.6))
    )
    assert one.shape == other.shape == (EMBEDDING_SIZE, *scan.box.isotropic(SEMANTIC_SPACING_MM).shape)
    assert (one - other).abs().max() > 0.01
    assert torch.allclose(both, (one + other) / 2, atol=1e-6)


def test_codes_are_scaled_and_stand_after_those_that_guide(net: SemanticNet) -> None:
    image = ct(oblique_grid())
    labels = Image((image.array > 0).astype(np.uint8), image.grid)
    guided = with_label_codes(prepare(image, 4.0, CPU), labels, np.array([[0.0, 0], [1, 2]]))
    one, three = with_semantic_codes(guided, net, 1.0), with_semantic_codes(guided, net, 3.0)
    assert one.features.shape[0] == 2 + EMBEDDING_SIZE
    assert torch.allclose(
        one.features[:2], guided.features_at(one.features_grid, Affine.identity()), atol=1e-6
    )  # interpolated
    assert float(one.features[:2].max()) > 1.9
    assert torch.allclose(3 * one.features[2:], three.features[2:], atol=1e-6)
    assert torch.equal(guided.values, one.values)


def test_weights_round_trip(net: SemanticNet, tmp_path: Path) -> None:
    save(net, tmp_path / "w.npz", {"data": "balls"})
    again = load(tmp_path / "w.npz")
    assert again.width == 8
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    x = torch.randn(1, 3, 8, 8, 8)
    assert torch.allclose(again(x), net(x), atol=0.05)
    stored = {name: value.half().float() for name, value in net.state_dict().items()}
    assert all(torch.equal(value, stored[name]) for name, value in again.state_dict().items())


def test_weights_say_what_they_read(net: SemanticNet, tmp_path: Path) -> None:
    save(net, tmp_path / "ct.npz", {})
    save(SemanticNet(8, hu=False), tmp_path / "mr.npz", {})
    assert load(tmp_path / "ct.npz").hu and not load(tmp_path / "mr.npz").hu


def test_a_scan_is_read_by_the_network_of_its_kind(net: SemanticNet, tmp_path: Path) -> None:
    bundled = load_for(True, None, CPU), load_for(False, None, CPU)
    assert [each.hu for each in bundled] == [True, False]
    own = tmp_path / "own.npz"
    save(SemanticNet(8, hu=False), own, {})
    assert load_for(False, own, CPU).width == 8
    assert load_for(True, own, CPU) is bundled[0]
    save(net, own, {})
    assert load_for(True, own, CPU).width == 8
    assert load_for(False, own, CPU) is bundled[1]


def test_weights_from_before_the_changes_name_the_same(net: SemanticNet, tmp_path: Path) -> None:
    old = {
        name: to_array(value)
        for name, value in net.state_dict().items()
        if name.split(".")[0] not in net.residual_blocks()
    }
    write_weights(tmp_path / "old.npz", old, semantic_net._kind(net))
    x = torch.randn(1, 3, 8, 16, 8)
    assert torch.allclose(load(tmp_path / "old.npz")(x), net(x), atol=0.05)
    some = old | {"fourth.0.weight": to_array(net.fourth[0].weight)}
    write_weights(tmp_path / "some.npz", some, semantic_net._kind(net))
    with pytest.raises(InputError, match="do not fit"):
        load(tmp_path / "some.npz")


def test_a_file_that_was_written_anew_is_read_anew(net: SemanticNet, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    save(net, path, {})
    first = load(path).head.bias.clone()
    other = SemanticNet(16)
    save(other, path, {})
    again = load(path)
    assert again.width == 16
    assert not torch.equal(again.head.bias[: len(first)], first)


def test_weights_of_another_table_width_or_network(net: SemanticNet, tmp_path: Path) -> None:
    for number, (metadata, message) in enumerate(
        [
            ({"structures": STRUCTURES[:-1]}, "another table"),
            ({"structures": 7}, "another table"),
            ({"width": 16}, "do not fit"),
            ({"width": "wide"}, "do not fit"),
            ({"width": None}, "do not fit"),
            ({"width": 12}, "do not fit"),
            ({"kind": "obelisk"}, "kind 'obelisk'"),
        ]
    ):
        path = tmp_path / f"w{number}.npz"
        save(net, path, metadata)
        with pytest.raises(InputError, match=message) as error:
            load(path)
        assert path.name in str(error.value)
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "none.npz")


def test_registration_uses_the_structures_when_the_preset_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = oblique_grid((24, 30, 32))
    fixed = ct(grid, 1)
    moving = Image(ct(grid, 2).array, dataclasses.replace(grid, origin=grid.origin + [6.0, -4.0, 5.0]))
    stage = Stage(24.0, 24.0, 7, 8.0, 0.005, iterations=5)
    plain = dataclasses.replace(PRESETS["fast"], stages=(stage,), semantic=0.0)
    loaded = []
    monkeypatch.setattr(semantic_net, "load", lambda *given, **settings: loaded.append(1) or Threshold())
    without = register(fixed, moving, plain, align=False)
    assert not loaded
    assert "agreement" not in without.verdict.measures
    learned = register(fixed, moving, dataclasses.replace(plain, semantic=2.0), align=False)
    assert loaded == [1]
    assert 0.5 < learned.verdict.measures["agreement"] <= 1.0
    assert np.abs(learned.field.array - without.field.array).max() > 0.1
