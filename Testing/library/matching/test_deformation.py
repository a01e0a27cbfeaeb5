"""The deformable part of a run: a deformation that makes the scans less alike is left out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from helpers import trunk
from pddnet.core.field import DisplacementField
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.core.presets import PRESETS, Stage
from pddnet.core.result import Registration
from pddnet.matching import deformation
from pddnet.matching.deformation import NOT_BETTER
from pddnet.matching.stage import StageResult
from pddnet.pipeline import register
from pddnet.tensor.lattice import from_lps

STAGE = Stage(24.0, 8.0, 3, 8.0, 0.005, iterations=0)
PRESET = dataclasses.replace(PRESETS["fast"], stages=(STAGE,), semantic=0.0)
SHIFT = np.array([11.0, -9.0, 12.0])  # LPS mm


def _moved(scan: Image, shift: np.ndarray) -> Image:
    """The scan of a patient who lies `shift` away."""
    grid = scan.grid
    return Image(scan.array, Grid(grid.shape, grid.spacing, grid.origin + shift, grid.direction))


def _register(monkeypatch: pytest.MonkeyPatch, moving: Image, **settings: Any) -> tuple[Registration, np.ndarray]:
    """Register with a stage that finds SHIFT everywhere; return the result, and how it moves points of the trunk."""
    real = deformation.deform

    def planted(*args: Any) -> StageResult:
        step = real(*args)
        everywhere = np.broadcast_to(SHIFT, (*step.control.shape, 3))
        return dataclasses.replace(step, field=from_lps(everywhere, step.control))

    monkeypatch.setattr(deformation, "deform", planted)
    found = register(_scan(), moving, PRESET, align=False, device="cpu", **settings)
    points = trunk.MIDDLE + np.random.default_rng(1).uniform(-40, 40, (100, 3))
    return found, found.field.transform_points(points) - points


def _scan() -> Image:
    return trunk.ct(trunk.oblique_grid((34, 44, 46)), 1)


def test_a_deformation_that_harms_is_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    found, moved = _register(monkeypatch, _scan())
    assert NOT_BETTER in found.warnings
    assert np.abs(moved).max() < 1e-4
    measures = found.verdict.measures
    assert measures["similarity"] == pytest.approx(measures["similarity_before"], abs=1e-6)
    assert measures["resemblance"] == measures["resemblance_before"]
    assert measures["similarity"] > 0.95
    assert found.uncertainty.array.max() == 0  # of a matching that does not stand, nothing is told


def test_a_deformation_that_helps_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    found, moved = _register(monkeypatch, _moved(_scan(), SHIFT))
    assert NOT_BETTER not in found.warnings
    assert np.abs(moved - SHIFT).max() < 0.01
    measures = found.verdict.measures
    assert measures["resemblance"] > measures["resemblance_before"] + 0.1
    assert measures["similarity"] > measures["similarity_before"] + 0.1


def test_labels_that_guide_have_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = trunk.label_map(_scan().grid)
    found, moved = _register(monkeypatch, _scan(), fixed_labels=labels, moving_labels=_moved(labels, SHIFT))
    assert NOT_BETTER not in found.warnings
    assert np.abs(moved - SHIFT).max() < 0.01


def test_what_started_from_a_bent_transform_returns_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start is left as it was given, not set to zero."""
    scan = _scan()
    field = _bent(scan.grid)
    points = trunk.MIDDLE + np.random.default_rng(1).uniform(-40, 40, (100, 3))
    real = deformation.deform

    def far(*args: Any) -> StageResult:
        step = real(*args)
        return dataclasses.replace(step, field=torch.full_like(step.field, 25.0))

    monkeypatch.setattr(deformation, "deform", far)
    found = register(scan, scan, PRESET, initial_transform=field.to_sitk(), device="cpu")
    assert NOT_BETTER in found.warnings
    assert np.abs(found.field.transform_points(points) - field.transform_points(points)).max() < 0.2


def _bent(grid: Grid) -> DisplacementField:
    nodes = grid.isotropic(8.0, 60.0)
    x = nodes.points() - trunk.MIDDLE
    bent = np.stack([2 * np.sin(x[..., 2] / 60), 0.02 * x[..., 0], 1.5 * np.cos(x[..., 1] / 50)], axis=-1)
    return DisplacementField(bent.astype(np.float32), nodes)
