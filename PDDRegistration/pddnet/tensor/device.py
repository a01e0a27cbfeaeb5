"""Choose the device to compute on: parse the name that a user gives, and check that torch finds such a device."""

from __future__ import annotations

import gc
from typing import Any

import torch

from ..core.presets import DEVICES
from ..errors import InputError


def check_device(name: str) -> None:
    """Check that the name of a device is known ('auto', 'cpu', 'cuda', 'cuda:N') and the device present.

    Raises:
        InputError: there is no such device, or CUDA is requested and absent.
    """
    kind, colon, number = name.partition(":")
    if kind not in DEVICES or (colon and (kind != "cuda" or not number.isdecimal())):
        raise InputError(f"there is no device '{name}'; choose one of {', '.join(DEVICES)}")
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        raise InputError(f"device '{name}' was asked for, but PyTorch finds no such GPU; choose auto or cpu")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name: 'auto' is CUDA where a GPU works, else the CPU; 'cpu', 'cuda', 'cuda:N' as named.

    Raises:
        InputError: see `check_device`.
    """
    check_device(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and gpu_works() else "cpu")
    return torch.device(name)


def gpu_works() -> bool:
    """Test whether the GPU can compute: torch also reports GPUs too old for its build, and fails when it uses them."""
    try:
        return float((torch.ones(1, device="cuda") + 1).sum()) == 2.0
    except RuntimeError:
        return False


def describe() -> dict[str, Any]:
    """Describe the machine for a report: torch (its version), threads, and cuda (see `gpu`)."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "cuda": gpu()}


def gpu() -> dict[str, Any] | None:
    """Return name, memory_free and memory_total (bytes) of the GPU; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return {"name": torch.cuda.get_device_name(), "memory_free": free, "memory_total": total}


def free_memory(device: torch.device) -> None:
    """Release cached memory that no tensor uses any more, on the CPU and the GPU."""
    gc.collect()
    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
