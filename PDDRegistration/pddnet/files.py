"""Public aliases of the readers in `pddnet.io`, kept for backward compatibility."""

from .io.quiet import quiet
from .io.transforms import read_transform
from .io.volumes import LARGEST_LABEL, check_readable, fit_labels, fit_mask, read_labels, read_mask, read_volume

__all__ = [
    "LARGEST_LABEL",
    "check_readable",
    "fit_labels",
    "fit_mask",
    "quiet",
    "read_labels",
    "read_mask",
    "read_transform",
    "read_volume",
]
