"""Training the paper's network: its loss falls, it goes on where it was stopped, and every part of it learns."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helpers.trunk import anatomy, ct, label_map, oblique_grid, write_anatomy, write_case
from pddnet.core.grid import Grid
from pddnet.errors import InputError
from pddnet.features.label_table import STRUCTURES
from pddnet.io.weights_file import read_arrays, read_weights
from pddnet.matching.inference import DisplacementDistribution
from pddnet.matching.pdd_net import PDDNet, load, save
from pddnet.synthesis import anatomy as anatomies
from pddnet.synthesis.patient import PatientSource
from pddnet.tensor.execution import ALONE, Work
from pddnet.tensor.scan import Scan, prepare
from pddnet.training import loop as training
from pddnet.training import run as training_run
from pddnet.training import sources as training_sources
from pddnet.training.config import PairSettings, TrainingConfig, labelled_scans, read_config
from pddnet.training.labelled_scan import LabelledScan
from pddnet.training.loop import Outcome, train
from pddnet.training.registration_loss import LabelMap, class_weights, diffusion, warped_label_loss
from pddnet.training.run import TrainingRun
from pddnet.training.scans import annotate
from pddnet.training.tasks.pdd import PDDTask

PAIRS = PairSettings(view=(24, 24, 24), control=16.0, reach=24.0, steps=5, channels=4)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "LEAST_BODY_VOXELS", 50)
    monkeypatch.setattr(training, "LOG_EVERY", 2)
    monkeypatch.setattr(training_run, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(anatomies, "HULL_SPACING_MM", 8.0)
    monkeypatch.setattr(training_sources, "read_anatomy", cache(anatomies.read_anatomy))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An anatomy, and two scans to validate on."""
    folder = tmp_path_factory.mktemp("data")
    write_anatomy(folder)
    for seed, name in enumerate(("one", "two")):
        write_case(folder / "scans", name, seed, oblique_grid((34, 44, 46)))
    return folder


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, ...]:
    return next(iter(PDDTask(_config(Path())).dataset([PatientSource(anatomy())], [1.0], 0)))


def _config(folder: Path, data: Path | None = None, **changes: object) -> TrainingConfig:
    given = {} if data is None else {"anatomies": (data / "trunk.nii.gz",), "validation": data / "scans"}
    config = TrainingConfig(
        out=folder, network="pdd", pairs=PAIRS, iterations=2, validate_every=2, seed=1, seconds_kept=1e9,
        learning_rate=0.01, **given,
    )  # fmt: skip
    return dataclasses.replace(config, **changes)


def _train(config: TrainingConfig, **settings: object) -> Outcome:
    return train(config, device="cpu", warn=pytest.fail, **settings)


def _log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_stopped_and_resumed_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    outcome = _train(_config(whole, data))
    assert outcome == Outcome(2, whole / "best.npz", outcome.dice, True) and 0.5 < outcome.dice <= 1
    assert [_train(_config(parts, data), minutes=m).iterations for m in (0.0, None)] == [1, 2]
    one, other = read_arrays(whole / "checkpoint.npz"), read_arrays(parts / "checkpoint.npz")
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    best, again = (read_arrays(folder / "best.npz") for folder in (whole, parts))
    assert all(np.array_equal(best[name], again[name]) for name in best if name != "metadata")
    first = read_arrays(whole / "checkpoint.npz")
    assert not np.array_equal(first["net.features.offsets"], first["average.features.offsets"])
    assert first["average.features.edges.1.num_batches_tracked"] == 2
    lines = [[row["iteration"] for row in _log(folder)] for folder in (whole, parts)]
    assert lines == [["2", "2"]] * 2
    assert (whole / "log.svg").exists()
    metadata = read_weights(whole / "best.npz", "pdd")[1]
    validations = [float(row["validation"]) for row in _log(whole) if row["loss"] == "nan"]
    assert metadata["validation_dice"] == pytest.approx(max(validations), abs=1e-4)
    assert (metadata["channels"], metadata["spacing"]) == (4, 8.0)
    assert "view 24, 24, 24; control 16.0" in metadata["training"]["settings"]["pairs"]
    assert str(tmp_path) not in json.dumps(metadata)


@pytest.mark.slow
def test_without_validation_the_last_weights_are_kept(data: Path, tmp_path: Path) -> None:
    one = _config(tmp_path, data, iterations=1, validation=None)
    assert math.isnan(_train(one).dice)
    assert read_weights(tmp_path / "best.npz", "pdd")[1]["training"]["iterations"] == 1


@pytest.mark.slow
def test_from_given_weights(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(9)
    given = PDDNet(4, 8.0)
    save(given, tmp_path / "init.npz", {})
    config = _config(tmp_path / "a", data, learning_rate=0.0, iterations=1, validation=None)
    _train(config, init=tmp_path / "init.npz")
    state = read_arrays(tmp_path / "a" / "checkpoint.npz")
    for name, value in given.named_parameters():
        assert np.array_equal(state[f"net.{name}"], value.detach().half().float().numpy())
    for change, word in (({"channels": 6}, "its channels is 4"), ({"spacing": 6.0}, "its spacing is 8.0")):
        other = dataclasses.replace(PAIRS, **change)
        with pytest.raises(InputError, match=rf"init\.npz.*{word}"):
            _train(_config(tmp_path / "b", data, pairs=other), init=tmp_path / "init.npz")
    (tmp_path / "init.npz").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"init\.npz.*not a weights file"):
        _train(_config(tmp_path / "c", data), init=tmp_path / "init.npz")


@pytest.mark.slow
def test_learning_lowers_the_loss_and_moves_the_offsets(batch: tuple[Tensor, ...], tmp_path: Path) -> None:
    run = TrainingRun.start(_config(tmp_path, iterations=40, learning_rate=0.003), None, torch.device("cpu"))
    start = run.net.features.offsets.detach().clone()
    losses = []
    for _ in range(9):
        run.step(*batch)
        losses.append(run.loss_sum)
        run.loss_sum = 0.0
    assert run.count == 9
    assert losses[-1] < 0.8 * losses[0]
    moved = (run.net.features.offsets.detach() - start).abs()
    assert (moved > 0).all()
    assert 0.2 < float(moved.mean()) < 9 * 0.003 * 100  # mm: as far as a hundred times the rate, and no further


def test_the_gradient_reaches_everything(batch: tuple[Tensor, ...]) -> None:
    task = PDDTask(_config(Path()))
    torch.manual_seed(2)
    net = task.network().train()
    task.loss(net, *batch)[0].backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        if name != "features.mix.6.bias":  # the same for both scans: it cancels
            assert parameter.grad.abs().max() > 0, name
    assert (net.features.offsets.grad.abs().amax((0, 2)) > 0).all()  # all pairs of them
    assert sorted(id(p) for g in task.parameter_groups(net) for p in g["params"]) == sorted(map(id, net.parameters()))


def test_the_loss_is_that_of_the_labels_and_the_weighted_penalty(batch: tuple[Tensor, ...]) -> None:
    found = []
    for smoothness in (0.0, 0.5, 1.0):
        task = PDDTask(_config(Path(), pairs=dataclasses.replace(PAIRS, smoothness=smoothness)))
        torch.manual_seed(2)
        net = task.network().train()
        loss, overlap = task.loss(net, *batch)
        found.append(float(loss.detach()))
    assert 0 < overlap < 1
    assert found[1] - found[0] == pytest.approx(found[2] - found[1], rel=1e-3)
    values, structures, _, shift = batch
    sides = [LabelledScan.from_sample(values[n], structures[n], m) for n, m in ((0, (0, 0, 0)), (1, shift.numpy()))]
    control, distribution = task._match(net, *sides)
    assert found[2] - found[0] == pytest.approx(float(diffusion(distribution.moments()[0], control).detach()), rel=1e-3)
    assert (control.spacing == 16).all() and control.shape == (6, 6, 6)
    assert [float(distribution.offsets[0][n]) for n in (0, 2, 4)] == [-24, 0, 24]


def test_the_loss_may_be_that_of_the_expected_displacement_alone(batch: tuple[Tensor, ...]) -> None:
    task = PDDTask(_config(Path(), pairs=dataclasses.replace(PAIRS, smoothness=0.0, non_local=False)))
    torch.manual_seed(2)
    net = task.network().train()
    loss, _ = task.loss(net, *batch)
    sides = [LabelledScan.from_sample(batch[0][n], batch[1][n], m) for n, m in ((0, (0, 0, 0)), (1, batch[3].numpy()))]
    control, distribution = task._match(net, *sides)
    labels = [LabelMap(side.structures.clamp(min=0), side.scan.view, side.scan.grid) for side in sides]
    field = distribution.moments()[0]
    expected = warped_label_loss(field, *labels, control, class_weights(*labels, len(STRUCTURES)))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    loss.backward()
    assert (net.features.offsets.grad.abs().amax((0, 2)) > 0).all()


def test_pairs_that_have_nothing_in_common_teach_nothing(batch: tuple[Tensor, ...], tmp_path: Path) -> None:
    values, structures, common, shift = batch
    structures = structures.clone()
    structures[1] = 0
    bodiless = values.clone()
    bodiless[1, 1] = 0
    run = TrainingRun.start(_config(tmp_path), None, torch.device("cpu"))
    before = [p.detach().clone() for p in run.net.parameters()]
    run.step(values, structures, common, shift)
    run.step(bodiless, batch[1], common, shift)
    assert (run.number, run.count) == (2, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, run.net.parameters(), strict=True))


class Sure(PDDNet):
    """It finds the same displacement everywhere, `at` mm along each axis: every other one costs more."""

    at = 0.0

    def forward(
        self, fixed: Scan, moving: Scan, control: Grid, steps: Tensor, work: Work = ALONE
    ) -> DisplacementDistribution:
        cost = sum(torch.meshgrid(*[(steps - self.at).square()] * 3, indexing="ij"))
        n_d, n_h, n_w = control.shape
        return DisplacementDistribution(cost[None, None, ..., None].expand(n_h, n_w, -1, -1, -1, n_d), (steps,) * 3)


def test_validation_is_the_overlap_of_every_scan_with_the_next(data: Path) -> None:
    """Where the patient lies in the scanner does not matter: a pair starts with structures upon each other."""
    scans, here = [], oblique_grid((34, 44, 46))
    for number, case in enumerate(labelled_scans(data / "scans")[0]):
        grid = dataclasses.replace(here, origin=here.origin + number * np.array([90.0, -40.0, 150.0]))
        image, labels = (dataclasses.replace(x, grid=grid) for x in (ct(here, number), label_map(here)))
        scans.append(annotate(image, labels, case.names))
    task, net = PDDTask(_config(Path())), Sure(4, 8.0).eval()
    found = task.dice_scores(net, scans)
    assert len(found) == 2 * len(scans[0][2]) == 10
    assert min(found) > 0.9
    assert task.dice_scores(net, scans[:1]) == []
    net.at = 12.0
    assert np.mean(task.dice_scores(net, scans)) < 0.6


def test_weights_round_trip(batch: tuple[Tensor, ...], tmp_path: Path) -> None:
    """With the statistics of its layers: without them the features of a trained network would be others."""
    torch.manual_seed(3)
    net = PDDNet(4, 8.0).train()
    for _ in range(3):
        PDDTask(_config(Path())).loss(net, *batch)
    save(net.eval(), tmp_path / "w.npz", {"data": "balls"})
    again = load(tmp_path / "w.npz")
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    scan = prepare(ct(oblique_grid((20, 24, 26))), 4.0, torch.device("cpu"))
    nodes = scan.box.isotropic(8.0)
    with torch.no_grad():
        expected, found = net.features([scan], nodes), again.features([scan], nodes)
    assert expected.std() > 0.02
    assert (expected - found).abs().max() < 0.02 * expected.abs().max()
    assert read_weights(tmp_path / "w.npz", "pdd")[1]["data"] == "balls"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"channels": 5}, "do not fit"),
        ({"channels": "many"}, "do not fit"),
        ({"channels": -1}, "do not fit"),
        ({"spacing": None}, "do not fit"),
        ({"kind": "semantic"}, "kind 'semantic' where 'pdd'"),
    ],
)
def test_weights_of_another_network(metadata: dict, message: str, tmp_path: Path) -> None:
    save(PDDNet(4, 8.0), tmp_path / "w.npz", metadata)
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path / "w.npz")
    assert "w.npz" in str(error.value)


def test_damaged_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    save(PDDNet(4, 8.0), path, {})
    content = path.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"w\.npz: not a weights file, or a damaged one"):
            load(path)


def test_settings_of_pairs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    given = {"view": [32, 40, 48], "control": 12, "reach": 30, "steps": 9, "channels": 8, "spacing": 6, "smoothness": 0}
    given["non_local"] = False
    path.write_text(json.dumps({"out": "o", "virtual": 1, "network": "pdd", "pairs": given}))
    config = read_config(path)
    assert config.network == "pdd"
    assert config.pairs == PairSettings((32, 40, 48), 12.0, 30.0, 9, 8, 6.0, 0.0, False)
    path.write_text(json.dumps({"out": "o", "virtual": 1}))
    assert read_config(path).network == "semantic"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"network": "u-net"}, "'network' must be one of semantic, plane, pdd"),
        ({"network": ["pdd"]}, "'network'"),
        ({"network": "pdd", "unlabelled": "more"}, "'unlabelled'"),
        ({"pairs": 3}, "'pairs'"),
        ({"pairs": {"rreach": 3}}, "'rreach'.*known are.*reach"),
        ({"pairs": {"view": [32, 32]}}, "'view'"),
        ({"pairs": {"view": [32, 32, 8]}}, "'view'.*from 16 on"),
        ({"pairs": {"view": [32, 32, "a"]}}, "'view'"),
        ({"pairs": {"control": 0}}, "'control'"),
        ({"pairs": {"reach": -3}}, "'reach'"),
        ({"pairs": {"spacing": True}}, "'spacing'"),
        ({"pairs": {"smoothness": -0.1}}, "'smoothness'"),
        ({"pairs": {"steps": 2}}, "'steps'"),
        ({"pairs": {"steps": 5.5}}, "'steps'"),
        ({"pairs": {"channels": 0}}, "'channels'"),
        ({"pairs": {"non_local": 1}}, "'non_local' must be true or false"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, change: dict, word: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"out": "o", "virtual": 1} | change))
    with pytest.raises(InputError, match=word) as error:
        read_config(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
