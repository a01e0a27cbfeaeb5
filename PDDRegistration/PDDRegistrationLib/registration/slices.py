"""Check the choice for single slices (2-D images), which are registered in their plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.core.intensity import AUTO
from pddnet.core.linear import DEFORMABLE
from pddnet.errors import InputError

from ..scene.volumes import isSingleSlice


def areSlices(fixedVolume: slicer.vtkMRMLScalarVolumeNode, movingVolume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Return whether both volumes are single slices, or neither.

    Raises:
        InputError: one of them is.
    """
    flat = [isSingleSlice(volume) for volume in (fixedVolume, movingVolume)]
    if flat[0] != flat[1]:
        one, other = (fixedVolume, movingVolume) if flat[0] else (movingVolume, fixedVolume)
        text = _("{slice} is a single slice, and {volume} is none; choose two slices, or two volumes.")
        raise InputError(text.format(slice=one.GetName(), volume=other.GetName()))
    return flat[0]


def refuseForSlices(transformType: str, intensity: str, adjust: Mapping[str, Any], others: Mapping[str, bool]) -> None:
    """Raise InputError where something was chosen that is for volumes only; others: whether it was, by its name."""
    chosen = {
        _("Transform {kind}").format(kind=transformType): transformType != DEFORMABLE,
        _("Intensity"): intensity != AUTO,
        _("Advanced"): bool(adjust),
        **others,
    }
    names = ", ".join(name for name, given in chosen.items() if given)
    if names:
        text = _("{names}: only for volumes, and these are single slices; leave it out, or set it back.")
        raise InputError(text.format(names=names))
