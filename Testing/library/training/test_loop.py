"""The training loop: what it writes, that a stopped one goes on as if it had not, and what it does with bad files."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from helpers.trunk import anatomy, ct, label_map, oblique_grid, write_anatomy, write_case
from pddnet.errors import InputError
from pddnet.features.label_table import NUMBER
from pddnet.features.semantic_net import SemanticNet, inputs, load, save
from pddnet.io.weights_file import read_arrays, read_weights
from pddnet.synthesis import anatomy as anatomies
from pddnet.synthesis.patient import PatientSource
from pddnet.tensor.scan import Scan
from pddnet.training import datasets as training_data
from pddnet.training import loop as training
from pddnet.training import run as training_run
from pddnet.training import scans as training_scans
from pddnet.training import sources as training_sources
from pddnet.training.config import TrainingConfig
from pddnet.training.datasets import TwoScanDataset
from pddnet.training.loop import Outcome, train
from pddnet.training.run import TrainingRun, least_known_voxels
from pddnet.training.scans import ScanSource
from pddnet.training.segmentation_loss import segmentation_loss
from pddnet.training.sources import TrainingSources
from pddnet.training.tasks import semantic as training_semantic

SEED = 3  # of its scans the first have a body


def _make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "VIEW_SIZES", ((16, 24), (24,), (24, 32)))
    monkeypatch.setattr(training_run, "LEAST_BODY_VOXELS", 50)
    monkeypatch.setattr(training, "LOG_EVERY", 2)
    monkeypatch.setattr(training_run, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(training_sources, "VIRTUAL_SPACING_MM", 9.0)
    monkeypatch.setattr(anatomies, "HULL_SPACING_MM", 8.0)
    monkeypatch.setattr(training_sources, "read_anatomy", cache(anatomies.read_anatomy))
    monkeypatch.setattr(training_run, "_has_bfloat16", lambda device: False)  # the same numbers on every machine


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    _make_small(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An anatomy, a folder of scans to train on, and one to validate on."""
    folder = tmp_path_factory.mktemp("data")
    write_anatomy(folder)
    write_case(folder / "scans", "one")
    write_case(folder / "validation", "two", 1)
    return folder


def _config(folder: Path, data: Path, **changes: object) -> TrainingConfig:
    config = TrainingConfig(
        out=folder, anatomies=(data / "trunk.nii.gz",), scans=data / "scans", validation=data / "validation", width=8,
        iterations=4, validate_every=3, seed=SEED, seconds_kept=1e9, data="balls, ours",
    )  # fmt: skip
    return dataclasses.replace(config, **changes)


def _train(config: TrainingConfig, **settings: object) -> tuple[Outcome, list[str]]:
    told: list[str] = []
    return train(config, device="cpu", warn=told.append, **settings), told


def _log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _stopping(after: int) -> Callable[[float, str], None]:
    """A report that stops the run, as Ctrl-C does, when it is called for the n-th time."""
    calls = itertools.count(1)

    def report(share: float, text: str) -> None:
        if next(calls) == after:
            raise KeyboardInterrupt

    return report


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        _make_small(patch)
        outcome, told = _train(_config(folder, data))
    assert told == []
    assert outcome == Outcome(4, folder / "best.npz", outcome.dice, True)
    return folder


def test_what_a_training_writes(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == ["best.npz", "checkpoint.npz", "log.csv", "log.svg"]
    rows = _log(whole)
    assert [(int(row["iteration"]), row["validation"] == "nan") for row in rows] == [
        (2, True),
        (3, False),
        (4, True),
        (4, False),
    ]
    for row in rows:
        if row["validation"] == "nan":
            assert 0 < float(row["loss"]) < 10 and 0 <= float(row["dice"]) <= 1
        else:
            assert (row["loss"], row["dice"]) == ("nan", "nan") and 0 <= float(row["validation"]) <= 1
    assert "polyline" in (whole / "log.svg").read_text()


def test_the_best_weights_say_what_they_come_from(whole: Path, data: Path) -> None:
    arrays, metadata = read_weights(whole / "best.npz", "semantic")
    validations = {int(row["iteration"]): float(row["validation"]) for row in _log(whole) if row["loss"] == "nan"}
    best = max(validations, key=validations.get)
    assert metadata["validation_dice"] == pytest.approx(validations[best], abs=1e-4)
    assert metadata["training"]["iterations"] == best
    assert metadata["data"] == "balls, ours"
    assert metadata["training"]["settings"]["learning_rate"] == "0.003"
    assert str(data) not in json.dumps(metadata)  # where a user's files lie goes nobody else anything
    assert "trunk.nii.gz" in metadata["training"]["settings"]["anatomies"]
    assert load(whole / "best.npz").width == 8
    state = read_arrays(whole / "checkpoint.npz")
    if best == 4:
        assert all(np.allclose(arrays[n], state[f"average.{n}"], rtol=1e-3, atol=1e-6) for n in arrays)
    assert any(not np.allclose(state[f"net.{n}"], state[f"average.{n}"]) for n in arrays)


@pytest.mark.slow
def test_stopped_and_resumed_gives_the_same_weights(whole: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ends = []
    for minutes in (0.0, 0.0, None):
        outcome, _ = _train(_config(folder, data), minutes=minutes)
        ends.append((outcome.iterations, outcome.finished))
    assert ends == [(1, False), (2, False), (4, True)]
    one, other = read_arrays(whole / "checkpoint.npz"), read_arrays(folder / "checkpoint.npz")
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert one["number.number"] == 4
    best, again = (read_arrays(f / "best.npz") for f in (whole, folder))
    assert all(np.array_equal(best[name], again[name]) for name in best if name != "metadata")
    assert [row["iteration"] for row in _log(folder)] == [row["iteration"] for row in _log(whole)]
    assert [r["validation"] for r in _log(folder)] == [r["validation"] for r in _log(whole)]


@pytest.mark.slow
def test_interrupted_between_checkpoints(whole: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _train(_config(folder, data), minutes=0.0)
    with pytest.raises(KeyboardInterrupt):
        _train(_config(folder, data), report=_stopping(2))
    assert [int(row["iteration"]) for row in _log(folder)] == [2, 3, 4]  # more than the checkpoint knows
    assert read_arrays(folder / "checkpoint.npz")["number.number"] == 1
    outcome, _ = _train(_config(folder, data))
    assert outcome.iterations == 4
    assert [row["iteration"] for row in _log(folder)] == [row["iteration"] for row in _log(whole)]
    one, other = read_arrays(whole / "checkpoint.npz"), read_arrays(folder / "checkpoint.npz")
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_interrupted_before_the_first_checkpoint_the_log_begins_anew(data: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _train(_config(tmp_path, data, validation=None), report=_stopping(2))
    assert not (tmp_path / "checkpoint.npz").exists()
    _train(_config(tmp_path, data, validation=None))
    assert [int(row["iteration"]) for row in _log(tmp_path)] == [2, 3, 4, 4]


def test_a_finished_training_learns_no_more(whole: Path, data: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    outcome, _ = _train(_config(whole, data))
    assert outcome.finished and outcome.iterations == 4
    assert outcome.dice == pytest.approx(
        json.loads(str(read_arrays(whole / "best.npz")["metadata"]))["validation_dice"]
    )
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_a_checkpoint_that_cannot_be_used(whole: Path, data: Path, tmp_path: Path) -> None:
    content = (whole / "checkpoint.npz").read_bytes()
    checkpoint = tmp_path / "checkpoint.npz"
    for size in (0, 100, len(content) // 2, len(content) - 10):
        checkpoint.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"checkpoint\.npz: the checkpoint is damaged.*begin anew"):
            _train(_config(tmp_path, data))
    checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.npz: the checkpoint is .*of another network"):
        _train(_config(tmp_path, data, width=16))
    assert checkpoint.read_bytes() == content
    np.savez(checkpoint, a=np.zeros(3))
    with pytest.raises(InputError, match=r"checkpoint\.npz"):
        _train(_config(tmp_path, data))


@pytest.mark.slow
def test_an_interrupted_checkpoint_leaves_the_one_before(whole: Path, data: Path, tmp_path: Path, monkeypatch) -> None:
    content = (whole / "checkpoint.npz").read_bytes()
    (tmp_path / "checkpoint.npz").write_bytes(content)

    def interrupted(stream, **arrays) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _train(_config(tmp_path, data, iterations=5))
    assert (tmp_path / "checkpoint.npz").read_bytes() == content


@pytest.mark.slow
def test_from_given_weights(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(9)
    given = SemanticNet(8)
    save(given, tmp_path / "init.npz", {})
    _train(_config(tmp_path / "a", data, learning_rate=0.0), init=tmp_path / "init.npz", minutes=0.0)
    state = read_arrays(tmp_path / "a" / "checkpoint.npz")
    for name, value in given.state_dict().items():
        stored = value.half().float().numpy()
        assert np.array_equal(state[f"net.{name}"], stored)
        assert np.allclose(state[f"average.{name}"], stored, rtol=1e-6)
    with pytest.raises(InputError, match=r"init\.npz.*width is 8"):
        _train(_config(tmp_path / "b", data, width=16), init=tmp_path / "init.npz")
    with pytest.raises(InputError, match=r"none\.npz"):
        _train(_config(tmp_path / "c", data), init=tmp_path / "none.npz")


@pytest.mark.slow
def test_without_validation_the_last_weights_are_kept(data: Path, tmp_path: Path) -> None:
    outcome, _ = _train(_config(tmp_path, data, validation=None, scans=None, iterations=3))
    assert math.isnan(outcome.dice)
    assert read_weights(outcome.weights, "semantic")[1]["training"]["iterations"] == 3


@pytest.mark.slow
def test_learning_lowers_the_loss(data: Path, tmp_path: Path) -> None:
    config = _config(tmp_path, data, iterations=40, learning_rate=0.01)
    batch = _batch()
    run = TrainingRun.start(config, None, torch.device("cpu"))
    losses = []
    for _ in range(12):
        run.step(*batch)
        losses.append(run.loss_sum)
        run.loss_sum = 0.0
    assert losses[-1] < 0.85 * losses[0]


def test_a_view_with_hardly_a_body_teaches_nothing(data: Path, tmp_path: Path) -> None:
    run = TrainingRun.start(_config(tmp_path, data), None, torch.device("cpu"))
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    values = torch.zeros(3, 16, 16, 16)
    values[1, 0, 0, :49] = 1
    run.step(values, torch.zeros(16, 16, 16, dtype=torch.long), torch.ones(42, dtype=torch.bool))
    assert run.number == 1
    assert all(torch.equal(value, before[name]) for name, value in run.net.state_dict().items())


@pytest.mark.slow
def test_a_log_without_a_step_tells_no_loss(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "LEAST_BODY_VOXELS", 10**9)
    told = []
    _train(_config(tmp_path, data), report=lambda share, text: told.append(text))
    assert [row["loss"] for row in _log(tmp_path)] == 4 * ["nan"]
    assert [row["dice"] for row in _log(tmp_path)] == 4 * ["nan"]
    assert all("loss nan" in text for text in told)
    assert (tmp_path / "log.svg").exists()


def test_what_is_unknown_neither_helps_nor_harms(data: Path, tmp_path: Path) -> None:
    """The loss of a step is that of the known voxels of both scans, computed by hand."""
    values, structures, annotated = _batch()
    structures[..., ::2] = -1
    run = TrainingRun.start(_config(tmp_path, data), None, torch.device("cpu"))
    known = (structures >= 0) & (values[:, 1] > 0.5)
    assert min(k.sum() for k in known) > 50 and structures[known].any()
    with torch.no_grad():
        logits = [run.net(inputs(scan)[None])[0] for scan in values]
    sides = zip(logits, known, structures, annotated, strict=True)
    by_hand = [segmentation_loss(found[:, here], names[here], told) for found, here, names, told in sides]
    loss, overlap = (sum(map(float, both)) / 2 for both in zip(*by_hand, strict=True))
    run.step(values, structures, annotated)
    assert (run.loss_sum, run.dice_sum) == pytest.approx((loss, overlap), rel=1e-4)
    nothing = TrainingRun.start(_config(tmp_path, data), None, torch.device("cpu"))
    nothing.step(values, torch.full_like(structures, -1), annotated)
    assert (nothing.number, nothing.count) == (1, 0)


def _batch() -> tuple[torch.Tensor, ...]:
    """The first drawn couple in which both scans have a body."""
    drawn = TwoScanDataset([PatientSource(anatomy())], [1.0], 2, 0)
    return next(b for b in drawn if least_known_voxels(*b[:2]) > 400)


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """A folder of a scan without labels, and one that cannot be read."""
    for name in ("one", "bad"):
        (write_case(tmp_path / "more", name) / "labels.nii.gz").unlink()
    (tmp_path / "more" / "bad" / "ct.nii.gz").write_bytes(b"no image")
    return tmp_path / "more"


@pytest.mark.slow
def test_unlabelled_scans_are_guessed_anew_at_every_validation(
    data: Path, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_scans, "LEAST_PROBABILITY", 0.0)  # nothing has been learned yet
    monkeypatch.setattr(training_scans, "FEWEST_STRUCTURES", 1)
    guessed, drawn, folder = [], [], tmp_path / "run"
    guess = ScanSource.from_guess

    def noted(scan: Scan, net: SemanticNet) -> ScanSource | None:
        best = folder / "best.npz"
        guessed.append(read_weights(best, "semantic")[1]["training"]["iterations"] if best.exists() else 0)
        assert not net.training
        return guess(scan, net)

    class Noted(TwoScanDataset):
        def __init__(self, sources: list, shares: list[float], seed: int, first: int) -> None:
            drawn.append(([type(source).__name__ for source in sources], shares, first))
            super().__init__(sources, shares, seed, first)

    monkeypatch.setattr(training_sources.ScanSource, "from_guess", staticmethod(noted))
    monkeypatch.setattr(training_semantic, "TwoScanDataset", Noted)
    config = _config(
        folder, data, scans=None, validation=None, unlabelled=unlabelled, validate_every=2, iterations=5,
        shares=(0.25, 0.0, 1.0, 0.75),
    )  # fmt: skip
    outcome, told = _train(config)
    assert outcome.finished and outcome.iterations == 5
    assert guessed == [0, 2, 4]  # with what had just been validated
    assert drawn == [(["PatientSource", "ScanSource"], [0.25, 0.75], first) for first in (0, 2, 4)]
    assert len(told) == 1 and str(unlabelled / "bad" / "ct.nii.gz") in told[0] and "\n" not in told[0]
    losses = [float(row["loss"]) for row in _log(folder) if row["loss"] != "nan"]
    assert len(losses) == 3 and all(0 < loss < 10 for loss in losses)


@pytest.mark.slow
def test_where_nothing_is_guessed_yet_the_others_are_drawn(
    data: Path, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_scans, "LEAST_PROBABILITY", 1.01)
    outcome, _ = _train(_config(tmp_path / "run", data, scans=None, unlabelled=unlabelled, iterations=1))
    assert outcome.finished
    with pytest.raises(InputError, match="none: there is no such folder"):
        _train(_config(tmp_path / "b", data, unlabelled=tmp_path / "none"))


def test_donors_lend_and_are_not_drawn(data: Path, tmp_path: Path) -> None:
    lender, mine = write_anatomy(tmp_path, "lender"), write_anatomy(tmp_path, "mine")
    told: list[str] = []
    config = _config(
        tmp_path, data, anatomies=(mine, data / "trunk.nii.gz"), donors=(lender, tmp_path / "none.nii.gz"), scans=None
    )
    drawn, virtual, scans = TrainingSources.read(config, told.append).labelled
    assert [source.anatomy.name for source in drawn] == ["mine", "trunk"]
    assert (virtual, scans) == ([], [])
    others = {source.anatomy.name: [other.anatomy.name for other in source.others] for source in drawn}
    assert others == {"mine": ["trunk", "lender"], "trunk": ["mine", "lender"]}
    assert len(told) == 1 and "none" in told[0] and "\n" not in told[0]
    with pytest.raises(InputError, match="nothing is left to learn from"):
        TrainingSources.read(dataclasses.replace(config, anatomies=(), donors=(lender,)), told.append)


@pytest.mark.slow
def test_bad_files_are_named_and_left_out(data: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for name in ("good", "no_labels", "truncated", "no_names", "no_structures", "other_kind"):
        write_case(scans, name)
    (scans / "no_labels" / "labels.nii.gz").unlink()
    volume = scans / "truncated" / "ct.nii.gz"
    volume.write_bytes(volume.read_bytes()[:2000])
    (scans / "no_names" / "labels.json").write_text("[]")
    (scans / "no_structures" / "labels.json").write_text('{"2": "the moon"}')
    sitk.WriteImage(sitk.Cast(ct(oblique_grid()).to_sitk(), sitk.sitkInt16), str(scans / "other_kind/labels.nii.gz"))
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    (tmp_path / "bad.json").write_text('{"1": "liver"}')
    anatomies = (tmp_path / "missing.nii.gz", data / "trunk.nii.gz", tmp_path / "bad.nii.gz")
    outcome, told = _train(
        _config(tmp_path / "run", data, anatomies=anatomies, scans=scans, validation=scans, iterations=1)
    )
    assert outcome.finished
    bad = ["missing", "bad.nii.gz"] + 2 * ["no_labels", "truncated", "no_names", "no_structures", "other_kind"]
    assert len(told) == len(bad)
    for name in set(bad):
        assert sum(f"/{name}" in text for text in told) == bad.count(name), name
    assert all("\n" not in text for text in told)


def test_nothing_left_to_learn_from(data: Path, tmp_path: Path) -> None:
    (tmp_path / "scans" / "x").mkdir(parents=True)
    nothing = {"anatomies": (tmp_path / "missing.nii.gz",), "scans": tmp_path / "scans", "validation": None}
    with pytest.raises(InputError, match="nothing is left to learn from"):
        _train(_config(tmp_path / "run", data, **nothing))
    with pytest.raises(InputError, match="no such folder"):
        _train(_config(tmp_path / "run", data, scans=tmp_path / "none"))
    with pytest.raises(InputError, match="shares"):
        _train(_config(tmp_path / "run", data, scans=None, shares=(0.0, 1.0, 1.0, 1.0)))


@pytest.mark.slow
def test_virtual_patients_take_part(data: Path) -> None:
    config = _config(data, data, virtual=1, shares=(3.0, 2.0, 4.0, 1.0), hard=0.3)
    sources, shares = TrainingSources.read(config, pytest.fail).guess(SemanticNet(8))
    assert shares == [3.0, 2.0, 4.0]
    assert [type(source).__name__ for source in sources] == ["PatientSource", "PatientSource", "ScanSource"]
    names = ("liver", "sacrum", "vertebra_L3", "colon", "kidney")
    assert {NUMBER[name] for name in names} <= sources[1].annotated
    assert sources[2].annotated == sources[0].annotated
    assert [getattr(source, "hard", None) for source in sources] == [0.3, 0.0, None]  # those of maps alone


@pytest.mark.slow
def test_a_missing_label_map_does_not_reach_training(data: Path, tmp_path: Path) -> None:
    """An empty label map is no reason to stop, but nothing to learn from either."""
    case = write_case(tmp_path / "scans", "empty")
    grid = oblique_grid()
    empty = sitk.GetImageFromArray(np.zeros(grid.shape, np.uint8))
    empty.CopyInformation(label_map(grid).to_sitk())
    sitk.WriteImage(empty, str(case / "labels.nii.gz"))
    _, told = _train(_config(tmp_path / "run", data, scans=tmp_path / "scans", iterations=1))
    assert len(told) == 1 and "empty" in told[0]
