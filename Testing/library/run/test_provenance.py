"""Settings and weights are stated as the run used them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from helpers.samples import FIXED, MOVING, ramp
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS
from pddnet.io.weights_file import BUNDLED_SHA256, FOLDER, PDD, SCALED, SEMANTIC, write_weights
from pddnet.run.provenance import settings, weights_used
from pddnet.run.registration import RunInputs


def test_the_bundled_weights_have_the_digests_of_their_files() -> None:
    found = weights_used(PRESETS["default"], None)
    assert found == {name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in found}
    assert set(found) == {"semantic.npz", "expected_error.npz"}
    assert set(weights_used(PRESETS["mind"], None)) == {"expected_error.npz"}
    assert set(weights_used(PRESETS["multimodal"], None)) == {"semantic.npz", "semantic_mr.npz"}


def test_own_weights_replace_those_of_their_kind(tmp_path: Path) -> None:
    own = tmp_path / "mine.npz"
    write_weights(own, {"a": np.zeros(3)}, {"kind": SEMANTIC})
    mine = {"mine.npz": hashlib.sha256(own.read_bytes()).hexdigest()}
    error = {"expected_error.npz": BUNDLED_SHA256["expected_error.npz"]}
    assert weights_used(PRESETS["default"], own) == mine | error
    assert weights_used(PRESETS["mind"], own) == error  # asks no network
    assert set(weights_used(PRESETS["multimodal"], own)) == {"mine.npz", "semantic_mr.npz"}
    write_weights(own, {"a": np.zeros(3)}, {"kind": SEMANTIC, "values": SCALED})
    assert set(weights_used(PRESETS["multimodal"], own)) == {"mine.npz", "semantic.npz"}
    write_weights(own, {"a": np.zeros(3)}, {"kind": PDD})
    assert set(weights_used(PRESETS["default"], own)) == {"mine.npz", "semantic.npz", "expected_error.npz"}


def test_the_settings_of_a_run() -> None:
    inputs = RunInputs(ramp(FIXED), ramp(MOVING), moving_mask=Image(np.ones(MOVING.shape, bool), MOVING))
    told = settings(inputs, PRESETS["default"])
    assert (told["start"], told["masks"], told["guided"]) == ("alignment", ["moving"], False)
    assert [stage["capture_range_mm"] for stage in told["stages"]] == [72.0, 32.0, 12.0]
    inputs.align, inputs.transform_type = False, "rigid"
    assert settings(inputs, PRESETS["default"])["start"] == "where the scans lie"
    assert settings(inputs, PRESETS["default"])["stages"] == []
    inputs.initial_transform = sitk.TranslationTransform(3)
    assert settings(inputs, PRESETS["paper"])["start"] == "initial transform"
    inputs.transform_type = "deformable"
    assert settings(inputs, PRESETS["paper"])["stages"][0]["control_spacing_mm"] is None
