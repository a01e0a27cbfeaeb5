"""State with which settings and which weights a result was made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.linear import DEFORMABLE
from ..core.presets import Preset, Stage
from ..io.weights_file import BUNDLED_SHA256, CT_NETWORK, MR_NETWORK, PDD, SEMANTIC, read_weights, reads_hu

if TYPE_CHECKING:
    from .registration import RunInputs


def settings(inputs: RunInputs, preset: Preset, network: str | None = None) -> dict[str, Any]:
    """Return what the user chose beside the preset's name: start, masks, guides, intensity, and the stages that follow
    from it; or the network that takes their place."""
    stages = preset.usual_stages if inputs.transform_type == DEFORMABLE and network is None else ()
    masks = {"fixed": inputs.fixed_mask, "moving": inputs.moving_mask}
    return {
        "start": _start(inputs),
        "masks": [side for side, mask in masks.items() if mask is not None],
        "guided": inputs.guided,
        "intensity": inputs.intensity,
        "stages": [_stage(stage) for stage in stages],
        **({"network": network} if network else {}),
    }


def _start(inputs: RunInputs) -> str:
    if inputs.initial_transform is not None:
        return "initial transform"
    return "alignment" if inputs.align else "where the scans lie"


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "control_spacing_mm": stage.control_spacing_mm if stage.control_points_per_axis is None else None,
        "capture_range_mm": stage.capture_range_mm,
        "smoothness": stage.smoothness,
        "iterations": stage.iterations,
        "both_ways": stage.both_ways,
    }


def origin(report: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return of a registration's report what is kept with its outputs: with what it was made, and how far to trust it.

    inputs: names of the inputs, by meaning.
    """
    verdict = report["verdict"]
    return {
        "version": report["versions"]["pddnet"],
        "preset": report["preset"],
        "weights": dict(report["weights"]),
        "status": verdict["status"],
        "risk": verdict["risk"],
        "reasons": list(verdict["reasons"]),
        "inputs": dict(inputs),
    }


def weights_used(preset: Preset, own: Path | None, network: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of the weights that a run with this preset reads, by file name.

    A preset for scans of any kind reads those of CT, of MR, or both, as the scans are; both are listed.

    own: weights of the user's own training, of either network; of `network`, where that predicts the deformation.
    """
    structures = preset.semantic > 0
    bundled = {CT_NETWORK: structures, MR_NETWORK: structures and not preset.hu, "expected_error.npz": preset.hu}
    found = {name: BUNDLED_SHA256[name] for name, needed in bundled.items() if needed}
    if own is None:
        return found
    metadata = {} if network else read_weights(own, SEMANTIC, PDD)[1]
    if metadata.get("kind") == SEMANTIC:
        if not structures:
            return found
        del found[CT_NETWORK if reads_hu(metadata) else MR_NETWORK]
    return file_sha256(own) | found


def file_sha256(weights: Path | None) -> dict[str, str]:
    """Return the SHA-256 of a weights file by its name; nothing without a file."""
    return {} if weights is None else {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()}
