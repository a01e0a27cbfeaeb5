"""Data sets draw the same scan for a number, as often as asked; scans are augmented; Dice by structure."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from helpers.samples import FIXED, body, save
from helpers.trunk import MIDDLE, NAMES, label_at, oblique_grid, place, write_case
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from pddnet.errors import InputError
from pddnet.features.label_table import NUMBER, STRUCTURES, structure_of
from pddnet.features.semantic_net import SemanticNet
from pddnet.synthesis.patient import Sample
from pddnet.tensor.convert import to_tensor
from pddnet.tensor.scan import Scan
from pddnet.training import scans as training_scans
from pddnet.training.config import ScanFiles
from pddnet.training.datasets import MOST_VOXELS, VIEW_SIZES, ScanDataset, TwoScanDataset
from pddnet.training.scans import LEAST_PROBABILITY, ScanSource, dice_by_structure, read_unlabelled
from pddnet.training.segmentation_loss import FOREIGN


class Fixed:
    """A source that tells who drew, at which size and with which seed."""

    def __init__(self, number: int) -> None:
        self.number, self.annotated = number, frozenset({number})

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        return Sample(torch.tensor([self.number, *shape, seed]), torch.tensor([self.number]))


def _drawn(shares: list[float], count: int, seed: int = 1, first: int = 0) -> list[list[int]]:
    sources = [Fixed(3 + n) for n in range(len(shares))]
    return [item[0].tolist() for item in itertools.islice(ScanDataset(sources, shares, seed, first), count)]


def test_a_number_is_the_same_scan_wherever_drawing_begins() -> None:
    whole = _drawn([1, 2], 12)
    assert _drawn([1, 2], 12) == whole
    assert _drawn([1, 2], 5, first=7) == whole[7:]
    assert _drawn([1, 2], 12, seed=2) != whole
    assert len({tuple(item) for item in whole}) == 12


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_that_take_turns_draw_the_same_row(processes: int) -> None:
    drawn = ScanDataset([Fixed(3), Fixed(4)], [1, 2], 1, 7)
    loader = DataLoader(drawn, batch_size=None, num_workers=processes)
    assert [item[0].tolist() for item in itertools.islice(loader, 8)] == _drawn([1, 2], 8, first=7)


def test_a_couple_is_of_one_shape_and_of_sources_by_the_shares() -> None:
    drawn = list(itertools.islice(TwoScanDataset([Fixed(3), Fixed(4)], [1.0, 3.0], 1, 0), 200))
    values, structures, annotated = drawn[0]
    assert values.shape == (2, 5) and structures.shape == (2, 1) and annotated.shape == (2, len(STRUCTURES))
    assert all(torch.equal(one[1:4], other[1:4]) and one[4] != other[4] for (one, other), *_ in drawn)
    assert all(told[0, int(one)] and told[1, int(other)] for _, (one, other), told in drawn)
    assert 0.65 < np.mean([int(n) == 4 for _, both, _ in drawn for n in both]) < 0.85
    again = next(iter(TwoScanDataset([Fixed(3), Fixed(4)], [1.0, 3.0], 1, 7)))
    assert torch.equal(again[0], drawn[7][0])


class Ill(Fixed):
    """A source whose second voxel is pathology."""

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        return Sample(torch.zeros(2), torch.tensor([self.number, 0]), None, torch.tensor([False, True]))


def test_pathology_that_is_no_structure_has_a_number_of_its_own_in_couples_alone() -> None:
    _, structures, _ = next(iter(TwoScanDataset([Ill(3)], [1.0], 1, 0)))
    assert structures.tolist() == [[3, FOREIGN]] * 2
    _, alone, _ = next(iter(ScanDataset([Ill(3)], [1.0], 1, 0)))
    assert alone.tolist() == [3, 0]


def test_sources_are_drawn_as_often_as_their_shares_say() -> None:
    count = Counter(item[0] for item in _drawn([1.0, 3.0, 0.0], 600))
    assert count[5] == 0
    assert abs(count[4] / 600 - 0.75) < 0.06  # three standard deviations


def test_sizes_fit_the_network_and_the_memory() -> None:
    for _, *shape, _ in _drawn([1], 200):
        assert all(n % 8 == 0 and n in sizes for n, sizes in zip(shape, VIEW_SIZES, strict=True))
        assert np.prod(shape) <= MOST_VOXELS
    assert len({item[1] for item in _drawn([1], 200)}) == len(VIEW_SIZES[0])  # from slabs to the trunk


def test_what_is_annotated_includes_the_background() -> None:
    _, structures, annotated = next(iter(ScanDataset([Fixed(7)], [1.0], 1, 0)))
    assert annotated.nonzero()[:, 0].tolist() == [0, 7]
    assert len(annotated) == len(STRUCTURES)
    assert structures.tolist() == [7]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ScanSource:
    case = write_case(tmp_path_factory.mktemp("scans"), "ball")
    return ScanSource.read(ScanFiles(case / "ct.nii.gz", case / "labels.nii.gz", NAMES))


def test_of_a_complete_map_what_it_does_not_show_is_not_there(tmp_path: Path) -> None:
    case = write_case(tmp_path, "ball")
    names = NAMES | {200: "autochthon_left", 201: "spinal_cord"}  # none of their voxels is in the view
    source = ScanSource.read(ScanFiles(case / "ct.nii.gz", case / "labels.nii.gz", names))
    assert source.annotated == set(range(1, len(STRUCTURES)))


def _unposed(patch: pytest.MonkeyPatch, shape: tuple[int, int, int], offset: tuple = (0, 0, 0)) -> np.ndarray:
    """The LPS points (D, H, W, 3) that the voxels of the next scans show."""
    grid = Grid(shape, np.full(3, 4.0), MIDDLE + offset - (np.array(shape[::-1]) - 1) * 2.0, np.eye(3))
    where = to_tensor(np.moveaxis(grid.points(), -1, 0))
    patch.setattr(training_scans, "random_pose", lambda frame, size, rng, noise: where)
    return grid.points()


def test_a_scan_drawn_without_a_pose_is_the_scan(source: ScanSource, monkeypatch: pytest.MonkeyPatch) -> None:
    assert source.annotated == {NUMBER[n] for n in ("liver", "spleen", "kidney", "vertebra_L1", "lung")}
    shape = (30, 30, 30)
    points = _unposed(monkeypatch, shape)
    expected = label_at(points, edge=7.0)
    drawn = source.draw(shape, 4)
    hu, body, view = drawn.values.numpy()
    near = np.linalg.norm((points - MIDDLE) / [1.0, 0.9, 1.3], axis=-1)
    assert (body[near < 55] == 1).all() and (body[near > 105] == 0).all()
    assert (view[near < 60] == 1).all()
    assert (hu[body == 0] == -1000).all()
    for label, name in NAMES.items():
        here = (expected == label) & (near < 85)
        number = NUMBER.get(structure_of(name) or "", 0)
        if here.sum() > 3:
            assert (drawn.structures.numpy()[here] == number).all(), name
    shift = [hu[(expected == n) & (near < 85)].mean() - 40 * n for n in (2, 3, 5)]
    assert np.ptp(shift) < 12  # all soft tissue is brighter or darker by the same
    assert abs(np.mean(shift)) < 50


def test_beyond_the_scan_nothing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = write_case(tmp_path, "narrow", grid=oblique_grid((24, 30, 32)))  # organs reach its sides
    source = ScanSource.read(ScanFiles(case / "ct.nii.gz", case / "labels.nii.gz", NAMES))
    points = _unposed(monkeypatch, (30, 30, 30))
    drawn = source.draw((30, 30, 30), 4)
    index = source.scan.grid.point_to_index(points)
    beyond = ((index < 0) | (index > source.scan.grid.size - 1)).any(-1)
    assert 0.3 < beyond.mean() < 0.95
    assert (drawn.values[1:, torch.as_tensor(beyond)] == 0).all()
    assert (drawn.values[0, torch.as_tensor(beyond)] == -1000).all()
    assert not drawn.structures[torch.as_tensor(beyond)].any()
    assert (label_at(points)[beyond] > 0).sum() > 100


def test_a_seed_gives_the_same_copy(source: ScanSource) -> None:
    one, same, other = (source.draw((16, 24, 24), seed) for seed in (5, 5, 6))
    assert torch.equal(one.values, same.values) and torch.equal(one.structures, same.structures)
    assert not torch.equal(one.values, other.values)
    assert one.structures.dtype == torch.int64


def _guessing(
    monkeypatch: pytest.MonkeyPatch, grid: Grid, names: dict[int, str], sure: dict[str, float]
) -> SemanticNet:
    """A network that names the balls of the trunk, sure by 0.9 or as said, and calls all air a liver."""

    def found(net: SemanticNet, values: Tensor) -> Tensor:
        assert not net.training
        labels = label_at(grid.points())
        result = torch.full((len(STRUCTURES), *grid.shape), 0.001)
        result[0] = torch.where(torch.as_tensor(labels == 0), 0.9, 0.0)
        for label, name in names.items():
            here = torch.as_tensor(labels == label)
            result[NUMBER.get(structure_of(name) or "", 0)][here] = sure.get(name, 0.9)
        result[NUMBER["liver"]][values[1] < 0.5] = 0.99
        return result

    monkeypatch.setattr(training_scans, "probabilities", found)
    return SemanticNet(8).eval()


@pytest.fixture
def guessable(tmp_path: Path) -> Scan:
    """An unlabelled scan of the trunk."""
    write_case(tmp_path, "one")
    (scan,), problems = read_unlabelled(tmp_path)
    assert problems == []
    return scan


def test_what_is_guessed_is_learned_from_where_it_is_sure(guessable: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    names = NAMES | {11: "stomach"}
    sure = {"spleen": LEAST_PROBABILITY - 0.02, "kidney_left": LEAST_PROBABILITY + 0.02}
    net = _guessing(monkeypatch, guessable.grid, names, sure)
    source = ScanSource.from_guess(guessable, net)
    assert source.annotated == set(range(1, len(STRUCTURES)))
    shape = (30, 30, 30)
    points = _unposed(monkeypatch, shape)
    drawn = source.draw(shape, 4)
    structures, body = drawn.structures.numpy(), drawn.values[1].numpy() > 0
    expected = label_at(points, edge=5.0)
    known = {name: NUMBER[structure_of(name)] for name in names.values()}
    known |= {"spleen": -1, "vertebrae_L1": -1}  # unsure, and sure of what may be one off
    for label, name in names.items():
        here = (expected == label) & body
        assert here.sum() > 3 and (structures[here] == known[name]).all(), name
    assert (structures[(expected == 0) & body] == 0).all()
    assert (structures[~body] == 0).all()  # whatever the network says of the air
    assert drawn.structures.dtype == torch.int64


def test_air_that_a_network_names_is_no_structure(guessable: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to be learned from, nor to aim a view at, nor one of the structures that a scan must show."""
    names = {3: "spleen", 5: "kidney_left", 9: "lung_lower_lobe_left", 6: "vertebrae_L1"}
    assert ScanSource.from_guess(guessable, _guessing(monkeypatch, guessable.grid, names, {})) is None
    source = ScanSource.from_guess(guessable, _guessing(monkeypatch, guessable.grid, names | {11: "stomach"}, {}))
    assert np.allclose(sorted(source._frame.centres[:, 2]), sorted(place(n)[2] for n in (3, 5, 9, 11)), atol=3.0)


def test_scans_of_which_too_little_is_guessed_are_left_out(guessable: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    names = NAMES | {11: "stomach"}
    few = dict.fromkeys(("liver", "spleen"), LEAST_PROBABILITY - 0.02)  # and vertebrae do not count
    assert ScanSource.from_guess(guessable, _guessing(monkeypatch, guessable.grid, names, few)) is None
    enough = _guessing(monkeypatch, guessable.grid, names, {"liver": LEAST_PROBABILITY - 0.02})
    assert ScanSource.from_guess(guessable, enough) is not None


def test_unlabelled_scans_of_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a", "bad", ".part-c"):
        write_case(tmp_path, name)
    (tmp_path / "a" / "labels.nii.gz").unlink()  # needs none
    (tmp_path / "bad" / "ct.nii.gz").write_bytes(b"no image")
    scans, problems = read_unlabelled(tmp_path)
    assert len(scans) == 2
    for scan in scans:
        assert np.allclose(scan.grid.spacing, 4.0)
        assert scan.grid.contains(np.array([place(n) for n in NAMES])).all()
    assert len(problems) == 1 and str(tmp_path / "bad" / "ct.nii.gz") in problems[0]
    with pytest.raises(InputError, match=r"none: there is no such folder"):
        read_unlabelled(tmp_path / "none")


def test_one_copy_in_three_is_tinted_by_structure(source: ScanSource) -> None:
    structures = torch.arange(-1, len(STRUCTURES)).repeat_interleave(2)
    tints = [source._random_tint(structures, np.random.default_rng(seed)) for seed in range(150)]
    tinted = [tint for tint in tints if isinstance(tint, Tensor)]
    assert 30 < len(tinted) < 70
    for tint in tinted:
        assert tint.shape == structures.shape
        assert (tint[:2] == 0).all()  # what is unknown has no tint
        assert torch.equal(tint[::2], tint[1::2])
        assert len(tint.unique()) == len(STRUCTURES) + 1
    values = torch.stack(tinted)[:, 2:]
    assert abs(float(values.std()) - 30) < 3 and abs(float(values.mean())) < 4


def test_a_recoloured_copy_lies_where_the_scan_does(source: ScanSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels and body are the same as of the copy in HU; the values are signals, another for every seed."""
    plain = [source.draw((12, 16, 16), seed) for seed in (1, 2)]
    monkeypatch.setattr(source, "recolour", True)
    coloured = [source.draw((12, 16, 16), seed) for seed in (1, 2)]
    for hu, mr in zip(plain, coloured, strict=True):
        assert torch.equal(hu.structures, mr.structures)
        assert torch.equal(hu.values[2], mr.values[2])
        inside = mr.values[1] > 0
        assert (mr.values[0][~inside] == -1000).all()
        assert float(mr.values[0].min()) >= -1000 and float(mr.values[0].max()) == 0
        assert float(mr.values[0][inside].std()) > 50
        assert not torch.allclose(mr.values[0][inside], hu.values[0][inside], atol=50)


def _one_hot(labels: np.ndarray) -> Tensor:
    return torch.nn.functional.one_hot(torch.as_tensor(labels), len(STRUCTURES)).movedim(-1, 0).float()


def test_dice_of_every_annotated_structure(tmp_path: Path) -> None:
    liver, spleen, lung = (NUMBER[name] for name in ("liver", "spleen", "lung"))
    truth = np.array([[[liver, liver, liver, spleen, 0, 0]]])
    found = np.array([[[liver, liver, spleen, spleen, lung, 0]]])
    assert dice_by_structure(_one_hot(found), truth, frozenset({liver, spleen})) == {
        "liver": pytest.approx(2 * 2 / 5),
        "spleen": pytest.approx(2 * 1 / 3),
    }
    assert dice_by_structure(_one_hot(found) * 0, truth, frozenset({liver})) == {"liver": 0.0}  # no body: background
    assert dice_by_structure(_one_hot(truth), truth, frozenset({spleen, liver})) == {"spleen": 1.0, "liver": 1.0}
    doubtful = np.array([[[liver, liver, -1, spleen, -1, 0]]])
    assert dice_by_structure(_one_hot(found), doubtful, frozenset({liver, spleen})) == {"liver": 1.0, "spleen": 1.0}


def test_what_is_named_unknown_is_neither_a_structure_nor_background(
    source: ScanSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = write_case(tmp_path, "doubtful")
    names = {**NAMES, 3: "unknown"}
    doubtful = ScanSource.read(ScanFiles(case / "ct.nii.gz", case / "labels.nii.gz", names))
    assert doubtful.annotated == source.annotated - {NUMBER["spleen"]}
    shape = (30, 30, 30)
    _unposed(monkeypatch, shape)
    known, ours = (s.draw(shape, 4).structures for s in (source, doubtful))
    assert torch.equal(ours == -1, known == NUMBER["spleen"])
    assert torch.equal(ours[ours >= 0], known[ours >= 0])


def test_scans_to_learn_from_are_in_hu_or_named_as_a_problem(tmp_path: Path) -> None:
    hu = body(FIXED)
    changed = {"a": hu.array, "b": (hu.array + 1024).astype(np.uint16), "c": hu.array / np.float32(1000)}
    for name, array in changed.items():
        (tmp_path / name).mkdir()
        save(Image(array, FIXED), tmp_path / name / "ct.nii.gz")
    (first, second), problems = read_unlabelled(tmp_path)
    assert torch.equal(first.values, second.values)
    assert len(problems) == 1
    assert problems[0].startswith(f"{tmp_path / 'c' / 'ct.nii.gz'}: the values are no HU, they were normalised")
