"""Take composite transforms of ITK apart (`leaves`)."""

from __future__ import annotations

import SimpleITK as sitk


def leaves(transform: sitk.Transform) -> list[sitk.Transform]:
    """List the transforms that a composite one is made of, the first that is applied last; of any other one itself.

    SimpleITK shows kinds that it does not know, such as MatrixOffsetTransformBase, as composites that hold themselves,
    so a leaf may be called a composite, too.
    """
    if transform.GetName() != "CompositeTransform":
        return [transform]
    flat = sitk.CompositeTransform(transform)
    flat.FlattenTransform()
    return [flat.GetNthTransform(number) for number in range(flat.GetNumberOfTransforms())]
