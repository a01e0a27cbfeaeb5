"""Read volumes, label maps, masks and transforms: the names under which other programs know `pddnet.io`."""

from .io.transforms import read_transform
from .io.volumes import check_readable, fit_labels, fit_mask, read_labels, read_mask, read_volume

__all__ = ["check_readable", "fit_labels", "fit_mask", "read_labels", "read_mask", "read_transform", "read_volume"]
