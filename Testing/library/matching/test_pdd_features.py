"""Registration with the paper's features, trained a little: what they weigh and find, and which file goes where."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.trunk import MIDDLE, anatomy, ct, oblique_grid
from pddnet import pipeline
from pddnet.cli.main import main
from pddnet.core.affine import Affine
from pddnet.core.image import Image
from pddnet.core.presets import INVERSE_TEMPERATURE, PRESETS, Stage
from pddnet.errors import InputError
from pddnet.features import semantic_net
from pddnet.features.guide import with_label_codes
from pddnet.features.semantic_codes import EMBEDDING_SIZE
from pddnet.features.semantic_net import SemanticNet
from pddnet.io.weights_file import FOLDER, write_weights
from pddnet.matching import job_run
from pddnet.matching import pdd_net as network
from pddnet.matching.feature_maps import describe
from pddnet.matching.pdd_net import PDDNet, save, with_pdd_features
from pddnet.pipeline import register
from pddnet.synthesis.patient import PatientSource
from pddnet.tensor.scan import Scan, prepare
from pddnet.training.config import PairSettings, TrainingConfig
from pddnet.training.tasks.pdd import PDDTask

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SHIFT = np.array([9.0, -14.0, 11.0])  # LPS mm: fixed to moving
STAGE = Stage(20.0, 24.0, 7, 8.0, 0.005, iterations=10)
PLAIN = dataclasses.replace(PRESETS["fast"], stages=(STAGE,), semantic=0.0)
ALONE = dataclasses.replace(PLAIN, mind=False)
FEW = 5


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a few steps on painted pairs: no shift of a scan is among them."""
    pairs = PairSettings(view=(24, 24, 24), reach=24.0, steps=5, channels=4)
    task = PDDTask(TrainingConfig(Path(), network="pdd", pairs=pairs))
    torch.manual_seed(1)
    net = task.network().train()
    adam = torch.optim.Adam(net.groups(0.01))
    batch = next(iter(task.dataset([PatientSource(anatomy())], [1.0], 0)))
    for _ in range(FEW):
        adam.zero_grad()
        task.loss(net, *batch)[0].backward()
        adam.step()
    with torch.no_grad():  # as after many steps: statistics that have followed, and a cost that has preferences
        for layer in net.modules():
            if isinstance(layer, torch.nn.BatchNorm3d):
                layer.momentum = None  # the mean of what comes
                layer.reset_running_stats()
        task.loss(net, *batch)
    path = tmp_path_factory.mktemp("weights") / "best.npz"
    task.save(net, path, {})
    return path


@pytest.fixture(scope="module")
def pair() -> tuple[Image, Image]:
    """The trunk, oblique, left-handed and anisotropic, and another scan of it SHIFT away."""
    grid = oblique_grid((34, 44, 46))
    return ct(grid, 1), Image(ct(grid, 2).array, dataclasses.replace(grid, origin=grid.origin + SHIFT))


@pytest.fixture
def scan(pair: tuple[Image, Image]) -> Scan:
    return prepare(pair[0], 4.0, CPU)


def _off(result: pipeline.Registration) -> np.ndarray:
    """(N) mm between where points of the trunk come to lie and where they should."""
    points = MIDDLE + np.random.default_rng(1).uniform(-45, 45, (300, 3))
    return np.linalg.norm(result.field.transform_points(points) - points - SHIFT, axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize("bundled", [False, True])
def test_trained_features_alone_find_a_shift(pair: tuple[Image, Image], weights: Path, bundled: bool) -> None:
    weights = FOLDER / "pdd.npz" if bundled else weights
    result = register(*pair, ALONE, align=False, device="cpu", weights=weights)
    off = _off(result)
    before = np.linalg.norm(SHIFT)
    assert off.mean() < 0.35 * before, off.mean()
    assert np.percentile(off, 95) < 0.8 * before


def test_beside_mind_they_change_the_result_for_the_better_or_little(pair: tuple[Image, Image], weights: Path) -> None:
    without = register(*pair, PLAIN, align=False, device="cpu")
    with_both = register(*pair, PLAIN, align=False, device="cpu", weights=weights)
    assert np.abs(with_both.field.array - without.field.array).max() > 0.1
    assert _off(with_both).mean() < _off(without).mean() + 1.0
    assert "features" in with_both.seconds and "features" not in without.seconds


def test_features_weigh_as_they_were_trained_to(scan: Scan) -> None:
    """Costs are INVERSE_TEMPERATURE times the mean over channels: MIND's as ever, the features' as the network's."""
    torch.manual_seed(2)
    net = PDDNet(6, 8.0).eval().requires_grad_(False)
    net.log_sharpness += 0.7
    lattice = scan.box.isotropic(net.features.spacing)

    def cost(given: Scan, **settings: tuple) -> Tensor:
        codes = given.features_at(lattice, Affine.identity())
        maps = describe(given.warped(lattice, Affine.identity()), codes, 8.0, **settings).features
        return INVERSE_TEMPERATURE * (maps - maps[:, 5:6, 6:7, 4:5]).square().mean(0)

    features = net.features([scan], lattice)[0]
    expected = net.inverse_temperature * (features - features[:, 5:6, 6:7, 4:5]).square().mean(0)
    both = with_pdd_features(scan, net, INVERSE_TEMPERATURE)
    assert expected.std() > 0
    assert torch.allclose(cost(both, dense=()), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    together = cost(scan) + expected
    assert torch.allclose(cost(both), together, rtol=1e-3, atol=1e-4 * float(together.max()))


def test_where_nothing_is_features_are_zero(scan: Scan) -> None:
    """As codes are beyond their lattice: air there is no other air."""
    net = PDDNet(4, 8.0).eval()
    with torch.no_grad():
        net.features.offsets.clamp_(-9, 9)
    found = with_pdd_features(scan, net, INVERSE_TEMPERATURE)
    body = scan.warped(found.features_grid, Affine.identity()).values[1:2]
    away = torch.nn.functional.max_pool3d(body[None], 9, 1, 4)[0, 0] == 0  # 32 mm: a filter, an offset, a convolution
    assert away.sum() > 20
    assert found.features[:, away].abs().max() < 1e-4 * found.features.abs().max()


def test_features_stand_after_those_that_guide(pair: tuple[Image, Image]) -> None:
    labels = Image((pair[0].array > 0).astype(np.uint8), pair[0].grid)
    guided = with_label_codes(prepare(pair[0], 4.0, CPU), labels, np.array([[0.0, 0], [1, 2]]))
    found = with_pdd_features(guided, PDDNet(4, 8.0).eval(), INVERSE_TEMPERATURE)
    assert found.features.shape == (2 + 4, *found.features_grid.shape)
    assert np.allclose(found.features_grid.spacing, guided.grid.spacing.min())
    assert torch.allclose(found.features[:2], guided.features_at(found.features_grid, Affine.identity()))
    assert not found.features.requires_grad
    assert torch.equal(found.values, guided.values)


def test_every_kind_of_weights_goes_where_it_belongs(
    pair: tuple[Image, Image], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(4)
    semantic_net.save(SemanticNet(8), tmp_path / "names.npz", {})
    named, learned, compared = [], [], []
    load, load_features, agreement = semantic_net.load, network.load, job_run.agreement
    monkeypatch.setattr(semantic_net, "load", lambda p, device: named.append(p) or load(tmp_path / "names.npz", device))
    monkeypatch.setattr(network, "load", lambda p, device: learned.append(p) or load_features(p, device))

    def compare(fixed: Scan, moving: Scan, *more: object) -> float:
        compared.append((len(fixed.features), len(moving.features)))
        return agreement(fixed, moving, *more)

    monkeypatch.setattr(job_run, "agreement", compare)
    both = dataclasses.replace(PLAIN, semantic=2.0)
    register(*pair, both, align=False, device="cpu", weights=tmp_path / "names.npz")
    assert (named, learned) == ([tmp_path / "names.npz"], [])
    register(*pair, both, align=False, device="cpu", weights=weights)
    assert (named[1:], learned) == ([semantic_net.BUNDLED_WEIGHTS], [weights])
    assert compared == [(EMBEDDING_SIZE, EMBEDDING_SIZE)] * 2  # structures alone say whether they lie on each other


def test_files_that_cannot_be_used(pair: tuple[Image, Image], weights: Path, tmp_path: Path) -> None:
    content, bad = weights.read_bytes(), tmp_path / "bad.npz"
    for size in (0, 100, len(content) // 2):
        bad.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"bad\.npz: not a weights file, or a damaged one.*'mind'"):
            register(*pair, PLAIN, weights=bad)
    write_weights(bad, {"a": np.zeros(3)}, {"kind": "voxelmorph"})
    with pytest.raises(InputError, match="kind 'voxelmorph' where 'semantic' or 'pdd'"):
        register(*pair, PLAIN, weights=bad)
    save(PDDNet(4, 8.0), bad, {"channels": 8})
    with pytest.raises(InputError, match=r"bad\.npz: the weights do not fit"):
        register(*pair, PLAIN, weights=bad)
    with pytest.raises(InputError, match="of CT, which the preset 'multimodal' is not for"):
        register(*pair, "multimodal", weights=weights)
    semantic_net.save(semantic_net.SemanticNet(8, hu=False), bad, {})
    with pytest.raises(InputError, match=r"bad\.npz: this network reads MR, which the preset 'default' is not for"):
        register(*pair, "default", weights=bad)


def test_the_command_refuses_a_foreign_file_before_it_reads_the_scans(weights: Path, tmp_path: Path, capsys) -> None:
    bad, nothing = tmp_path / "bad.npz", tmp_path / "scan.nii.gz"
    write_weights(bad, {"a": np.zeros(3)}, {"kind": "voxelmorph"})
    nothing.touch()
    argv = ["register", "--fixed", str(nothing), "--moving", str(nothing), "--output-transform", str(tmp_path / "t.h5")]
    for path, word in ((bad, "kind 'voxelmorph'"), (weights, "scan.nii.gz")):
        assert main([*argv, "--weights", str(path)]) == 2
        error = capsys.readouterr().err
        assert word in error and error.count("\n") == 1
