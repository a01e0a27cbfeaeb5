"""Draw augmented copies of a real scan for training, with its labels or with a network's predictions (`ScanSource`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.affine import Affine
from ..core.hounsfield import AIR_HU, FEATURE_RANGE_HU, SOFT_TISSUE_HU
from ..core.image import Image
from ..core.intensity import to_hu
from ..errors import InputError
from ..features.label_table import LEVELS, NUMBER, STRUCTURES, structure_of, told_apart
from ..features.semantic_net import SEMANTIC_SPACING_MM, SemanticNet, probabilities
from ..io.label_names import UNKNOWN
from ..io.volumes import read_labels, read_volume
from ..synthesis.magnetic import recoloured, simulate_mr
from ..synthesis.noise import Noise
from ..synthesis.patient import Sample
from ..synthesis.pose import random_pose
from ..synthesis.scanner import simulate_scanner
from ..synthesis.source import Frame, continuous_indices
from ..tensor.convert import to_array, to_tensor
from ..tensor.lattice import sample
from ..tensor.scan import Scan, prepare
from .config import ScanFiles

LEAST_PROBABILITY = 0.7  # of a prediction that is learned from
FEWEST_STRUCTURES = 4  # that an unlabelled scan must show to be learned from
SOFT_TISSUE_SHIFT_HU = 15.0  # standard deviation, one for all soft tissue of a copy; air and compact bone stay
TINTED = 1 / 3  # share of copies whose structures are brighter or darker each
TINT_HU = 30.0  # standard deviation

AnnotatedScan = tuple[Scan, np.ndarray, frozenset[int]]
"""A scan in voxels of SEMANTIC_SPACING_MM over its body; its structures there (D, H, W) int64, -1 where unknown;
the structures that its labels tell apart."""


class ScanSource:
    """Sampler of training for real scans: draws copies of a scan by seed."""

    def __init__(self, scan: Scan, structures: np.ndarray, annotated: frozenset[int]) -> None:
        """Store the parts of an `AnnotatedScan`."""
        self.scan = scan
        self.recolour = False  # whether copies take the contrasts of MR
        self.annotated = annotated
        self._structures = structures
        centres = [np.mean(np.nonzero(structures == n), axis=1)[::-1] for n in np.unique(structures) if n > 0]
        points = scan.grid.index_to_point(np.array(centres))
        self._frame = Frame.around(points, points[:, 2])

    @classmethod
    def read(cls, case: ScanFiles) -> ScanSource:
        """Read a scan and its labels; raise InputError, naming the file, when one of them cannot be used."""
        scan, structures, present = read_labelled(case)
        return cls(scan, structures, told_apart(case.names.values(), present))

    @classmethod
    def from_guess(cls, scan: Scan, net: SemanticNet) -> ScanSource | None:
        """Make a source of a scan in voxels of SEMANTIC_SPACING_MM, labelled with the network's confident predictions.

        Return None where these are too few.

        Vertebrae count as unknown: the network may be confident and still one level off.
        """
        found = probabilities(net, scan.values.to(next(net.parameters()).device))
        probability, best = (to_array(x) for x in found.max(0))
        unknown = (probability < LEAST_PROBABILITY) | (best >= NUMBER[f"vertebra_{LEVELS[0]}"])
        structures = np.where(unknown, -1, best) * (to_array(scan.body) > 0.5)
        if len(np.unique(structures[structures > 0])) < FEWEST_STRUCTURES:
            return None
        return cls(scan, structures, frozenset(range(1, len(STRUCTURES))))

    def draw(self, shape: tuple[int, int, int], seed: int) -> Sample:
        """Augment the scan: return a copy of `shape` (D, H, W) in a random pose, with other soft tissue contrast and
        scanner noise."""
        rng = np.random.default_rng(seed)
        noise = Noise(seed, torch.device("cpu"), SEMANTIC_SPACING_MM)
        points = random_pose(self._frame, shape, rng, noise)
        index = continuous_indices(points, self.scan.grid)
        size = torch.tensor(self.scan.grid.shape).view(3, 1, 1, 1)
        inside = ((index >= 0) & (index <= size - 1)).all(0)
        hu, body, view = sample(self.scan.values, index) * inside
        in_body = inside & (body > 0.5)
        k, j, i = torch.minimum(index.round().long().clamp(min=0), size - 1)
        structures = to_tensor(self._structures).long()[k, j, i] * in_body
        if self.recolour:
            signal = recoloured(hu, structures, len(STRUCTURES), rng)
            hu = simulate_mr(torch.where(in_body, signal, 0.0), in_body, rng, noise)
            hu = torch.where(in_body, hu, AIR_HU)
            return Sample(torch.stack([hu, (body > 0.5).float(), (view > 0.5).float()]), structures)
        soft = (hu > SOFT_TISSUE_HU[0]) & (hu < SOFT_TISSUE_HU[1])
        hu = hu + soft * (rng.normal(0, SOFT_TISSUE_SHIFT_HU) + self._random_tint(structures, rng))
        hu = simulate_scanner(hu, rng, noise)
        hu = torch.where(in_body, hu.clamp(*FEATURE_RANGE_HU), AIR_HU)
        return Sample(torch.stack([hu, (body > 0.5).float(), (view > 0.5).float()]), structures, points=points)

    def _random_tint(self, structures: Tensor, rng: np.random.Generator) -> Tensor | float:
        """Draw HU to add to each structure (D, H, W): as if it had taken up more or less contrast medium; mostly
        none."""
        if rng.random() > TINTED:
            return 0.0
        tints = rng.normal(0, TINT_HU, len(STRUCTURES))
        return to_tensor(np.append(tints, 0.0))[structures]  # the last, for -1


def read_unlabelled(folder: Path) -> tuple[list[Scan], list[str]]:
    """Read the scans of a folder, on lattices of SEMANTIC_SPACING_MM, and a sentence for each that cannot be used.

    Raises:
        InputError: the folder is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of scans")
    scans, problems = [], []
    for path in sorted(folder.glob("[!.]*/ct.nii.gz")):
        try:
            scans.append(_on_training_lattice(_read_ct(path)))
        except InputError as error:
            problems.append(str(error))
    return scans, problems


def read_labelled(case: ScanFiles) -> AnnotatedScan:
    """Read a scan and its labels; raise InputError, naming the file, when one of them cannot be used."""
    image = _read_ct(case.image)
    return annotate(image, read_labels(case.labels, image.grid)[0], case.names)


def _read_ct(path: Path) -> Image:
    """Read a CT in HU; raise InputError, naming the file, where it is none. A lost intercept is put back."""
    return to_hu(read_volume(path)[0], str(path))[0]


def annotate(image: Image, labels: Image, names: dict[int, str]) -> AnnotatedScan:
    """Return a scan with the structures of its label map; -1 where the map says UNKNOWN. names: label -> name."""
    scan = _on_training_lattice(image)
    nearest = labels.resample(scan.grid, labels=True).array
    structures = np.zeros(nearest.shape, np.int64)
    for value, name in names.items():
        structures[nearest == value] = -1 if name == UNKNOWN else NUMBER.get(structure_of(name) or "", 0)
    annotated = frozenset(np.unique(structures).tolist()) - {0, -1}
    return scan, structures, annotated


def _on_training_lattice(image: Image) -> Scan:
    """Resample a scan to voxels of SEMANTIC_SPACING_MM over its body."""
    scan = prepare(image, SEMANTIC_SPACING_MM, torch.device("cpu"))
    return scan.warped(scan.box.isotropic(SEMANTIC_SPACING_MM), Affine.identity())


def dice_by_structure(found: Tensor, structures: np.ndarray, annotated: frozenset[int]) -> dict[str, float]:
    """Compute the Dice of every annotated structure, over known voxels; found (structures, D, H, W) probabilities."""
    truth = to_tensor(structures).long()
    best = torch.where(truth < 0, -1, found.argmax(0))
    result = {}
    for number in sorted(annotated):
        found_mask, true_mask = best == number, truth == number
        total = int(found_mask.sum()) + int(true_mask.sum())
        both = int((found_mask & true_mask).sum())
        result[STRUCTURES[number]] = 2 * both / total if total else 1.0
    return result
