"""Keep arrays in files without names, which the system removes with the process, in whatever way that ends."""

from __future__ import annotations

import tempfile

import numpy as np

from ..errors import InputError


def spilled(array: np.ndarray) -> np.ndarray:
    """Return a read-only copy of an array that lies in a temporary file; it takes memory only where it is read.

    Raises:
        InputError: there is no room for it.
    """
    try:
        with tempfile.TemporaryFile(prefix="pddnet-") as file:
            file.write(np.ascontiguousarray(array).data)  # a mapped file on a full disk would end the process
            file.flush()
            return np.memmap(file, array.dtype, "r", shape=array.shape)
    except OSError as error:
        raise InputError(
            f"{tempfile.gettempdir()}: {error.strerror}; free space there, or set TMPDIR to another folder"
        ) from None
