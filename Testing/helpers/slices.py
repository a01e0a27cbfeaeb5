"""Pairs of single slices in space, oblique, anisotropic and flipped, whose correspondence is known by formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from helpers.geometry import rotation
from helpers.planes import texture
from pddnet.core.grid import Grid
from pddnet.core.image import Image

MIDDLE = np.array([31.0, -72.0, 115.0])  # LPS mm
OBLIQUE = rotation(13, -21, 34)
DISKS = (((9.0, -6.0), 22.0), ((-30.0, 20.0), 12.0))  # labels 1 and 2 in the moving slice: middle and radius, mm


@dataclass(frozen=True)
class Place:
    """A plane of space: its axes a, b and normal n as columns, and the point with the coordinates (0, 0)."""

    axes: np.ndarray
    middle: np.ndarray

    def points(self, xy: np.ndarray) -> np.ndarray:
        """(..., 3) LPS mm of coordinates (..., 2)."""
        return self.middle + xy @ self.axes[:, :2].T

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) of points near the plane."""
        return (points - self.middle) @ self.axes[:, :2]

    def grid(self, size: tuple[int, int], spacing: tuple[float, float, float], degrees: float, flip: int = 1) -> Grid:
        """One slice of (columns, rows), turned in the plane; flip -1: the rows run the other way, left-handed."""
        direction = self.axes @ rotation(0, 0, degrees) @ np.diag([1.0, flip, 1.0])
        half = (np.array([*size, 1]) - 1) / 2 * spacing
        return Grid((1, size[1], size[0]), spacing, self.middle - direction @ half, direction)


AXIAL = Place(np.eye(3), MIDDLE)
FIXED_PLACE = Place(OBLIQUE, MIDDLE)
OTHER_PLACE = Place(rotation(8, 6, 0) @ OBLIQUE, MIDDLE + 31.0 * OBLIQUE[:, 2])  # tilted, and another slice


def waves(xy: np.ndarray) -> np.ndarray:
    """The true map of coordinates: a shift, and waves of 3 mm that differ along x and y."""
    x, y = xy[..., 0], xy[..., 1]
    return xy + 3 * np.stack([np.sin(y / 19 + 0.3), np.cos(x / 23 - 0.8)], -1) + [5.0, -4.0]


@dataclass(frozen=True)
class SlicePair:
    """Two slices with a texture and two disks each, and the true map of fixed to moving points."""

    fixed: Image
    moving: Image
    fixed_labels: Image
    moving_labels: Image
    places: tuple[Place, Place]

    def truth(self, points: np.ndarray) -> np.ndarray:
        """Where points (..., 3) of the fixed slice lie in the moving one, LPS mm."""
        return self.places[1].points(waves(self.places[0].coordinates(points)))

    def inner(self, count: int = 60) -> np.ndarray:
        """(count, 3) LPS mm: points well within the fixed slice."""
        columns, rows, _ = self.fixed.grid.size
        return self.fixed.grid.index_to_point(
            np.random.default_rng(4).uniform([12, 12, 0], [columns - 13, rows - 13, 0], (count, 3))
        )


def cine_map(frame: int, reference: int) -> Callable[[np.ndarray], np.ndarray]:
    """The map of coordinates from the reference to a frame of a cine: what moves goes on from frame to frame."""
    steps = frame - reference
    return lambda xy: xy + steps * (np.array([1.6, -1.1]) + np.sin(xy[..., ::-1] / [17.0, 22.0]))


def cine(count: int, reference: int, place: Place = FIXED_PLACE) -> list[Image]:
    """Frames of a texture that moves, 2-D + t, as single slices of a plane; the rows of every other one run back."""
    frames = []
    for frame in range(count):
        flip = 1 if frame % 2 else -1
        grid = place.grid((100, 88), (1.5, 1.7, 4.0), 12, flip)
        frames.append(Image(_painted(_before(cine_map(frame, reference), place.coordinates(grid.points())), 3), grid))
    return frames


def _before(there: Callable[[np.ndarray], np.ndarray], xy: np.ndarray) -> np.ndarray:
    """Where the map takes to xy: by fixed-point steps, which converge for these small slopes."""
    at = xy.copy()
    for _ in range(40):
        at = at - (there(at) - xy)
    return at


def slice_pair(fixed: Place = FIXED_PLACE, moving: Place = FIXED_PLACE, seed: int = 1) -> SlicePair:
    """Slices of two planes, each with pixels of its own."""
    grids = fixed.grid((110, 96), (1.5, 1.65, 4.0), 12, flip=-1), moving.grid((140, 128), (1.4, 1.5, 3.0), -7)
    there = waves(fixed.coordinates(grids[0].points())), moving.coordinates(grids[1].points())
    images = [Image(_painted(xy, seed), grid) for xy, grid in zip(there, grids, strict=True)]
    labels = [Image(_disks(xy), grid) for xy, grid in zip(there, grids, strict=True)]
    return SlicePair(*images, *labels, (fixed, moving))


def _painted(xy: np.ndarray, seed: int) -> np.ndarray:
    pattern = texture(seed)
    at = xy[..., ::-1] + (np.array(pattern.shape) - 1) / 2
    values = ndimage.map_coordinates(pattern, np.moveaxis(at, -1, 0), order=3, mode="nearest")
    return np.rint(200 * values).astype(np.int16)


def _disks(xy: np.ndarray) -> np.ndarray:
    labels = np.zeros(xy.shape[:-1], np.uint8)
    for label, (middle, radius_mm) in enumerate(DISKS, 1):
        labels[np.linalg.norm(xy - middle, axis=-1) < radius_mm] = label
    return labels
