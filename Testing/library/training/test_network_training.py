"""Training a network that predicts a field: it goes on where it was stopped, validates, and leaves weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from helpers.trunk import oblique_grid, write_anatomy, write_case
from pddnet.errors import InputError
from pddnet.io.weights_file import read_arrays, read_weights
from pddnet.networks.base import load
from pddnet.synthesis import anatomy as anatomies
from pddnet.training import loop as training
from pddnet.training import run as training_run
from pddnet.training import sources as training_sources
from pddnet.training.config import PairSettings, TrainingConfig, read_config
from pddnet.training.loop import train

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "training"
PAIRS = PairSettings(view=(24, 24, 24), channels=4, spacing=4.0)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An anatomy, and two scans to validate on."""
    monkeypatch.setattr(training_run, "LEAST_BODY_VOXELS", 50)
    monkeypatch.setattr(training, "LOG_EVERY", 2)
    monkeypatch.setattr(anatomies, "HULL_SPACING_MM", 8.0)
    monkeypatch.setattr(training_sources, "read_anatomy", cache(anatomies.read_anatomy))
    write_anatomy(tmp_path)
    for seed, name in enumerate(("one", "two")):
        write_case(tmp_path / "scans", name, seed, oblique_grid((34, 44, 46)))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["guided-skips", "svf-net"])
def test_stopped_and_resumed_gives_the_same_weights(name: str, data: Path) -> None:
    def config(folder: str) -> TrainingConfig:
        return TrainingConfig(
            out=data / folder, network=name, pairs=PAIRS, iterations=2, validate_every=2, seconds_kept=1e9,
            anatomies=(data / "trunk.nii.gz",), validation=data / "scans",
        )  # fmt: skip

    whole = train(config("whole"), device="cpu", warn=pytest.fail)
    assert whole.finished and 0.5 < whole.dice <= 1
    parts = [train(config("parts"), minutes=minutes, device="cpu", warn=pytest.fail) for minutes in (0.0, None)]
    assert [part.iterations for part in parts] == [1, 2]
    one, other = (read_arrays(data / folder / "best.npz") for folder in ("whole", "parts"))
    assert all(np.array_equal(one[each], other[each]) for each in one if each != "metadata")
    metadata = read_weights(whole.weights, name)[1]
    assert metadata["validation_dice"] == pytest.approx(whole.dice, abs=1e-4)
    assert (metadata["channels"], metadata["spacing"]) == (4, 4.0)
    assert load(name, whole.weights).sizes.channels == 4


def test_weights_of_other_sizes_are_refused_to_start_from(data: Path) -> None:
    task = training_run.NETWORK_TASKS["ha"](TrainingConfig(out=data, network="ha", pairs=PAIRS))
    task.save(task.network(), data / "w.npz", {})
    assert task.load(data / "w.npz").sizes == task.sizes  # type: ignore[attr-defined]
    other = PairSettings(view=(24, 24, 24), channels=6, spacing=4.0)
    with pytest.raises(InputError, match=r"w\.npz: its channels is 4; set 'channels' in 'pairs' to that"):
        training_run.NETWORK_TASKS["ha"](TrainingConfig(out=data, network="ha", pairs=other)).load(data / "w.npz")


@pytest.mark.parametrize("name", ["flownet_c", "ha", "guided", "guided_skips", "svf_net", "pwc"])
def test_the_configurations_of_the_papers_networks_hold_nothing_back_that_is_measured(name: str) -> None:
    config = read_config(CONFIGURATIONS / f"{name}.json")
    assert config.network == name.replace("_", "-")
    assert config.out.name == config.network
    assert {path.name.removesuffix(".nii.gz") for path in config.anatomies}.isdisjoint(
        {"spl_abdominal_atlas", "totalsegmentator_s0327"}
    )
    assert config.scans is not None and config.scans.parts[-2:] == ("labelled", "train")
