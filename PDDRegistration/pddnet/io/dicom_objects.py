"""What reading and writing of DICOM registration objects share: pydicom, loaded late, and the kinds of objects.

A Deformable Spatial Registration holds a grid of displacements, a Spatial Registration a matrix (DICOM PS3.3, sections
A.39.1, A.39.2, C.20.2 and C.20.3). Both name the frames of reference, the coordinate systems, of the two series.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from ..errors import InputError

SPATIAL = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.3"
ENDINGS = (".dcm",)
_OLDEST = 3  # major version of pydicom whose functions are used
_MAGIC_OFFSET = 128


def load_pydicom() -> ModuleType:
    """Import pydicom.

    Raises:
        InputError: it is not installed, or too old.
    """
    try:
        pydicom = importlib.import_module("pydicom")
    except ImportError:
        raise InputError(
            "DICOM registration objects need pydicom, which is not installed; install it (pip install pydicom)"
        ) from None
    if int(pydicom.__version__.partition(".")[0]) < _OLDEST:
        raise InputError(
            f"DICOM registration objects need pydicom {_OLDEST} or newer, this is {pydicom.__version__}; install it "
            "(pip install --upgrade pydicom)"
        )
    return pydicom


def is_dicom(path: Path) -> bool:
    """Tell whether a file bears the mark of DICOM files."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_MAGIC_OFFSET + 4)[_MAGIC_OFFSET:] == b"DICM"
