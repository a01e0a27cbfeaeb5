"""`ScanSource`: a labelled scan that training draws deformed, noisier or brighter copies from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .files import read_labels, read_volume
from .image import Image
from .lattice import sample
from .scan import Affine, Scan, prepare
from .structures import NUMBER, STRUCTURES, structure_of
from .synthesis import SPACING, Frame, Noise, Sample, indices, pose
from .tensors import to_tensor
from .training_config import LabelledScan


class ScanSource:
    """A scan at SPACING and its structures, ready to be drawn from."""

    def __init__(self, case: LabelledScan) -> None:
        """Raises InputError, naming the file, when the scan or its labels cannot be used."""
        self.name = case.image.parent.name
        image = read_volume(case.image)[0]
        self.scan, self._structures, self.annotated = prepared(image, read_labels(case.labels, image.grid)[0], case)
        middles = [np.mean(np.nonzero(self._structures == n), axis=1)[::-1] for n in sorted(self.annotated)]
        points = self.scan.grid.index_to_point(np.array(middles))
        self._frame = Frame.around(points, points[:, 2])

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
        hu = hu + soft * rng.normal(0, 15) + rng.uniform(0, 20) * noise.white(*shape)
        hu = torch.where(inside & (body > 0.5), hu.clamp(-1000, 1000), -1000.0)
        return Sample(torch.stack([hu, (body > 0.5).float(), (view > 0.5).float()]), structures)


def prepared(image: Image, labels: Image, case: LabelledScan) -> tuple[Scan, np.ndarray, frozenset[int]]:
    """A scan on a lattice of SPACING over its body, its structures there (D, H, W) int64, and which are told apart."""
    scan = prepare(image, SPACING, torch.device("cpu"))
    lattice = scan.box.isotropic(SPACING)
    near = labels.resample(lattice, labels=True).array
    structures = np.zeros(near.shape, np.int64)
    for value, name in case.names.items():
        structures[near == value] = NUMBER.get(structure_of(name) or "", 0)
    annotated = frozenset(np.unique(structures).tolist()) - {0}
    return scan.warped(lattice, Affine.identity()), structures, annotated


def dice(found: Tensor, structures: np.ndarray, annotated: frozenset[int]) -> dict[str, float]:
    """Dice of every annotated structure; found (structures, D, H, W) probabilities."""
    best = found.argmax(0)
    truth = to_tensor(structures).long()
    result = {}
    for number in sorted(annotated):
        ours, theirs = best == number, truth == number
        total = int(ours.sum()) + int(theirs.sum())
        result[STRUCTURES[number]] = 2 * int((ours & theirs).sum()) / total if total else 1.0
    return result
