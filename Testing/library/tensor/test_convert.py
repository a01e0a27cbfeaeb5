"""Between numpy and torch, also without the bridge; the choice of the device."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch

from pddnet.errors import InputError, TorchMissing
from pddnet.tensor.convert import to_array, to_tensor
from pddnet.tensor.device import choose_device

ARRAYS = {
    "float32": np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32),
    "int16": np.arange(-3, 3, dtype=np.int16).reshape(2, 3),
    "big-endian": np.arange(4, dtype=">f8"),
    "turned": np.arange(24, dtype=np.float64).reshape(2, 3, 4)[::-1, :, ::2].T,
    "read-only": np.broadcast_to(np.float32(3.5), (2, 2)),
    "one value": np.array(-1.25),
    "bool": np.array([True, False]),
}


@pytest.fixture(params=["bridge", "no bridge", "no bridge, the other error"])
def bridge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's bridge to numpy, and as where torch was built for another numpy."""
    if request.param == "bridge":
        return
    kind = TypeError if "other" in request.param else RuntimeError

    def absent(*_: object, **__: object) -> None:
        raise kind("Numpy is not available")

    monkeypatch.setattr(torch, "from_numpy", absent)
    monkeypatch.setattr(torch.Tensor, "numpy", absent)


@pytest.mark.parametrize("name", ARRAYS)
def test_there_and_back(bridge: None, name: str) -> None:
    array = ARRAYS[name]
    tensor = to_tensor(array)
    assert tensor.dtype == torch.float32
    assert tuple(tensor.shape) == array.shape
    assert tensor.flatten().tolist() == pytest.approx(array.astype(float).flatten().tolist())
    back = to_array(tensor)
    assert back.dtype == np.float32
    assert back.shape == array.shape
    assert np.array_equal(back, array.astype(np.float32))


def test_a_part_of_a_tensor(bridge: None) -> None:
    """It shares its memory with the whole, and begins somewhere within."""
    whole = torch.arange(24.0).view(4, 3, 2).requires_grad_()
    assert to_array(whole[2:]).tolist() == [[[12, 13], [14, 15], [16, 17]], [[18, 19], [20, 21], [22, 23]]]
    assert to_array(whole[:, 1].T).tolist() == [[2, 8, 14, 20], [3, 9, 15, 21]]
    assert to_array(whole[:0]).shape == (0, 3, 2)


def test_neither_side_shares_memory(bridge: None) -> None:
    array = np.zeros(3, np.float32)
    tensor = to_tensor(array)
    tensor += 1
    assert array.tolist() == [0, 0, 0]
    back = to_array(tensor)
    back += 1
    assert tensor.tolist() == [1, 1, 1]


def test_the_device_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("pddnet.tensor.device.gpu_works", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setattr("pddnet.tensor.device.gpu_works", lambda: False)  # seen, but too old for this torch
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="'cuda:2' was asked for, but PyTorch finds no such GPU"):
        choose_device("cuda:2")


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:0"):
        with pytest.raises(InputError, match=f"'{name}' was asked for.* choose auto or cpu"):
            choose_device(name)
    for name in ("gpu", "cpu:0", "cuda:", "cuda:x", "cuda:²", "", "mps"):
        with pytest.raises(InputError, match="there is no device"):
            choose_device(name)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("pddnet.tensor")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TorchMissing, match=r"PyTorch cannot be loaded .* install it"):
        importlib.import_module("pddnet.tensor.device")
