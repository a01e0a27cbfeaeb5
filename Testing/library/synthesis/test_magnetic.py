"""MR scans painted from label maps, and CT scans recoloured: signals as stated, and labels where they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.trunk import anatomy
from pddnet.core.hounsfield import AIR_HU
from pddnet.synthesis import magnetic
from pddnet.synthesis.magnetic import MagneticResonance, recoloured, scaled, simulate_mr
from pddnet.synthesis.noise import Noise
from pddnet.synthesis.patient import PatientSource, synthesise
from pddnet.synthesis.tissue import MATERIAL_INDEX

SHAPE = (24, 32, 32)
MR = MagneticResonance()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def source() -> PatientSource:
    return PatientSource(anatomy())


def _plain(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """A scanner without bias field, thick slices, ghosts, noise and any other scale."""
    thin = {"BIAS": (0.0, 0.0), "SLICE_THICKNESS_MM": (1.0, 1.0), "GHOSTED": 0.0, "NOISE": (0.0, 0.0)}
    for name, value in {**thin, "UNEVEN": (1.0, 1.0), "BRIGHTEST": (0.99, 0.99), **changes}.items():
        monkeypatch.setattr(magnetic, name, value)


def test_the_same_patient_is_painted_in_either_modality(source: PatientSource) -> None:
    signals = []
    for seed in range(3, 6):
        ct, mr = synthesise(source, SHAPE, seed), synthesise(source, SHAPE, seed, modality=MR)
        both = (ct.values[1] > 0) & (mr.values[1] > 0)
        assert both.float().mean() > 0.9 * float(ct.values[1].mean())
        assert torch.equal(ct.structures[both], mr.structures[both])
        assert float(mr.values[0].min()) == AIR_HU and float(mr.values[0].max()) <= 0
        assert (mr.values[0][mr.values[1] == 0] == AIR_HU).all()
        signals.append(np.corrcoef(ct.values[0][both], mr.values[0][both])[0, 1])
    assert np.ptp(signals) > 0.05  # how MR and CT are related differs from scan to scan


def test_a_source_of_mr_draws_mr(source: PatientSource) -> None:
    drawn = PatientSource(anatomy())
    drawn.modality = MR
    assert torch.equal(drawn.draw(SHAPE, 5).values, synthesise(source, SHAPE, 5, modality=MR).values)


def test_the_signal_of_every_tissue_lies_in_range_and_air_and_bone_are_dark() -> None:
    drawn = [MR.contrast(np.random.default_rng(seed), CPU) for seed in range(200)]
    signals = torch.stack([mean for mean, _ in drawn]) - AIR_HU
    assert signals.shape == (200, len(MATERIAL_INDEX))
    assert float(signals.min()) >= 10 and float(signals.max()) < 1300
    assert float(signals[:, MATERIAL_INDEX["air"]].max()) < 15
    fluid, fat = signals[:, MATERIAL_INDEX["urine"]], signals[:, MATERIAL_INDEX["fat"]]
    assert 0.2 < float((fluid > fat).float().mean()) < 0.8  # bright in T2, dark in T1
    assert all(float(texture.min()) > 0 and float(texture.max()) <= magnetic.TEXTURE[1] for _, texture in drawn)


def test_findings_are_as_bright_as_what_they_consist_of() -> None:
    mean = torch.linspace(100, 900, len(MATERIAL_INDEX))

    def of(name: str) -> float:
        return float(mean[MATERIAL_INDEX[name]])

    assert MR.value(10.0, mean) == of("urine")
    assert MR.value(-80.0, mean) == of("fat")
    assert MR.value(magnetic.FLUID_HU, mean) == pytest.approx(of("gland"))
    assert MR.value(400.0, mean) == pytest.approx(of("artery"))
    assert MR.value(-900.0, mean) == MR.value(2500.0, mean) == magnetic.VOID


def test_signals_are_scaled_by_the_bright_ones_of_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    _plain(monkeypatch)
    signal = torch.linspace(0, 499, 500).view(5, 10, 10)
    body = torch.ones_like(signal).bool()
    body[4] = False  # brighter, and not of the patient
    found = scaled(signal, body, np.random.default_rng(1))
    assert torch.allclose(found, AIR_HU + 1000 * (signal / 396).clamp(max=1))
    monkeypatch.setattr(magnetic, "UNEVEN", (2.0, 2.0))
    found = scaled(signal, body, np.random.default_rng(1))
    assert torch.allclose(found, AIR_HU + 1000 * (signal / 396).clamp(max=1) ** 2, atol=1e-2)


def test_slices_are_thick_along_the_axis_that_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    white = torch.rand(24, 24, 24, generator=torch.Generator().manual_seed(1)) * 500
    body = torch.ones_like(white).bool()
    for axis, shares in enumerate([(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]):
        _plain(monkeypatch, SLICE_THICKNESS_MM=(16.0, 16.0), AXIAL_SLICES=shares[0], CORONAL_SLICES=shares[1])
        found = simulate_mr(white, body, np.random.default_rng(1), Noise(1, CPU, 4.0))
        changes = [float(found.diff(dim=each).abs().mean()) for each in range(3)]
        assert changes[axis] < 0.4 * min(changes[:axis] + changes[axis + 1 :])


def test_a_ghost_is_a_faint_copy_along_an_axis_in_the_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    _plain(monkeypatch, GHOSTED=1.0, GHOST=(0.1, 0.1), GHOST_SHIFT=(0.25, 0.25))
    signal = torch.zeros(8, 16, 16)
    signal[4, 2, 2] = 500.0
    found = simulate_mr(signal, signal > 0, np.random.default_rng(2), Noise(1, CPU, 4.0)) - AIR_HU
    assert float(found[4, 2, 2]) == 1000
    at = [tuple(place) for place in (found > 50).nonzero().tolist() if tuple(place) != (4, 2, 2)]
    assert at in ([(4, 6, 2)], [(4, 2, 6)])
    assert float(found[at[0]]) == pytest.approx(100, rel=0.02)


def test_noise_is_rician(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no signal, its mean is sqrt(pi / 2) times the deviation of either channel."""
    _plain(monkeypatch, NOISE=(20.0, 20.0))
    signal = torch.zeros(24, 24, 24)
    signal[:12] = 1000.0
    found = simulate_mr(signal, signal > 0, np.random.default_rng(1), Noise(1, CPU, 4.0)) - AIR_HU
    scale = 1000.0 / float(1000.0 + 2.33 * 20.0)  # the quantile 0.99 of the bright half
    assert float(found[12:].mean()) == pytest.approx(20 * np.sqrt(np.pi / 2) * scale, rel=0.05)


def test_a_recoloured_ct_has_a_signal_for_every_value_and_structure() -> None:
    hu = torch.tensor([-1000.0, -1000.0, -500.0, 15.0, 15.0, 45.0, 15.0]).view(1, 1, 7)
    structures = torch.tensor([0, 0, 0, 0, 2, 0, -1]).view(1, 1, 7)
    for seed in range(5):
        found = recoloured(hu, structures, 41, np.random.default_rng(seed)).view(7)
        rng = np.random.default_rng(seed)
        nodes, tints = rng.uniform(50, 1000, len(magnetic._NODES_HU)), None
        rng.uniform(20, 150)
        tints = rng.normal(0, 200, 41)
        assert found[0] == found[1] == 10 and found[2] == 60
        assert float(found[3]) == pytest.approx((nodes[4] + nodes[5]) / 2, rel=1e-4)  # half between 0 and 30 HU
        assert float(found[4]) == pytest.approx(max((nodes[4] + nodes[5]) / 2 + tints[2], 0), rel=1e-3, abs=0.1)
        assert float(found[5]) == pytest.approx((nodes[5] + nodes[6]) / 2, rel=1e-4)
        assert found[6] == found[3]  # of what is unknown
