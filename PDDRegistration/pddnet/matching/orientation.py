"""Tell whether a scan's content lies as its header says: not mirrored, prone, upside down or on its side.

The network that names structures has seen patients that lie as their headers say. It is surest of a scan that does:
mirrored or turned, it names less, and less surely. So a scan of which it is not sure is shown to it mirrored, because
nothing else tells a mirror image: people are nearly symmetric, and it registers well. Turned content registers badly;
only then all orientations are tried. The one that the network is surest of is the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..core.affine import Affine
from ..core.image import Image
from ..core.presets import Preset
from ..core.structures import StructureMap
from ..core.turn import about, turned_image
from ..features import semantic_net
from ..features.semantic_codes import with_semantic_codes
from ..tensor.execution import Work
from ..tensor.scan import prepare
from .patient_sides import heart_lies_right

# Chosen on 14 whole scans and 17 crops: of whole scans the network names at least 2 % less when they are mirrored, of
# crops up to 9 % more.
LEAST_ML = 5000.0  # named; of less, it cannot tell
SURE = 0.86  # mean probability of what is named: with more, no other orientation is tried
MIRRORED_GAIN = 1.03  # factor on what the network is sure of, for a scan to count as mirrored
# Likewise where the heart lies on the right: in six crops of the chest that hold no abdomen the network is surer of the
# scan as it was filed by 0.4 to 2.8 % only, but the heart's centroid lies 13 to 34 mm left, and right in their mirror.
HEART_RIGHT_GAIN = 1.0
TURNED_GAIN = 1.15  # likewise as turned, which the registration then undoes


@dataclass(frozen=True)
class Orientation:
    """How a scan's content lies: the orthogonal matrix (3, 3), in LPS, that brings it to where the header says."""

    matrix: np.ndarray
    words: str  # what is wrong with it, for people; empty where nothing is

    @property
    def mirrored(self) -> bool:
        """Whether the content is a mirror image."""
        return float(np.linalg.det(self.matrix)) < 0

    @property
    def turned(self) -> bool:
        """Whether the content is turned, and not mirrored."""
        return bool(self.words) and not self.mirrored

    def turn(self, image: Image) -> Affine:
        """Return the map of points, LPS mm, that turns an image about its middle; the identity if it is not turned."""
        return about(image.grid.centre, self.matrix) if self.turned else Affine.identity()


AS_STATED = Orientation(np.eye(3), "")
_QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
TURNED = (
    Orientation(np.diag([-1.0, -1.0, 1.0]), "turned by 180 degrees about the head-foot axis, prone for supine"),
    Orientation(np.diag([1.0, -1.0, -1.0]), "turned by 180 degrees about the left-right axis, head for foot"),
    Orientation(np.diag([-1.0, 1.0, -1.0]), "turned by 180 degrees about the front-back axis, head for foot"),
    Orientation(_QUARTER, "turned by 90 degrees about the head-foot axis, on its side"),
    Orientation(_QUARTER.T, "turned by 90 degrees about the head-foot axis, on its side"),
)
MIRRORED = (
    Orientation(np.diag([-1.0, 1.0, 1.0]), "mirrored, left for right"),
    Orientation(np.diag([1.0, -1.0, 1.0]), "mirrored, front for back"),
    Orientation(np.diag([1.0, 1.0, -1.0]), "mirrored, head for foot"),
    Orientation(-np.eye(3), "mirrored along all axes"),
)


FindOrientation = Callable[[Image, float, Callable[[Image], float], float], Orientation]
"""Finds how the content of an image lies, as `find_orientation` does."""


def is_in_doubt(named: StructureMap) -> bool:
    """Return whether the network is not sure of the much that it names, or finds the heart on the right."""
    where = named.numbers.array > 0
    enough = float(where.sum()) * float(np.prod(named.numbers.grid.spacing)) / 1000.0 >= LEAST_ML
    unsure = enough and float(named.certainty[where].mean(dtype=np.float64)) < SURE
    return unsure or heart_lies_right(named.numbers)


def mirrored_gain(named: StructureMap) -> float:
    """Return the factor by which the network must be surer of the mirrored scan than of the one as stated."""
    return HEART_RIGHT_GAIN if heart_lies_right(named.numbers) else MIRRORED_GAIN


def find_mirrored(
    image: Image, as_stated_ml: float, named_ml_of: Callable[[Image], float], gain: float = MIRRORED_GAIN
) -> Orientation:
    """Find whether the network is surer of the scan with left and right exchanged; arguments as `find_orientation`."""
    return _surest(image, as_stated_ml, named_ml_of, gain, MIRRORED[:1])


def find_orientation(
    image: Image, as_stated_ml: float, named_ml_of: Callable[[Image], float], gain: float = MIRRORED_GAIN
) -> Orientation:
    """Find the orientation of which the network is surest.

    Args:
        as_stated_ml: how much the network names of the image as it is, and how surely.
        named_ml_of: measures the same of an image, such as `sure_ml`.
        gain: see `mirrored_gain`.
    """
    return _surest(image, as_stated_ml, named_ml_of, gain, (*TURNED, *MIRRORED))


def _surest(
    image: Image, as_stated_ml: float, named_ml_of: Callable[[Image], float], gain: float,
    others: tuple[Orientation, ...],
) -> Orientation:  # fmt: skip
    """Return the one of the others of which the network is surest, if it is enough surer than of the scan as stated."""
    found = [named_ml_of(turned_image(image, about(image.grid.centre, each.matrix))) for each in others]
    best = int(np.argmax(found))
    least = gain if others[best].mirrored else TURNED_GAIN
    return others[best] if found[best] > least * as_stated_ml else AS_STATED


def sure_ml(image: Image, weights: Path | None, preset: Preset, device: torch.device, work: Work) -> float:
    """Name the structures of a CT scan as in a run; sum what is named in ml, every voxel by its probability.

    Args:
        weights: of the network; None: the bundled ones.
    """
    net = semantic_net.load(weights or semantic_net.BUNDLED_WEIGHTS, device)
    scan = prepare(image, preset.working_spacing_mm, device, tick=work.tick)
    named = with_semantic_codes(scan, net, 1.0, preset.network_spacings_mm[-1:], work).named
    assert named is not None  # it has just been named
    return named.sure_ml
