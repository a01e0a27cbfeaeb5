"""Convert between numpy and torch, and isolate torch's random numbers. No other module does either."""

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
    """Copy an array to a float32 tensor of the same shape.

    torch built against NumPy 1 cannot convert arrays of NumPy 2 (torch < 2.3 on macOS): then the values are copied as
    bytes.
    """
    array = np.array(array, dtype=np.float32, order="C")
    try:
        tensor = torch.from_numpy(array)
    except (RuntimeError, TypeError):
        tensor = torch.frombuffer(bytearray(array.tobytes()), dtype=torch.float32).reshape(array.shape)
    return tensor.to(device)


def to_array(tensor: Tensor) -> np.ndarray:
    """Copy a tensor to a float32 array of the same shape."""
    tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    try:
        return tensor.numpy().copy()
    except (RuntimeError, TypeError):
        memory = (ctypes.c_float * tensor.numel()).from_address(tensor.data_ptr())  # valid as long as the tensor lives
        return np.array(memory, dtype=np.float32).reshape(tuple(tensor.shape))


@contextmanager
def own_random_numbers(seed: int = 0) -> Iterator[None]:
    """Let networks draw their initial weights from `seed` within this context, without effect on other random numbers.

    torch draws them from a generator that the whole process shares: its state is restored afterwards.
    """
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
