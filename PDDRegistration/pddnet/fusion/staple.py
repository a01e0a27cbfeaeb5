"""STAPLE, the usual baseline: how often each atlas is right is estimated together with the labels.

Rohlfing, Russakoff, Maurer 2004, doi:10.1109/TMI.2004.830803, as SimpleITK has it. It sees labels only, no scans.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage


def staple(labels: np.ndarray) -> np.ndarray:
    """Fuse labels (N, D, H, W) of unsigned integers by multi-label STAPLE: (D, H, W); undecided voxels become 0."""
    fused = np.zeros_like(labels[0])
    boxes = ndimage.find_objects((labels > 0).any(0).astype(np.uint8))
    if not boxes:
        return fused
    box = tuple(slice(max(along.start - 1, 0), along.stop + 1) for along in boxes[0])  # with some background
    names, numbers = np.unique(labels[(slice(None), *box)], return_inverse=True)
    parts = numbers.reshape(len(labels), *fused[box].shape).astype(np.uint16)  # few numbers: small confusion matrices
    merge = sitk.MultiLabelSTAPLEImageFilter()
    merge.SetLabelForUndecidedPixels(len(names))
    found = sitk.GetArrayFromImage(merge.Execute([sitk.GetImageFromArray(part) for part in parts]))
    fused[box] = np.append(names, 0)[found]
    return fused
