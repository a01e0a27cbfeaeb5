"""Choose the device that computes: parse the names that a user gives, and check what torch finds."""

from __future__ import annotations

import gc
from typing import Any

import torch

from ..core.presets import DEVICES
from ..errors import InputError


def check_device(name: str) -> None:
    """Check that a device is known ('auto', 'cpu', 'cuda', 'cuda:N') and present.

    Raises:
        InputError: there is no such device, or CUDA is asked for and absent.
    """
    kind, colon, number = name.partition(":")
    if kind not in DEVICES or (colon and (kind != "cuda" or not number.isdecimal())):
        raise InputError(f"there is no device '{name}'; choose one of {', '.join(DEVICES)}")
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        raise InputError(f"device '{name}' was asked for, but PyTorch finds no such GPU; choose auto or cpu")


def choose_device(name: str = "auto") -> torch.device:
    """'auto' is CUDA where there is one that works, else the CPU; 'cpu', 'cuda' and 'cuda:N' as asked.

    Raises:
        InputError: see `check_device`.
    """
    check_device(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and gpu_works() else "cpu")
    return torch.device(name)


def gpu_works() -> bool:
    """Whether the GPU can compute: torch reports one that is too old for this build, and fails when it is used."""
    try:
        return float((torch.ones(1, device="cuda") + 1).sum()) == 2.0
    except RuntimeError:
        return False


def describe() -> dict[str, Any]:
    """What a report says of the machine: torch (its version), threads, and cuda (see `gpu`)."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "cuda": gpu()}


def gpu() -> dict[str, Any] | None:
    """Name, memory_free and memory_total (bytes) of the GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return {"name": torch.cuda.get_device_name(), "memory_free": free, "memory_total": total}


def free_memory(device: torch.device) -> None:
    """Release cached memory that no tensor uses any more."""
    gc.collect()
    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
