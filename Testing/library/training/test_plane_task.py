"""Training the network of axial slices: what it draws, that it learns, and that it leaves weights which load."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.trunk import oblique_grid, write_anatomy, write_case
from pddnet.core.hounsfield import AIR_HU
from pddnet.errors import InputError
from pddnet.features import plane_net
from pddnet.features.label_table import NUMBER
from pddnet.synthesis import anatomy as anatomies
from pddnet.synthesis.patient import Sample
from pddnet.training import run as training_run
from pddnet.training import sources as training_sources
from pddnet.training.config import TrainingConfig, read_config
from pddnet.training.loop import train
from pddnet.training.plane_dataset import APART, SLICES, PlaneDataset
from pddnet.training.tasks.plane import PlaneTask

CONFIGURATION = Path(__file__).resolve().parents[2] / "training" / "plane.json"
LIVER, LUNG = NUMBER["liver"], NUMBER["lung"]


class Bars:
    """A source of scans in which the liver is bright, the lung dark, and unknown what lies in the last column."""

    annotated = frozenset({LIVER, LUNG})

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """Draw: liver left of a line that moves by a voxel from slice to slice, lung right of it."""
        depth, _, width = shape
        line = width // 2 + torch.arange(depth).view(-1, 1, 1) % 4
        liver = (torch.arange(width).view(1, 1, -1) < line).expand(shape)
        structures = torch.where(liver, LIVER, LUNG)
        structures[..., -1] = -1
        body = torch.ones(shape)
        body[:, 0] = 0
        structures[:, 0] = 0
        hu = torch.where(liver, 60.0, -800.0)
        hu[:, 0] = AIR_HU
        return Sample(torch.stack([hu, body, torch.ones(shape)]), structures)


def test_a_number_is_the_same_slices_and_their_structures_lie_on_them() -> None:
    drawn, again = (list(itertools.islice(PlaneDataset([Bars()], [1.0], 1, 0), 6)) for _ in range(2))
    for one, other in zip(drawn, again, strict=True):
        assert all(map(torch.equal, one, other))
    assert len({item[0].shape for item in drawn}) > 1  # the size of the pixels is drawn, too
    for values, structures, annotated in drawn:
        assert values.shape == (3, SLICES, *structures.shape[1:])
        assert structures.shape[0] == SLICES
        assert values.shape[2] % plane_net.BLOCK == values.shape[3] % plane_net.BLOCK == 0
        assert set(structures.unique().tolist()) == {-1, 0, LIVER, LUNG}
        bright = values[0] > 0.5
        assert (bright == (structures == LIVER))[structures > 0].float().mean() > 0.97  # the rest lies on the border
        assert annotated.nonzero()[:, 0].tolist() == sorted({0, LIVER, LUNG})
        areas = (structures == LIVER).sum((1, 2))
        assert areas.unique().numel() > 1  # the line moves from slice to slice
    assert APART == 3


def test_it_learns_what_the_slices_show() -> None:
    task = PlaneTask(TrainingConfig(out=Path("nowhere"), network="plane", width=8))
    torch.manual_seed(0)
    net = task.network()
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for batch in itertools.islice(task.dataset([Bars()], [1.0], 0), 40):
        loss, dice = task.loss(net, *batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 3.0  # the logarithm of the number of structures, and the Dice's share
    assert losses[-1] < 0.3 * losses[0]
    assert dice > 0.8


@pytest.mark.slow
def test_training_leaves_weights_that_name_their_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "LEAST_BODY_VOXELS", 50)
    monkeypatch.setattr(anatomies, "HULL_SPACING_MM", 8.0)
    monkeypatch.setattr(training_sources, "read_anatomy", cache(anatomies.read_anatomy))
    write_anatomy(tmp_path)
    write_case(tmp_path / "scans", "one", 0, oblique_grid((34, 44, 46)))
    config = TrainingConfig(
        out=tmp_path / "out", network="plane", width=8, iterations=2, validate_every=2, data="made here",
        anatomies=(tmp_path / "trunk.nii.gz",), validation=tmp_path / "scans",
    )  # fmt: skip
    done = train(config, device="cpu", warn=pytest.fail)
    assert done.finished and 0 <= done.dice <= 1
    net = plane_net.load(done.weights)
    assert net.width == 8
    with pytest.raises(InputError, match="its width is 8; set 'width' to that"):
        PlaneTask(TrainingConfig(out=tmp_path, network="plane", width=16)).load(done.weights)
    assert np.isfinite(list(map(float, net.head.bias))).all()


def test_the_configuration_of_the_project_is_read() -> None:
    config = read_config(CONFIGURATION)
    assert (config.network, config.width) == ("plane", 24)
