"""`ScanSource`: a scan that training draws deformed, noisier or brighter copies from, with labels or guessed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.image import Image
from ..errors import InputError
from ..features.label_table import LEVELS, NUMBER, STRUCTURES, structure_of
from ..features.semantic_net import SemanticNet, probabilities
from ..io.label_names import UNKNOWN
from ..io.volumes import read_labels, read_volume
from ..synthesis.patient import SPACING, Frame, Noise, Sample, indices, pose, scanned
from ..tensor.convert import to_array, to_tensor
from ..tensor.lattice import sample
from ..tensor.scan import Scan, prepare
from .config import LabelledScan

SURE = 0.7  # least probability of a guess that is learned from
FEWEST = 4  # structures that a scan must show to be learned from unlabelled


class ScanSource:
    """A scan at SPACING and its structures, ready to be drawn from."""

    def __init__(self, scan: Scan, structures: np.ndarray, annotated: frozenset[int]) -> None:
        """From what `prepared` gives; structures (D, H, W), -1 where nothing is known."""
        self.scan, self._structures, self.annotated = scan, structures, annotated
        middles = [np.mean(np.nonzero(structures == n), axis=1)[::-1] for n in np.unique(structures) if n > 0]
        points = scan.grid.index_to_point(np.array(middles))
        self._frame = Frame.around(points, points[:, 2])

    @classmethod
    def read(cls, case: LabelledScan) -> ScanSource:
        """Raises InputError, naming the file, when the scan or its labels cannot be used."""
        image = read_volume(case.image)[0]
        return cls(*prepared(image, read_labels(case.labels, image.grid)[0], case))

    @classmethod
    def guessed(cls, scan: Scan, net: SemanticNet) -> ScanSource | None:
        """A scan on a lattice of SPACING with what the network is sure of; None where that is too little.

        Vertebrae count as unknown: the network may well be sure and one off.
        """
        found = probabilities(net, scan.values.to(next(net.parameters()).device))
        sure, best = (to_array(x) for x in found.max(0))
        unknown = (sure < SURE) | (best >= NUMBER[f"vertebra_{LEVELS[0]}"])
        structures = np.where(unknown, -1, best) * (to_array(scan.body) > 0.5)
        if len(np.unique(structures[structures > 0])) < FEWEST:
            return None
        return cls(scan, structures, frozenset(range(1, len(STRUCTURES))))

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """A copy in another pose, with other noise and other soft tissue contrast."""
        rng, noise = np.random.default_rng(seed), Noise(seed, torch.device("cpu"))
        points = pose(self._frame, shape, rng, noise)
        index = indices(points, self.scan.grid)
        size = torch.tensor(self.scan.grid.shape).view(3, 1, 1, 1)
        inside = ((index >= 0) & (index <= size - 1)).all(0)
        hu, body, view = sample(self.scan.values, index) * inside
        k, j, i = torch.minimum(index.round().long().clamp(min=0), size - 1)
        structures = to_tensor(self._structures).long()[k, j, i] * (inside & (body > 0.5))
        soft = (hu > -200) & (hu < 300)
        hu = hu + soft * (rng.normal(0, 15) + self._tinted(structures, rng))
        hu = scanned(hu, rng, noise)
        hu = torch.where(inside & (body > 0.5), hu.clamp(-1000, 1000), -1000.0)
        return Sample(torch.stack([hu, (body > 0.5).float(), (view > 0.5).float()]), structures)

    def _tinted(self, structures: Tensor, rng: np.random.Generator) -> Tensor | float:
        """HU to add to each structure, for one copy in three: as if more or less contrast medium had come there."""
        if rng.random() > 1 / 3:
            return 0.0
        return to_tensor(np.append(rng.normal(0, 30, len(STRUCTURES)), 0.0))[structures]


def unlabelled(folder: Path) -> tuple[list[Scan], list[str]]:
    """The scans of a folder, each on a lattice of SPACING, and a sentence for each that cannot be used.

    Raises:
        InputError: the folder is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of scans")
    scans, problems = [], []
    for path in sorted(folder.glob("[!.]*/ct.nii.gz")):
        try:
            scans.append(_coarse(read_volume(path)[0]))
        except InputError as error:
            problems.append(str(error))
    return scans, problems


def _coarse(image: Image) -> Scan:
    scan = prepare(image, SPACING, torch.device("cpu"))
    return scan.warped(scan.box.isotropic(SPACING), Affine.identity())


def prepared(image: Image, labels: Image, case: LabelledScan) -> tuple[Scan, np.ndarray, frozenset[int]]:
    """A scan on a lattice of SPACING over its body, its structures there (D, H, W) int64, and which are told apart.

    -1 where the label map says UNKNOWN.
    """
    scan = _coarse(image)
    near = labels.resample(scan.grid, labels=True).array
    structures = np.zeros(near.shape, np.int64)
    for value, name in case.names.items():
        structures[near == value] = -1 if name == UNKNOWN else NUMBER.get(structure_of(name) or "", 0)
    annotated = frozenset(np.unique(structures).tolist()) - {0, -1}
    return scan, structures, annotated


def dice(found: Tensor, structures: np.ndarray, annotated: frozenset[int]) -> dict[str, float]:
    """Dice of every annotated structure where something is known; found (structures, D, H, W) probabilities."""
    truth = to_tensor(structures).long()
    best = torch.where(truth < 0, -1, found.argmax(0))
    result = {}
    for number in sorted(annotated):
        ours, theirs = best == number, truth == number
        total = int(ours.sum()) + int(theirs.sum())
        result[STRUCTURES[number]] = 2 * int((ours & theirs).sum()) / total if total else 1.0
    return result
