"""Free memory, and whether a volume fits into it: decided by the header, before anything is unpacked. torch-free."""

from __future__ import annotations

import math
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError

_COPIES = 2  # ITK's image and our array
_MEMINFO = Path("/proc/meminfo")
_BYTES = {
    **dict.fromkeys((sitk.sitkUInt8, sitk.sitkInt8), 1),
    **dict.fromkeys((sitk.sitkUInt16, sitk.sitkInt16), 2),
    **dict.fromkeys((sitk.sitkUInt32, sitk.sitkInt32, sitk.sitkFloat32), 4),
}


def free_bytes() -> float:
    """Return how much memory is free, also for this process's limit; infinity where the system does not tell."""
    free = math.inf
    try:
        import resource  # not on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free = float(limit)
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = min(free, 1024.0 * int(line.split()[1]))
    except (ImportError, OSError, ValueError):
        pass
    return free


def check_memory(path: Path, reader: sitk.ImageFileReader) -> None:
    """Check that the volume whose header ITK has read fits into memory.

    Raises:
        InputError: it does not.
    """
    voxels = math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
    check_bytes(path, voxels * _BYTES.get(reader.GetPixelID(), 8))


def check_bytes(path: Path, size: int) -> None:
    """Check that a volume of so many bytes fits into memory.

    Raises:
        InputError: it does not.
    """
    needed = _COPIES * size
    if needed > (free := free_bytes()):
        raise InputError(
            f"{path}: the volume needs {needed / 1e9:.3g} GB of memory, and {free / 1e9:.3g} GB are free; "
            "crop or coarsen it"
        )
