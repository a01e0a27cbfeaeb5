"""Convert between numpy and torch, and keep torch's random numbers apart. The only place that does either."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_DRAWING = threading.Lock()


def to_tensor(array: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """A float32 tensor with a copy of the array's values, of the same shape.

    torch built against NumPy 1 has no bridge to NumPy 2 (torch < 2.3 on macOS): then the values are copied as bytes.
    """
    array = np.array(array, dtype=np.float32, order="C")
    try:
        tensor = torch.from_numpy(array)
    except (RuntimeError, TypeError):
        tensor = torch.frombuffer(bytearray(array.tobytes()), dtype=torch.float32).reshape(array.shape)
    return tensor.to(device)


def to_array(tensor: Tensor) -> np.ndarray:
    """A float32 array with a copy of the tensor's values, of the same shape."""
    tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    try:
        return tensor.numpy().copy()
    except (RuntimeError, TypeError):
        memory = (ctypes.c_float * tensor.numel()).from_address(tensor.data_ptr())  # valid as long as the tensor lives
        return np.array(memory, dtype=np.float32).reshape(tuple(tensor.shape))


@contextmanager
def own_random_numbers(seed: int = 0) -> Iterator[None]:
    """Within this context networks draw their first weights from `seed`; the program's own generator is untouched.

    torch draws them from a generator that the whole process shares: it is set back afterwards.
    """
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
