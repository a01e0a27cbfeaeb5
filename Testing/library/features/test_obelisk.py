"""OBELISK features: their size, where the offsets point, and what must not change them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from helpers.geometry import grids, node_points, rotation, sitk_image
from pddnet.core.grid import Grid
from pddnet.features.obelisk import EDGE_FILTERS, Obelisk, intensities
from pddnet.tensor.scan import Scan

SPACING = 8.0
CENTRE = np.array([31.0, -72.0, 115.0])


def _centred(shape: tuple[int, ...], spacing: tuple[float, ...] | float, direction: np.ndarray) -> Grid:
    spacing = np.broadcast_to(np.asarray(spacing, float), 3)
    return Grid(shape, spacing, CENTRE - direction @ ((np.array(shape[::-1]) - 1) / 2 * spacing), direction)


def _scan(hu: np.ndarray, grid: Grid, body: np.ndarray | float = 1.0, view: np.ndarray | float = 1.0) -> Scan:
    stack = np.stack([np.broadcast_to(x, grid.shape) for x in (hu, body, view)]).astype(np.float32)
    values = torch.tensor(stack)
    return Scan(values, values.new_zeros(0, *grid.shape), grid, grid, grid, False)


def _of(grid: Grid, formula: Callable[[np.ndarray], np.ndarray]) -> Scan:
    return _scan(formula(node_points(grid)), grid)


SLOPE = np.array([3.0, -5.0, 2.0])  # HU per mm


def _ramp(points: np.ndarray) -> np.ndarray:
    return (points - CENTRE) @ SLOPE + 400


def _waves(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis((points - CENTRE) / 40, -1, 0)
    return 200 * np.sin(x + 0.3) * np.cos(y) + 150 * np.sin(1.3 * z - 0.4) + 60 * np.cos(x + y * 0.7)


def _module(channels: int = 4, seed: int = 0) -> Obelisk:
    """As if trained: statistics that are not the first ones."""
    torch.manual_seed(seed)
    module = Obelisk(channels, SPACING)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval()


def _features(module: Obelisk, scan: Scan, nodes: Grid) -> Tensor:
    with torch.no_grad():
        return module([scan], nodes)[0]


@pytest.mark.parametrize(("channels", "weights"), [(16, 120_780), (24, 270_772)])
def test_it_has_the_published_number_of_weights(channels: int, weights: int) -> None:
    assert sum(p.numel() for p in Obelisk(channels).parameters()) == weights


def _looking(offset: tuple[float, float, float], base: tuple[float, float, float]) -> Obelisk:
    """Its one channel is the intensity at x + offset less that at x + base (mm along D, H, W), nothing learned."""
    module = Obelisk(1, SPACING).eval()
    module.mix = nn.Conv3d(2 * EDGE_FILTERS, 1, 3, bias=False)
    with torch.no_grad():
        module.offsets.zero_()
        module.offsets[0, 0], module.offsets[1, 0] = torch.tensor(offset), torch.tensor(base)
        for layer in (module.edges[0], module.mix):
            layer.weight.zero_()
            layer.weight[0, 0].view(-1)[layer.weight[0, 0].numel() // 2] = 1
    return module


NODES = {
    "upright": _centred((4, 3, 5), SPACING, np.eye(3)),
    "oblique": _centred((4, 3, 5), SPACING, rotation(13, -21, 14)),
    "of other spacings": _centred((4, 3, 5), (5.0, 9.5, 12.0), rotation(13, -21, 14)),
}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("kind", ["oblique", "left-handed oblique", "permuted oblique"])
def test_offsets_are_millimetres_along_the_nodes_axes(name: str, kind: str) -> None:
    """On a ramp the difference of two places is slope . (one - the other), everywhere."""
    nodes, offset, base = NODES[name], (7.0, -13.0, 21.0), (-3.0, 4.5, 0.5)
    scan = _of(_centred((60, 50, 64), (2.5, 3.1, 2.9), grids()[kind].direction), _ramp)
    features = _features(_looking(offset, base), scan, nodes)
    away = nodes.direction @ (np.array(offset) - base)[::-1]
    assert features.shape == (1, *nodes.shape)
    assert features.numpy() == pytest.approx(float(SLOPE @ away) / 500, abs=2e-3)


def test_a_node_looks_from_where_it_stands() -> None:
    """Against the value far outside, which is -1024: the feature is the ramp at the node itself."""
    nodes = NODES["oblique"]
    scan = _of(_centred((30, 25, 32), (5.0, 6.2, 5.8), grids()["left-handed oblique"].direction), _ramp)
    module = _looking((0.0, 0.0, 0.0), (200.0, 0.0, 0.0))
    expected = _ramp(node_points(nodes)) / 500  # the ReLU turns -1024 into 0
    assert expected.min() > 0.1
    assert _features(module, scan, nodes)[0].numpy() == pytest.approx(expected, abs=2e-3)


def test_intensities_are_clipped_and_filled() -> None:
    grid = Grid((3, 3, 6), (4, 4, 4), (0, 0, 0), np.eye(3))
    hu = np.broadcast_to([3000.0, -3000.0, 250.0, 250.0, 250.0, -200.0], grid.shape)
    body, view = np.array([1, 1, 0, 1, 0.5, 1]), np.array([1, 1, 1, 0, 1, 1])
    around = Grid((1, 1, 8), (4, 4, 4), (-4, 4, 4), np.eye(3))
    values = intensities(_scan(hu, grid, body, view), around).flatten().tolist()
    fill = -1024 / 500
    assert values == pytest.approx([fill, 2.0, fill, fill, fill, (250 - 1024) / 2 / 500, -0.4, fill])


def _stored_otherwise(image: sitk.Image) -> sitk.Image:
    """The same content: axes permuted, two of them flipped."""
    return sitk.Flip(sitk.PermuteAxes(image, (2, 0, 1)), (True, False, True))


def _noise(grid: Grid) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 300, grid.shape).astype(np.float32)


def test_how_the_scan_is_stored_does_not_matter() -> None:
    grid = _centred((14, 12, 15), (4.0, 3.1, 5.3), rotation(13, -21, 34))
    image = _stored_otherwise(sitk_image(_noise(grid), grid))
    module, nodes = _module(), _centred((5, 4, 6), SPACING, rotation(13, -21, 14))
    expected = _features(module, _scan(_noise(grid), grid), nodes)
    stored = _scan(sitk.GetArrayFromImage(image), Grid.of(image))
    assert stored.grid.shape != grid.shape
    assert expected.std() > 0.01
    assert torch.allclose(_features(module, stored, nodes), expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("spacing", [SPACING, (7.0, 10.0, 5.0)])
def test_how_the_nodes_are_stored_does_not_matter(spacing: tuple[float, ...] | float) -> None:
    grid = _centred((14, 12, 15), (4.0, 3.1, 5.3), rotation(13, -21, 34))
    module, scan, nodes = _module(), _scan(_noise(grid), grid), _centred((5, 4, 6), spacing, rotation(13, -21, 14))
    images = [_stored_otherwise(sitk_image(x.numpy(), nodes)) for x in _features(module, scan, nodes)]
    expected = torch.tensor(np.stack([sitk.GetArrayFromImage(image) for image in images]))
    result = _features(module, scan, Grid.of(images[0]))
    assert torch.allclose(result, expected, atol=1e-4 * float(expected.abs().max()))


def test_which_grid_the_scan_was_sampled_on_hardly_matters() -> None:
    """The same waves on an upright grid and on oblique, anisotropic, left-handed ones."""
    module, nodes = _module(), _centred((4, 3, 5), SPACING, rotation(5, -11, 8))
    fine = _features(module, _of(_centred((86, 86, 86), 2.0, np.eye(3)), _waves), nodes)
    for kind in ("left-handed oblique", "permuted oblique"):
        grid = _centred((84, 72, 66), (3.0, 2.6, 2.2), grids()[kind].direction)
        result = _features(module, _of(grid, _waves), nodes)
        assert (result - fine).abs().max() < 0.02 * fine.std()


def test_features_do_not_depend_on_where_the_nodes_end() -> None:
    grid = _centred((14, 12, 15), (4.0, 3.1, 5.3), rotation(13, -21, 34))
    module, scan, nodes = _module(), _scan(_noise(grid), grid), _centred((7, 6, 8), SPACING, np.eye(3))
    part = Grid((3, 4, 2), nodes.spacing, nodes.index_to_point([5, 1, 2]), nodes.direction)
    expected = _features(module, scan, nodes)[:, 2:5, 1:5, 5:7]
    assert torch.allclose(_features(module, scan, part), expected, atol=1e-4)


def test_scans_are_normalised_together_in_training() -> None:
    """What two scans have in common has the same features, whatever else they show."""
    grid = _centred((20, 20, 40), 6.0, np.eye(3))
    hu = _noise(grid)
    other = hu.copy()
    other[:, :, 30:] = 900
    module = _module().train()
    with torch.no_grad():
        module.offsets.clamp_(-20, 20)
        one, two = module([_scan(hu, grid), _scan(other, grid)], _centred((6, 6, 16), SPACING, np.eye(3)))
    assert torch.allclose(one[..., :4], two[..., :4], atol=1e-4)
    assert (one - two)[..., -4:].abs().max() > 0.1


@pytest.mark.parametrize("name", ["offsets", "edges.0.weight", "mix.0.weight", "mix.3.weight", "mix.6.bias"])
def test_gradients_by_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    grid = _centred((14, 12, 15), (4.0, 3.1, 5.3), rotation(13, -21, 34))
    scan, nodes = _scan(_noise(grid), grid), _centred((4, 3, 5), SPACING, np.eye(3))
    scan = Scan(scan.values.double(), scan.features, grid, grid, grid, False)
    module = _module(channels=2).double()
    upstream = torch.randn(1, 2, *nodes.shape, generator=generator, dtype=torch.float64)
    parameter = dict(module.named_parameters())[name]
    way = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((module([scan], nodes) * upstream).sum(), parameter)

    def value(step: float) -> float:
        with torch.no_grad():
            parameter.add_(step * way)
            result = float((module([scan], nodes) * upstream).sum())
            parameter.sub_(step * way)
        return result

    assert float((gradient * way).sum()) == pytest.approx((value(1e-6) - value(-1e-6)) / 2e-6, rel=1e-4)
