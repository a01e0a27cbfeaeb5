"""List the networks that predict a displacement field (`NETWORKS`), and find the class of each. Needs no torch.

To add a network, write one file of this room with a subclass of `base.RegistrationNetwork`, and add one line to
`NETWORKS`. Then `pddnet train` trains it ("network": its name), `pddnet register --network` runs it, and
`pddnet compare --methods FOLDER` has a row for it, if FOLDER holds what `Testing/training/NAME.json` trained.
All of them learn by `training/tasks/network.py`; one that learns otherwise gets a task of its own, as an entry of
`NETWORK_TASKS` in `training/run.py`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.linear import DEFORMABLE
from ..core.presets import Preset
from ..errors import InputError
from ..io.weights_file import read_weights

if TYPE_CHECKING:
    from .base import RegistrationNetwork

NETWORKS: dict[str, str] = {
    "flownet-c": "flownet_c:FlowNetC",
    "ha": "guided:Ha",
    "guided": "guided:Guided",
    "guided-skips": "guided:GuidedSkips",
    "pwc": "pwc:PWC",
    "svf-net": "svf_net:SVFNet",
}
"""Name of each network -> its file in this room, and the class in it. They are looked up late: they import torch."""


def find_class(name: str) -> type[RegistrationNetwork]:
    """Look up the class of a network, whose instances are made from `base.Sizes`.

    Raises:
        InputError: there is no such network.
    """
    file, class_name = NETWORKS[check_network(name)].split(":")
    found: type[RegistrationNetwork] = getattr(importlib.import_module(f".{file}", __package__), class_name)
    return found


def check_network(name: str) -> str:
    """Return the name of a network; raise InputError if there is none of this name."""
    if name not in NETWORKS:
        raise InputError(f"there is no network '{name}'; choose one of {', '.join(NETWORKS)}")
    return name


def check_weights(name: str, weights: Path | None) -> Path:
    """Return the weights file of a network, after a look at it.

    Raises:
        InputError: there is no such network; no file is given, because none is bundled; or it is not for this network.
    """
    check_network(name)
    if weights is None:
        raise InputError(f"the weights of '{name}' are not bundled; {training_advice(name)}, and give --weights")
    read_weights(weights, name, advice=training_advice(name))
    return weights


def check_run(name: str, weights: Path | None, preset: Preset, transform_type: str) -> Path:
    """Return the weights file of the network that is to predict a deformation.

    Raises:
        InputError: see `check_weights`; or the result is to be linear, or the preset is not for CT.
    """
    if transform_type != DEFORMABLE:
        raise InputError(f"the network '{name}' predicts a deformation; leave it out for a result that is linear")
    if not preset.hu:
        raise InputError(f"the network '{name}' was trained on CT, which the preset '{preset.name}' is not for")
    return check_weights(name, weights)


def training_advice(name: str) -> str:
    """Say which command makes the weights of a network."""
    return f"make them with 'pddnet train Testing/training/{name.replace('-', '_')}.json'"
