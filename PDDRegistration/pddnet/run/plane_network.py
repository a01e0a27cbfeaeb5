"""Choose the network that names structures in two 2-D images, where it knows what they show (`network_weights`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.intensity import is_ct
from ..core.plane import Plane
from ..core.slice_frame import SliceFrame
from ..io.weights_file import FOLDER, PLANE_NETWORK

LEAST_COSINE = 0.86  # of the angle between the axes of an axial slice and those of the patient: 30 degrees


def network_weights(fixed: Plane, moving: Plane, own: Path | None = None) -> Path | None:
    """Return the user's own weights; without, the bundled ones if both images are axial slices of a CT, else None.

    An image that is 2-D by itself may lie in any plane: it does not count as axial.
    """
    if own is not None:
        return own
    known = all(_is_axial(each) and is_ct(each.image) for each in (fixed, moving))
    return FOLDER / PLANE_NETWORK if known else None


def _is_axial(plane: Plane) -> bool:
    """Tell whether the coordinates of a slice run to the patient's left and back, and its pixels along them."""
    if plane.volume is None:
        return False
    both = SliceFrame.of(plane.volume).axes, plane.image.canonical().grid.direction
    return all(bool((np.diag(axes)[:2] > LEAST_COSINE).all()) for axes in both)
