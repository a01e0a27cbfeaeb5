"""Images of more than three axes that hold one volume. torch-free."""

from __future__ import annotations

import SimpleITK as sitk


def one_frame(image: sitk.Image) -> sitk.Image:
    """Take the only volume out of an image whose axes from the fourth on are one voxel long; others as they are."""
    size = image.GetSize()
    if len(size) <= 3 or any(n > 1 for n in size[3:]):
        return image
    take = sitk.ExtractImageFilter()
    take.SetSize([*size[:3], *[0] * (len(size) - 3)])
    take.SetDirectionCollapseToStrategy(take.DIRECTIONCOLLAPSETOSUBMATRIX)
    return take.Execute(image)
