"""Draw the anatomy of one virtual patient from a seed: everything that does not depend on the scan (`Body`).

All anatomy is defined once, in a common frame: mm along LPS axes, the centre of the L2 vertebral body at zero. A
patient differs from it in two ways: by numbers (fat, breathing, the place and size of each organ) and by a smooth map
between the common frame and the patient's position on the scanner's table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

# Heights z (mm, common frame) of the rows below, from the pelvis to the chest.
HEIGHTS = (-260, -230, -180, -140, -100, -50, 0, 50, 100, 150, 200, 260)
# The outside of the muscles: half width, front and back of the cross-section.
MUSCLE_WIDTH = (160, 160, 157, 149, 141, 135, 135, 139, 144, 146, 143, 136)
MUSCLE_FRONT = (-86, -88, -90, -93, -97, -103, -108, -115, -122, -120, -110, -92)
MUSCLE_BACK = (98, 102, 106, 98, 84, 77, 78, 84, 92, 97, 100, 102)
# The cavity (abdomen and chest) inside the wall.
CAVITY_WIDTH = (50, 54, 66, 88, 112, 121, 122, 126, 130, 130, 124, 108)
CAVITY_FRONT = (-72, -76, -80, -82, -86, -92, -97, -102, -106, -103, -93, -74)
CAVITY_BACK = (55, 55, 54, 48, 36, 33, 37, 46, 60, 71, 76, 76)
# How far an adipose belly reaches forward, and how thick the fat under the skin is, relative to the patient's numbers.
BELLY = (0.1, 0.15, 0.4, 0.7, 0.9, 1.0, 1.0, 0.8, 0.45, 0.15, 0, 0)
FAT = (1.35, 1.35, 1.3, 1.2, 1.1, 1.0, 1.0, 0.9, 0.75, 0.6, 0.55, 0.55)

# Organs that have a place of their own: centre (mm), random shift (mm, x y z), how far they follow the diaphragm.
ORGANS: dict[str, tuple[tuple[float, ...], tuple[float, ...], float]] = {
    "liver": ((-70, -40, 80), (7, 5, 9), 0.9),
    "spleen": ((92, 22, 100), (4, 6, 8), 0.9),
    "right_kidney": ((-68, 1, 8), (6, 5, 11), 0.5),
    "left_kidney": ((70, 4, 20), (6, 5, 11), 0.5),
    "stomach": ((45, -45, 85), (7, 6, 9), 0.8),
    "pancreas": ((20, -48, 32), (5, 4, 8), 0.4),
    "gallbladder": ((-50, -72, 42), (8, 5, 7), 0.8),
    "vessels": ((0, -25, 0), (3, 2, 0), 0.0),
    "colon": ((0, -40, -40), (6, 5, 8), 0.2),
    "bladder": ((0, -42, -208), (4, 4, 3), 0.0),
    "heart": ((18, -45, 190), (6, 5, 4), 0.9),
    "psoas": ((0, -10, -60), (3, 3, 6), 0.0),
}


@dataclass(frozen=True)
class Placement:
    """Position, rotation and size of an organ in one patient: p = centre + shift + axes @ (q - centre), mm, common
    frame."""

    centre: np.ndarray
    shift: np.ndarray
    axes: np.ndarray  # (3, 3): rotation and scale

    @property
    def scale(self) -> float:
        """Return the mean factor by which lengths differ from the template's."""
        return float(np.cbrt(np.linalg.det(self.axes)))

    def place(self, points: np.ndarray) -> np.ndarray:
        """Map template points (..., 3) to this patient's, both in the common frame, mm."""
        return (np.asarray(points, float) - self.centre) @ self.axes.T + self.centre + self.shift

    def template(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
        """Map the patient's coordinates (each any shape, mm) back to the template's x, y, z."""
        inverse = np.linalg.inv(self.axes).astype(np.float32)
        px, py, pz = (v - np.float32(o) for v, o in zip((x, y, z), self.centre + self.shift, strict=True))
        return [
            row[0] * px + row[1] * py + row[2] * pz + np.float32(c) for row, c in zip(inverse, self.centre, strict=True)
        ]


def rotation(degrees: np.ndarray) -> np.ndarray:
    """Return the (3, 3) rotation about x, then y, then z by the given angles."""
    result = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn, (a, b) = np.eye(3), [i for i in range(3) if i != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        result = turn @ result
    return result


class Body:
    """Numbers of one patient, drawn from the seed, and the map between the common frame and LPS mm on the table."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 2024])
        self.seed = seed
        heavy = rng.beta(1.6, 2.2)  # habitus: 0 lean, 1 obese
        self.fat = 6 + 34 * heavy + rng.uniform(-2, 3)  # mm under the skin of the abdomen
        self.belly = 62 * heavy * rng.uniform(0.6, 1.1) - 4  # mm forward
        self.breath = rng.uniform(-19, 15)  # mm: height of the diaphragm
        self.bladder = rng.uniform(0.65, 1.15)  # how full: factor on its radius
        self.gas = rng.uniform(0.1, 0.9)  # how much gas the bowel holds
        self.contrast = bool(rng.random() < 0.5)  # portal venous phase, or native
        self.liver = rng.uniform(-1, 1, 4)  # shape: slope, left lobe, tip, back
        self.phase = rng.uniform(0, 2 * np.pi, 6)  # of whatever repeats: haustra, bowel loops
        size = 1.03 + 0.03 * np.clip(rng.standard_normal(), -2, 2)
        self._size = size * (1 + rng.uniform(-0.04, 0.04, 3) + np.array([0.03, 0.03, 0]) * (heavy - 0.4))
        self._turn = rotation(rng.uniform(-4, 4, 3))
        self._origin = np.concatenate([rng.uniform(-25, 25, 2) - [0, 60], rng.uniform(-500, 300, 1)])
        self._pose = rng.uniform(-1, 1, 4) * [12, 10, 9, 9]
        self._waves = _draw_waves(rng)
        self.organs = {name: _draw_placement(rng, *row, self.breath) for name, row in ORGANS.items()}
        self._profiles = {
            name: PchipInterpolator(HEIGHTS, row) for name, row in _profiles(self.belly, self.fat).items()
        }

    def profile(self, name: str, z: npt.ArrayLike) -> np.ndarray:
        """Return one parameter of the cross-section's shape (mm) at heights z (any shape) of the common frame."""
        return self._profiles[name](np.clip(z, HEIGHTS[0], HEIGHTS[-1]))

    def _bend(self, points: np.ndarray) -> np.ndarray:
        """Compute the displacement (..., 3) in mm of the smooth deformation at (..., 3) in mm: posture, then waves."""
        z = points[..., 2] / 200
        sway = self._pose[0] * z**2 + self._pose[1] * np.sin(np.pi * z)
        lean = self._pose[2] * np.sin(0.9 * np.pi * z) + self._pose[3] * z
        vectors, phases, amplitudes = self._waves
        bend = np.sin(points @ vectors.T + phases) @ amplitudes
        bend[..., 0] += lean
        bend[..., 1] += sway
        return bend

    def to_common(self, points: np.ndarray) -> np.ndarray:
        """Map LPS mm on the table (..., 3) to the common frame (..., 3), mm."""
        straight = (np.asarray(points, float) - self._origin) @ self._turn / self._size
        return straight + self._bend(straight)

    def to_table(self, points: np.ndarray) -> np.ndarray:
        """Map the common frame (..., 3), mm, to LPS mm on the table: the inverse of `to_common`, by iteration."""
        points = np.asarray(points, float)
        straight = points
        for _ in range(30):
            straight = points - self._bend(straight)
        return straight * self._size @ self._turn.T + self._origin

    def cross_section(self, name: str, points: np.ndarray) -> np.ndarray:
        """Compute the signed distance (...) in mm, along the ray from the axis, to the surface of "muscle", "cavity" or
        "skin".

        points (..., 3) in the common frame; negative inside. The sections are superellipses.
        """
        x, y, z = np.moveaxis(points, -1, 0)
        wall = "muscle" if name == "skin" else name
        width, front, back = (self.profile(f"{wall}_{side}", z) for side in ("width", "front", "back"))
        y = y - (front + back) / 2
        reach = (np.abs(x) / width) ** 2.4 + (2 * np.abs(y) / (back - front)) ** 2.4
        distance = np.hypot(x, y) * (1 - np.maximum(reach, 1e-3) ** (-1 / 2.4))
        if name == "skin":
            side = np.abs(x) / np.maximum(np.hypot(x, y), 1)
            distance = distance - self.profile("fat", z) * (1 - 0.25 * side - 0.15 * (y > 0) * (1 - side))
        return distance

    def diaphragm(self, points: np.ndarray) -> np.ndarray:
        """Compute the height (...) in mm of points (..., 3) above the diaphragm, in the common frame; negative in the
        abdomen."""
        x, y, z = np.moveaxis(points, -1, 0)
        reach = (np.abs(x) / 130) ** 2.4 + (np.abs(y + 18) / 92) ** 2.4
        top = 162 + self.breath - 6 * np.tanh(x / 40) - 13 * np.exp(-((x - 8) ** 2) / 900)
        drop = 72 + 42 * np.tanh((y + 20) / 60)
        return z - (top - drop * np.minimum(reach, 1.5) ** 1.7)


def _profiles(belly: float, fat: float) -> dict[str, np.ndarray]:
    """Return the parameters of the cross-section's shape for one habitus (mm)."""
    forward = belly * np.array(BELLY)
    return {
        "muscle_width": np.array(MUSCLE_WIDTH) + 0.45 * forward,
        "muscle_front": np.array(MUSCLE_FRONT) - forward,
        "muscle_back": np.array(MUSCLE_BACK, float),
        "cavity_width": np.array(CAVITY_WIDTH) + 0.45 * forward,
        "cavity_front": np.array(CAVITY_FRONT) - forward,
        "cavity_back": np.array(CAVITY_BACK, float),
        "fat": fat * np.array(FAT),
    }


def _draw_waves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw wave vectors (N, 3) per mm, phases (N,) and amplitudes (N, 3) in mm: long waves, and small short ones."""
    count = 20
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = np.where(np.arange(count) < 10, rng.uniform(220, 420, count), rng.uniform(100, 170, count))
    amplitude = rng.standard_normal((count, 3)) * np.where(np.arange(count) < 10, 1.9, 0.45)[:, None]
    return direction * (2 * np.pi / length)[:, None], rng.uniform(0, 2 * np.pi, count), amplitude


def _draw_placement(
    rng: np.random.Generator, centre: tuple[float, ...], deviation: tuple[float, ...], follows: float, breath: float
) -> Placement:
    """Draw an organ's shift, rotation and size; `follows`: the fraction of the diaphragm's movement that it follows."""
    shift = np.clip(rng.standard_normal(3), -1.8, 1.8) * deviation + [0, 0, follows * breath]
    scale = np.exp(np.clip(rng.standard_normal(), -2, 2) * 0.045 + rng.uniform(-0.05, 0.05, 3))
    return Placement(np.array(centre, float), shift, rotation(rng.uniform(-7, 7, 3)) * scale)
