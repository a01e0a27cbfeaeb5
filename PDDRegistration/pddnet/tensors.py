"""Between numpy and torch: the one place. Also the choice of the device."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError

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
    """'auto' is CUDA where there is one, else the CPU; 'cpu', 'cuda' and 'cuda:N' as asked.

    Raises:
        InputError: torch is missing, the name is unknown, or that GPU is absent.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError("registration needs torch, which is not installed; install it (pip install torch)") from error
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and gpu_works() else "cpu")
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and (kind == "cpu" or not number.isdecimal())):
        raise InputError(f"there is no device '{name}'; choose auto, cpu or cuda")
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        raise InputError(f"device '{name}' was asked for, but torch sees no such GPU; choose auto or cpu")
    return torch.device(name)


def gpu_works() -> bool:
    """Whether the GPU that torch sees can compute: one too old for this build of torch is seen, and fails at work."""
    import torch

    try:
        return float((torch.ones(1, device="cuda") + 1).sum()) == 2.0
    except RuntimeError:
        return False
