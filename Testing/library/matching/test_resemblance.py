"""The resemblance of two scans, against the correlation written out voxel by voxel, in every geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers.geometry import grids, rotation
from pddnet.core.affine import Affine
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.features.local_contrast import CONTRAST_RANGE_HU
from pddnet.matching.resemblance import LEAST_COMMON, NOISE_HU, REACH, local_correlation, resemblance
from pddnet.tensor.convert import to_array, to_tensor
from pddnet.tensor.lattice import from_lps
from pddnet.tensor.scan import Scan, prepare

CPU = torch.device("cpu")
MIDDLE = np.array([31.0, -72.0, 115.0])
SHIFT = np.array([5.0, -3.0, 4.0])
RADIUS_MM = 52.0


def _around(direction: np.ndarray, spacing: tuple[float, ...], shape: tuple[int, int, int] = (34, 40, 44)) -> Grid:
    half = (np.array(shape[::-1]) - 1) / 2 * spacing
    return Grid(shape, spacing, MIDDLE - direction @ half, direction)


def _tissue(points: np.ndarray) -> np.ndarray:
    """HU of a ball with blobs of a few voxels in it."""
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    hu = 20.0 + 90.0 * np.sin(x / 4 + 0.3) * np.sin(y / 5) + 70.0 * np.cos(z / 4.5 + 1)
    return np.where(np.linalg.norm(points - MIDDLE, axis=-1) < RADIUS_MM, hu, -1000.0)


def _scan(grid: Grid, shift: np.ndarray | float = 0.0, sign: float = 1.0) -> Scan:
    """The ball, moved by `shift`; its blobs bright or dark."""
    hu = _tissue(grid.points() - shift)
    return prepare(Image(np.where(hu > -900, 20 + sign * (hu - 20), hu).astype(np.float32), grid), 4.0, CPU)


def _nothing(fixed: Scan) -> tuple[torch.Tensor, Grid]:
    lattice = fixed.box.isotropic(4.0, 8.0)
    return torch.zeros(3, *lattice.shape), lattice


def _written_out(fixed: Scan, moving: Scan, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The correlation in the window around every voxel of the fixed body's box, with numpy alone."""
    box = fixed.box
    points = box.points()

    def seen(scan: Scan, at: np.ndarray) -> tuple[np.ndarray, ...]:
        index = np.moveaxis(scan.grid.point_to_index(at), -1, 0)[::-1]
        inside = scan.grid.contains(at)
        hu, body, view = (
            ndimage.map_coordinates(to_array(v), index, order=1, mode="nearest")
            for v in (scan.hu, scan.body, scan.view)
        )
        return np.where(inside, hu, to_array(scan.hu).min()), body * inside, view * inside

    f, body, f_view = seen(fixed, points)
    m, _, m_view = seen(moving, points + shift)
    weight = f_view * m_view
    x, y = f.clip(*CONTRAST_RANGE_HU), m.clip(*CONTRAST_RANGE_HU)
    correlation, share = np.zeros(box.shape), np.zeros(box.shape)
    for at in np.ndindex(*box.shape):
        window = np.ix_(
            *(np.arange(i - REACH, i + REACH + 1).clip(0, n - 1) for i, n in zip(at, box.shape, strict=True))
        )
        w = weight[window]
        share[at] = w.mean()
        if share[at] < 0.06:
            continue
        a, b = (v[window] - np.average(v[window], weights=w) for v in (x, y))
        covariance, *spread = (np.average(product, weights=w) for product in (a * b, a * a, b * b))
        correlation[at] = covariance / np.sqrt((spread[0] + NOISE_HU**2) * (spread[1] + NOISE_HU**2))
    return correlation, (body > 0.499) & (weight > 0.499) & (share > LEAST_COMMON)


@pytest.mark.parametrize("name", ["identity", "left-handed oblique", "permuted oblique"])
def test_it_is_the_correlation_in_windows_within_what_both_show(name: str) -> None:
    fixed = _scan(_around(grids()[name].direction, (4.0, 3.6, 4.4), (24, 28, 22)))
    turned = grids()[name].direction @ rotation(7, -11, 5)
    moving = _scan(_around(turned, (4.2, 4.0, 3.5), (22, 28, 26)), SHIFT, sign=-1.0)
    field, lattice = _nothing(fixed)
    along = np.broadcast_to(SHIFT - [2.0, 0.0, -3.0], (*lattice.shape, 3))
    affine = Affine(np.eye(3), np.array([2.0, 0.0, -3.0]))
    found, seen = local_correlation(fixed, moving, affine, field + from_lps(along, lattice), lattice)
    expected, marked = _written_out(fixed, moving, SHIFT)
    same = to_array(seen).astype(bool) & marked
    assert same.sum() > 0.98 * max(int(seen.sum()), int(marked.sum()))  # but for rounding at a half
    assert to_array(found)[same] == pytest.approx(expected[same], abs=0.02)
    whole = resemblance(fixed, moving, affine, field + from_lps(along, lattice), lattice)
    assert whole == pytest.approx(expected[marked].mean(), abs=0.01)
    assert expected[marked].std() > 0.1
    assert whole < -0.15  # one is the other's negative, but for the skin


def test_a_scan_resembles_itself_wherever_it_lies_and_noise_resembles_nothing() -> None:
    oblique = grids()["left-handed oblique"].direction
    fixed = _scan(_around(oblique, (4.0, 3.6, 4.4)))
    field, lattice = _nothing(fixed)
    assert resemblance(fixed, fixed, Affine.identity(), field, lattice) > 0.97  # but for the noise that is allowed for
    moving = _scan(_around(oblique @ rotation(3, 9, -8), (3.2, 4.0, 3.7), (36, 40, 44)), SHIFT)
    there = Affine(np.eye(3), SHIFT)
    assert resemblance(fixed, moving, there, field, lattice) > 0.8  # sampled at other places
    assert resemblance(fixed, moving, Affine.identity(), field, lattice) < 0.6
    other = _scan(_around(oblique, (4.0, 3.6, 4.4)), sign=-1.0)
    against = to_array(local_correlation(fixed, other, Affine.identity(), field, lattice)[0])
    deep = np.linalg.norm(fixed.box.points() - MIDDLE, axis=-1) < RADIUS_MM - 16.0  # the skin is the same in both
    assert against[deep].max() < -0.9
    rng = np.random.default_rng(0)
    noise = [_noise(fixed, rng) for _ in range(2)]
    by_chance = to_array(local_correlation(*noise, Affine.identity(), field, lattice)[0])[deep]
    assert abs(by_chance.mean()) < 0.02
    assert by_chance.std() > 0.05


def _noise(scan: Scan, rng: np.random.Generator) -> Scan:
    hu = torch.where(scan.body > 0.5, to_tensor(rng.normal(0, 100, scan.grid.shape)), scan.hu)
    return Scan(torch.stack([hu, scan.body, scan.view]), scan.features, scan.grid, scan.box, scan.grid, False)


def test_scans_that_show_nothing_in_common_resemble_each_other_by_nothing() -> None:
    fixed = _scan(_around(np.eye(3), (4.0, 3.6, 4.4)))
    field, lattice = _nothing(fixed)
    assert resemblance(fixed, fixed, Affine(np.eye(3), np.array([900.0, 0, 0])), field, lattice) == 0.0


def test_where_a_view_ends_the_correlation_stays_one() -> None:
    """Voxels partly in view have part of the weight, in a lung as well, whose values are far from zero."""
    scan = _scan(_around(grids()["oblique"].direction, (4.0, 3.6, 4.4)))
    inner = scan.body > 0.5
    hu = torch.where(inner, scan.hu - 870.0, scan.hu)
    share = torch.rand(scan.grid.shape, generator=torch.Generator().manual_seed(2))
    lung = Scan(torch.stack([hu, scan.body, share]), scan.features, scan.grid, scan.box, scan.grid, False)
    field, lattice = _nothing(lung)
    found, seen = local_correlation(lung, lung, Affine.identity(), field, lattice)
    assert 0.02 < float(seen.float().mean()) < 0.6
    assert float(found[seen].max()) <= 1.001
    assert float(found[seen].min()) > 0.9
