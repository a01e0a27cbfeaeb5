"""Read and write a training's checkpoint: all it needs to resume as if it had never stopped, as one .npz file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..io.weights_file import read_arrays, write_arrays
from ..tensor.convert import to_array, to_tensor

_MOMENTS = ("exp_avg", "exp_avg_sq")


def write_state(path: Path, net: nn.Module, average: nn.Module, adam: torch.optim.AdamW, **numbers: float) -> None:
    """Write the network, its running average, the optimiser's moments and some numbers; completely or not at all."""
    arrays: dict[str, Any] = {f"net.{name}": to_array(value) for name, value in net.state_dict().items()}
    arrays |= {f"average.{name}": to_array(value) for name, value in average.state_dict().items()}
    for name, parameter in net.named_parameters():
        state = adam.state.get(parameter, {})
        arrays |= {f"{key}.{name}": to_array(state[key]) for key in _MOMENTS if key in state}
        if "step" in state:
            arrays[f"step.{name}"] = np.float32(state["step"])
    arrays |= {f"number.{key}": np.float64(value) for key, value in numbers.items()}
    write_arrays(path, arrays)


def read_state(path: Path, net: nn.Module, average: nn.Module, adam: torch.optim.AdamW) -> dict[str, float]:
    """Restore the state of the three from a file that `write_state` wrote; return the numbers.

    Raises:
        InputError: the file is damaged or belongs to another network.
    """
    try:
        arrays = read_arrays(path)
        device = next(net.parameters()).device
        for prefix, module in (("net.", net), ("average.", average)):
            values = {n.removeprefix(prefix): to_tensor(a, device) for n, a in arrays.items() if n.startswith(prefix)}
            module.load_state_dict(values)
        for name, parameter in net.named_parameters():
            if f"step.{name}" in arrays:
                adam.state[parameter] = {key: to_tensor(arrays[f"{key}.{name}"], device) for key in _MOMENTS}
                adam.state[parameter]["step"] = torch.tensor(float(arrays[f"step.{name}"]))
    except (ValueError, KeyError, RuntimeError) as error:
        advice = "remove it to begin anew, or choose another 'out'"
        raise InputError(f"{path}: the checkpoint is damaged or of another network ({error}); {advice}") from None
    return {name.removeprefix("number."): float(a) for name, a in arrays.items() if name.startswith("number.")}
