"""Learned features of 2-D images: where they lie, and what they add to the matching."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor

from helpers.planes import empty, painted, points_of, texture
from pddnet.core.affine import Affine
from pddnet.core.plane import Plane
from pddnet.features.label_table import NUMBER, STRUCTURES
from pddnet.features.plane_net import PlaneNet
from pddnet.features.semantic_codes import class_embedding
from pddnet.matching.plane import register_planes
from pddnet.matching.plane_likeness import likeness
from pddnet.matching.plane_scan import CODE_STRENGTH, MIND_IN_PLANE, PlanePair, PlaneScan, lattice_over, scaled
from pddnet.tensor.convert import own_random_numbers, to_array

LIVER = NUMBER["liver"]
IMAGE = empty((120, 100), 1.7, (-60.0, 80.0), degrees=-23)  # pixels of 1.7 x 1.87 mm
UNITS = 1.5  # per mm


class Bright(PlaneNet):
    """Names the liver where the value is above 0.5, the more surely the brighter."""

    def forward(self, x: Tensor) -> Tensor:
        logits = x.new_full((len(x), len(STRUCTURES), *x.shape[2:]), -100.0)
        logits[:, 0] = 0.0
        logits[:, LIVER] = 4 * x[:, 0]
        return logits


def _waves(points: np.ndarray) -> np.ndarray:
    """A smooth value between 0 and 1 at points (..., 2) mm."""
    x, y = np.moveaxis(points, -1, 0)
    return 0.5 + 0.25 * np.sin(x / 19) + 0.25 * np.cos(y / 23 + 0.4)


def _image() -> sitk.Image:
    image = sitk.GetImageFromArray(_waves(points_of(IMAGE)).astype(np.float32))
    image.CopyInformation(IMAGE)
    return image


def test_codes_are_sampled_where_the_map_leads_in_a_turned_image() -> None:
    plane = Plane.from_sitk(_image())
    scan = PlaneScan.of(plane.image, UNITS, Bright(8))
    matrix = np.eye(3)
    matrix[:2, :2] = [[0.95, -0.2], [0.15, 1.05]]
    middle = scan.grid.centre
    affine = Affine(matrix, middle - matrix @ middle + [3.0, -2.0, 0.0])
    lattice = lattice_over(scaled(plane.grid, 0.6 * UNITS), 5.0)
    lattice = type(lattice)(lattice.shape, lattice.spacing, lattice.origin + middle - lattice.centre, lattice.direction)
    _, view, found = scan.warped(lattice, affine, None)
    assert view.all()
    at_mm = affine.points(lattice.points())[..., :2] / UNITS
    low, high = np.quantile(_waves(points_of(IMAGE)), (0.01, 0.99))
    share = 1 / (1 + np.exp(-4 * (2 * (_waves(at_mm) - low) / (high - low) - 1)))
    expected = CODE_STRENGTH * class_embedding()[LIVER][:, None, None, None] * share
    assert np.abs(to_array(found) - expected).max() < 0.05 * CODE_STRENGTH


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("flips", [(True, False), (False, True), (True, True)])
def test_codes_do_not_depend_on_how_the_pixels_are_stored(flips: tuple[bool, bool], order: tuple[int, int]) -> None:
    with own_random_numbers(1):
        net = PlaneNet(8).eval()
    image = _image()
    stored = sitk.PermuteAxes(sitk.Flip(image, flips, False), order)  # the content stays where it is
    point = image.TransformIndexToPhysicalPoint((20, 30))
    assert stored.EvaluateAtPhysicalPoint(point) == pytest.approx(image.EvaluateAtPhysicalPoint(point), abs=1e-6)
    found = []
    for each in (image, stored):
        plane = Plane.from_sitk(each)
        lattice = lattice_over(scaled(Plane.from_sitk(image).grid, UNITS), 7.0)
        found.append(PlaneScan.of(plane.image, UNITS, net).warped(lattice, Affine.identity(), None)[2])
    assert found[0].abs().max() > 0.01
    assert torch.allclose(*found, atol=1e-3)


def test_without_a_network_there_are_no_codes_and_with_one_they_follow_mind() -> None:
    plane = Plane.from_sitk(_image())
    lattice = lattice_over(scaled(plane.grid, UNITS), 3.2, whole=2)
    channels, similar = [], []
    for net in (None, Bright(8)):
        scans = (PlaneScan.of(plane.image, UNITS, net),) * 2
        pair = PlanePair.of(scans, lattice, Affine(np.eye(3), np.array([4.0, 3.0, 0.0])), 2)
        channels.append(pair.maps[0].features)
        similar.append(likeness(pair).correlation)
    assert [len(each) for each in channels] == [MIND_IN_PLANE, MIND_IN_PLANE + class_embedding().shape[1]]
    assert torch.equal(channels[0], channels[1][:MIND_IN_PLANE])
    assert similar[0] == similar[1] < 0.95  # which the verdict and every choice between two maps are made by


def test_a_network_tells_apart_what_looks_the_same() -> None:
    """Two images of other textures: only brightness, in which the network sees an organ, says how they correspond."""
    like, shift = empty((110, 96), 1.5, (-70.0, -60.0), degrees=12), np.array([9.0, -7.0])
    images = []
    for seed, moved in ((1, shift), (2, 0 * shift)):
        image = painted(like, texture(seed, grain=1.5))
        away = np.linalg.norm((points_of(like) + moved - [12.0, 5.0]) / [1.3, 0.8], axis=-1)
        organ = sitk.GetImageFromArray((6 / (1 + np.exp((away - 30) / 8))).astype(np.float32))
        organ.CopyInformation(image)
        images.append(Plane.from_sitk(image + organ))
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.stack([1.3 * np.cos(turns), 0.8 * np.sin(turns)], -1) * 30 + [12.0, 5.0] - shift
    away_mm = []
    for net in (None, Bright(8)):
        transform = register_planes(*images, net=net, align=False).to_sitk()
        moved = np.array([transform.TransformPoint(point) for point in outline.tolist()])
        away_mm.append(np.linalg.norm((moved - [12.0, 5.0]) / [1.3, 0.8], axis=-1) - 30)
    assert np.abs(away_mm[1]).mean() < 0.9 * np.abs(away_mm[0]).mean()
