"""2-D images whose correspondence is known by formula: blobs of a random texture, and the same ones elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

Map = Callable[[np.ndarray], np.ndarray]
TEXTURE_MM = 1.0  # between the samples of the texture


def texture(seed: int = 0, size: int = 320, grain: float = 5.0) -> np.ndarray:
    """(size, size) a smooth texture with detail of two sizes, of standard deviation 1."""
    random = np.random.default_rng(seed)
    fine = ndimage.gaussian_filter(random.standard_normal((size, size)), grain)
    coarse = ndimage.gaussian_filter(random.standard_normal((size, size)), 4 * grain)
    return fine / fine.std() + 1.5 * coarse / coarse.std()


def empty(size: tuple[int, int], spacing: float, origin: tuple[float, float], degrees: float = 0.0) -> sitk.Image:
    """A 2-D image of (width, height) pixels whose axes are turned."""
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing((spacing, 1.1 * spacing))
    image.SetOrigin(origin)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    image.SetDirection((c, -s, s, c))
    return image


def points_of(image: sitk.Image) -> np.ndarray:
    """(H, W, 2) mm: all pixel centres, by ITK."""
    width, height = image.GetSize()
    index = [[image.TransformIndexToPhysicalPoint((i, j)) for i in range(width)] for j in range(height)]
    return np.array(index)


def painted(like: sitk.Image, pattern: np.ndarray, where: Map = lambda points: points, order: int = 3) -> sitk.Image:
    """The pattern, with its middle at (0, 0), at where(x) for each pixel centre x of an image."""
    at = where(points_of(like)) / TEXTURE_MM + (np.array(pattern.shape[::-1]) - 1) / 2
    values = ndimage.map_coordinates(pattern, at[..., ::-1].transpose(2, 0, 1), order=order, mode="nearest")
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.CopyInformation(like)
    return image


def errors_px(transform: sitk.Transform, like: sitk.Image, truth: Map, border: int = 8) -> np.ndarray:
    """Distances in pixels between transform(x) and truth(x) at pixel centres x that lie `border` pixels inside."""
    points = points_of(like)[border:-border, border:-border].reshape(-1, 2)
    found = np.array([transform.TransformPoint(point) for point in points.tolist()])
    return np.linalg.norm(found - truth(points), axis=1) / like.GetSpacing()[0]
