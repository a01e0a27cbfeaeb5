"""The small picture of a registration shows three planes side by side, as the large one does."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from helpers import samples
from pddnet.page.pictures import Subject, overlay
from pddnet.page.planes import VIEWS
from pddnet.page.png import png
from pddnet.page.preview import GAP, PIXEL_MM, preview


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Two oblique scans, the moving one flipped, and the true shift."""
    fixed, moving = samples.small_pair()
    found = samples.fake_register()(fixed, moving)
    return Subject(fixed, moving, found.to_sitk(), found.field)


def _decoded(content: bytes) -> np.ndarray:
    return np.asarray(Pillow.open(io.BytesIO(content)), np.float64) / 255.0


def test_a_picture_comes_back_from_the_file() -> None:
    picture = np.random.default_rng(0).uniform(0, 1, (7, 5, 3))
    assert np.abs(_decoded(png(picture)) - picture).max() < 0.003
    assert _decoded(png(np.array([[[-1.0, 0.5, 2.0]]]))).round(1).tolist() == [[[0.0, 0.5, 1.0]]]


def test_the_planes_stand_side_by_side_in_their_order(subject: Subject) -> None:
    shown = _decoded(preview(subject))
    left = 0
    for view in VIEWS:
        plane = np.clip(overlay(subject, subject.fixed_plane(view, PIXEL_MM), subject.transform), 0, 1)
        rows, columns, _ = plane.shape
        above = (len(shown) - rows) // 2
        assert np.abs(shown[above : above + rows, left : left + columns] - plane).max() < 0.003
        left += columns + GAP
    assert shown.shape[1] == left - GAP


def test_what_agrees_is_grey(subject: Subject) -> None:
    where = subject.fixed_plane("axial", PIXEL_MM)

    def colour(transform: object) -> float:
        picture = overlay(subject, where, transform)
        return float(np.abs(picture[..., 0] - picture[..., 2]).mean())

    assert colour(subject.transform) < 0.6 * colour(None)
