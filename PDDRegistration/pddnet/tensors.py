"""Between numpy and torch: the one place. Also the choice of the device."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from .checks import check_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def to_tensor(array: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """A float32 tensor with a copy of the array's values, of the same shape.

    torch built against NumPy 1 has no bridge to NumPy 2 (torch < 2.3 on macOS): then through the bytes.
    """
    import torch

    array = np.array(array, dtype=np.float32, order="C")
    try:
        tensor = torch.from_numpy(array)
    except (RuntimeError, TypeError):
        tensor = torch.frombuffer(bytearray(array.tobytes()), dtype=torch.float32).reshape(array.shape)
    return tensor.to(device)


def to_array(tensor: Tensor) -> np.ndarray:
    """A float32 array with a copy of the tensor's values, of the same shape."""
    import torch

    tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    try:
        return tensor.numpy().copy()
    except (RuntimeError, TypeError):
        memory = (ctypes.c_float * tensor.numel()).from_address(tensor.data_ptr())  # valid as long as the tensor lives
        return np.array(memory, dtype=np.float32).reshape(tuple(tensor.shape))


def choose_device(name: str = "auto") -> torch.device:
    """'auto' is CUDA where there is one that works, else the CPU; 'cpu', 'cuda' and 'cuda:N' as asked.

    Raises:
        InputError: see `checks.check_device`.
    """
    check_device(name)
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and gpu_works() else "cpu")
    return torch.device(name)


def gpu_works() -> bool:
    """Whether the GPU that torch sees can compute: one too old for this build of torch is seen, and fails at work."""
    import torch

    try:
        return float((torch.ones(1, device="cuda") + 1).sum()) == 2.0
    except RuntimeError:
        return False
