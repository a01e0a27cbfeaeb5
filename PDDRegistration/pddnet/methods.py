"""List the methods that `pddnet compare --methods` sets beside each other: of the source papers, and ours (`methods`).

All but ours start from one alignment, by MIND and an affine fit, so that their rows differ in the deformation alone;
those of pdd-net's features make that fit by these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .core.presets import Preset, find_preset, without_stages
from .io.weights_file import FOLDER
from .networks.registry import NETWORKS, check_weights, training_advice

TITLES = {
    "flownet-c": "FlowNet-C",
    "ha": "Ha et al.",
    "guided": "guided",
    "guided-skips": "guided with skips",
    "pwc": "PWC",
    "svf-net": "SVF-Net",
}
"""Name of each network -> its name in the table; one that is not listed goes by its own."""


@dataclass(frozen=True)
class Method:
    """Method that registers: a preset, with weights and the network that predicts the deformation, if any."""

    preset: Preset
    weights: Path | None = None
    network: str | None = None


def methods(folder: Path, warn: Callable[[str], None]) -> dict[str, Method | None]:
    """List the methods by their names in the table; None: no registration.

    Args:
        folder: of the trained networks, NAME/best.npz each.
        warn: told of every network without weights there; it is left out.

    Raises:
        InputError: a file there is damaged, or is not for the network of its folder.
    """
    base = find_preset("mind")
    aligned = without_stages(base)
    stage = find_preset("fast").stages[0]
    single = replace(aligned, stages=(stage,))
    learned = replace(single, mind=False)
    plain = replace(stage, iterations=0)
    bundled = FOLDER / "pdd.npz"
    found: dict[str, Method | None] = {
        "before": None,
        "alignment alone": Method(aligned),
        "pdd with MIND": Method(replace(single, stages=(plain,))),
        "pdd-net": Method(replace(learned, stages=(plain,)), bundled),
        "pdd-net + instance optimisation": Method(learned, bundled),
    }
    for name in NETWORKS:
        path = folder / name / "best.npz"
        if path.is_file():
            found[TITLES.get(name, name)] = Method(base, check_weights(name, path), name)
        else:
            warn(f"{path}: there is no such file, so '{name}' is left out; {training_advice(name)}")
    return found | {"ours": Method(find_preset("default"))}
