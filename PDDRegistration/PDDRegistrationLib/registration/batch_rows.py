"""List the pairs of a batch: volumes of the scene against the fixed one, or the rows of a table (`BatchRow`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import slicer

from pddnet.batch.jobs import Job, Outputs, outputs_of
from pddnet.batch.pairs import SCANS, Pair, from_table, short_names, stem
from pddnet.batch.records import Outcome, whole

from ..scene.nodes import isSame
from ..scene.provenance import isOutput
from .defaults import shown
from .outputs import OUTPUT_FIELDS
from .parameters import RegistrationParameters

ENDING = ".nrrd"  # of the files of volumes
LONGEST = 40  # characters of a volume's name in that of its file: a pair is called after two, and may have 100


@dataclass(frozen=True, eq=False)
class BatchRow:
    """One pair. Of a table the pair has the paths of its files, and no nodes; only these paths travel.

    Of the scene it has both volumes, and the pair the names of the files that are written of them when its turn comes.
    """

    pair: Pair
    fixedVolume: slicer.vtkMRMLScalarVolumeNode | None = None
    movingVolume: slicer.vtkMRMLScalarVolumeNode | None = None

    @property
    def key(self) -> str:
        """Return what tells the pair from others, also when the list has changed or another volume is the fixed one."""
        nodes = [node for node in (self.movingVolume, self.fixedVolume) if node is not None]
        return " ".join([self.pair.id, *(node.GetID() for node in nodes)])

    @property
    def tickKey(self) -> str:
        """Return what is ticked: a row of a table, or a volume of the scene, whichever is the fixed one."""
        return self.pair.id if self.movingVolume is None else self.movingVolume.GetID()

    @property
    def places(self) -> tuple[str, str]:
        """Return the names of the fixed and the moving volume, or the paths of their files."""
        if self.fixedVolume is None or self.movingVolume is None:
            return self.pair.files["fixed"], self.pair.files["moving"]
        return self.fixedVolume.GetName(), self.movingVolume.GetName()

    def name(self, side: str) -> str:
        """Return a short name of the fixed or the moving scan."""
        return short_names([self.pair.files[side] for side in SCANS])[SCANS.index(side)]

    def job(self, folder: Path) -> Job:
        """Return the pair with the names of its results, as the command has it, but for its settings."""
        return Job(self.pair.id, str(folder / self.pair.id), self.pair.files, [], outputs_of(self.pair, Outputs()))


def rowsOfScene(parameters: RegistrationParameters, scene: slicer.vtkMRMLScene) -> tuple[BatchRow, ...]:
    """List all volumes of the scene but the fixed one and what registrations made or will make; none without it.

    Pairs are called after both volumes, and volumes have the same names whichever is the fixed one: results of several
    fixed volumes lie in one folder.
    """
    fixed = parameters.fixedVolume
    others = [fixed, *(getattr(parameters, name) for name in OUTPUT_FIELDS)]
    volumes = [node for node in shown(scene, "vtkMRMLScalarVolumeNode") if not isOutput(node)]
    moving = [node for node in volumes if not any(isSame(node, other) for other in others)]
    if fixed is None or not moving:
        return ()
    if not any(isSame(node, fixed) for node in volumes):
        volumes.append(fixed)
    names = dict(zip((node.GetID() for node in volumes), fileNames(volumes), strict=True))
    return tuple(BatchRow(_pairOf(names[fixed.GetID()], names[node.GetID()]), fixed, node) for node in moving)


def _pairOf(fixed: str, moving: str) -> Pair:
    """Return the pair of two files of volumes."""
    return Pair(f"{stem(moving)}_to_{stem(fixed)}", {"fixed": fixed, "moving": moving}, {})


def rowsOfTable(path: str | Path) -> tuple[BatchRow, ...]:
    """Read the rows of a CSV file.

    Raises:
        InputError: see `pddnet.batch.pairs.from_table`.
    """
    return tuple(BatchRow(pair) for pair in from_table(Path(path)))


def earlierOutcomes(rows: Sequence[BatchRow], folder: Path) -> dict[str, Outcome]:
    """Return what earlier runs, also of the command, made of the same files in a folder, by the rows' keys.

    With which settings that was is not asked.
    """
    found = {row.key: whole(row.job(folder), at_once=True) for row in rows}
    ids = {row.key: row.pair.id for row in rows}
    return {key: Outcome(ids[key], known, kept=True) for key, known in found.items() if known is not None}


def fileNames(volumes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> list[str]:
    """Name a file for each volume, all different, also where capitals do not count."""
    names: list[str] = []
    for volume in volumes:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", volume.GetName()).strip("._-")[:LONGEST] or "scan"
        taken = [name.lower() for name in names]
        tries = (f"{base}{ending}{ENDING}" for ending in ("", *(f"-{number}" for number in range(2, len(volumes) + 2))))
        names.append(next(name for name in tries if name.lower() not in taken))
    return names
