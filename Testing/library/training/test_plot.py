"""The picture of a training: what its curves show."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from pddnet.training.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, course

SVG = "{http://www.w3.org/2000/svg}"


def _curves(text: str) -> list[list[tuple[float, float]]]:
    lines = ElementTree.fromstring(text).iter(f"{SVG}polyline")
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in lines]


def test_curves_run_from_corner_to_corner() -> None:
    found = _curves(course({"loss": [(0, 0.0), (50, 1.0), (100, 4.0)], "dice": [(100, 2.0)]}, "t"))
    floor, ceiling = HEIGHT - BOTTOM, TOP
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert found[0] == [(LEFT, floor), (middle, floor - (floor - ceiling) / 4), (WIDTH - RIGHT, ceiling)]
    assert found[1] == [(WIDTH - RIGHT, (floor + ceiling) / 2)]


def test_values_that_are_no_numbers_and_empty_curves_are_left_out() -> None:
    found = course({"a": [(1, math.nan), (2, 1.0), (3, math.inf)], "b": [(1, math.nan)], "c": []}, "x < y & z")
    assert [len(curve) for curve in _curves(found)] == [1]
    texts = [element.text for element in ElementTree.fromstring(found).iter(f"{SVG}text")]
    assert texts[0] == "x < y & z"
    assert "a" in texts and "b" not in texts


@pytest.mark.parametrize("curves", [{}, {"loss": []}, {"loss": [(0, 0.0)]}, {"loss": [(1, -2.0)]}])
def test_hardly_anything_to_show(curves: dict) -> None:
    ElementTree.fromstring(course(curves, "t"))
