"""Read the sources that a training draws from, as its configuration names them: anatomies, virtual patients, scans."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import nn

from ..errors import InputError
from ..features.semantic_net import SemanticNet
from ..phantom import phantom
from ..synthesis.anatomy import Anatomy, read_anatomy
from ..synthesis.magnetic import MagneticResonance
from ..synthesis.patient import PatientSource
from ..tensor.scan import Scan
from .config import MR, ScanFiles, TrainingConfig, labelled_scans
from .datasets import SampleSource
from .scans import AnnotatedScan, ScanSource, read_labelled, read_unlabelled

FIRST_VIRTUAL_SEED = 500  # apart from the seeds of the benchmarks' patients
VIRTUAL_SPACING_MM = 3.0  # of the label maps of virtual patients

Warn = Callable[[str], None]
"""Told of every file that is left out, in one sentence."""


@dataclass(frozen=True)
class TrainingSources:
    """Sources that a training can draw scans from.

    Attributes:
        shares: how often each kind is drawn (see `config.KINDS`).
        labelled: sources by kind: anatomies, virtual patients, labelled scans.
        unlabelled: scans that become sources once a network can predict their labels.
    """

    shares: tuple[float, float, float, float]
    labelled: tuple[list[SampleSource], list[SampleSource], list[SampleSource]]
    unlabelled: list[Scan]

    @classmethod
    def read(cls, config: TrainingConfig, warn: Warn) -> TrainingSources:
        """Read the sources that the configuration names; bad files are reported to `warn` and left out.

        Raises:
            InputError: no source is left to learn from.
        """
        scans, problems = read_unlabelled(config.unlabelled) if config.unlabelled else ([], [])
        for problem in problems:
            warn(problem)
        return cls(config.shares, _read_labelled_sources(config, warn), scans)

    def guess(self, net: nn.Module) -> tuple[list[SampleSource], list[float]]:
        """Return all sources and their shares; unlabelled scans are labelled with `net`'s confident predictions.

        Only the configuration of a `SemanticNet` can name unlabelled scans.
        """
        guesses = [ScanSource.from_guess(scan, cast(SemanticNet, net)) for scan in self.unlabelled]
        kinds: list[Sequence[SampleSource]] = [*self.labelled, [source for source in guesses if source]]
        shares = [share / len(kind) for share, kind in zip(self.shares, kinds, strict=True) for _ in kind]
        return [source for kind in kinds for source in kind], shares


def _read_labelled_sources(
    config: TrainingConfig, warn: Warn
) -> tuple[list[SampleSource], list[SampleSource], list[SampleSource]]:
    """Read anatomies, virtual patients and labelled scans; the anatomies and donors lend each other organs."""
    seeds = range(FIRST_VIRTUAL_SEED, FIRST_VIRTUAL_SEED + config.virtual)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        maps = _read_anatomies(pool, config.anatomies, warn)
        donors = _read_anatomies(pool, config.donors, warn)
        virtual = [PatientSource(anatomy) for anatomy in pool.map(virtual_anatomy, seeds)]
    for source in maps + virtual:
        source.others = [other for other in maps + virtual + donors if other is not source]
    for source in maps:
        source.hard = config.hard
    scans = [] if config.scans is None else [ScanSource.read(case) for case in _usable_cases(config.scans, warn)]
    if config.modality == MR:
        for source in maps + virtual:
            source.modality = MagneticResonance()
        for scan in scans:
            scan.recolour = True
    if not (maps or virtual or scans):
        raise InputError("nothing is left to learn from; correct the files named above")
    if not sum(share for share, kind in zip(config.shares, (maps, virtual, scans), strict=False) if kind):
        raise InputError("'shares' are zero for all that is left to learn from; correct them or the files named above")
    return list(maps), list(virtual), list(scans)


def _read_anatomies(pool: Executor, paths: tuple[Path, ...], warn: Warn) -> list[PatientSource]:
    """Read label maps in parallel, in the order of their paths."""
    sources = []
    for result in [pool.submit(read_anatomy, path) for path in paths]:
        try:
            sources.append(PatientSource(result.result()))
        except InputError as error:
            warn(f"{error}; the anatomy is left out")
    return sources


def virtual_anatomy(seed: int) -> Anatomy:
    """Return the label map of a virtual patient, to synthesise scans from."""
    labels = phantom.virtual_patient(seed, phantom.full_view(seed, VIRTUAL_SPACING_MM)).labels
    return Anatomy.of(f"virtual patient {seed}", labels, phantom.LABELS)


def read_validation(config: TrainingConfig, warn: Warn) -> list[AnnotatedScan]:
    """Read the scans to validate on; bad files are reported to `warn` and left out.

    Raises:
        InputError: the configuration names a folder, and none of its scans is left.
    """
    if config.validation is None:
        return []
    scans = [read_labelled(case) for case in _usable_cases(config.validation, warn)]
    if not scans:
        raise InputError(f"{config.validation}: no scan in this folder can be validated on; correct it or leave it out")
    return scans


def _usable_cases(folder: Path, warn: Warn) -> list[ScanFiles]:
    """List the cases of a folder that can be read and show a structure of the common table."""
    cases, problems = labelled_scans(folder)
    usable = []
    for case in cases:
        try:
            _, _, annotated = read_labelled(case)
        except InputError as error:
            problems.append(str(error))
            continue
        if annotated:
            usable.append(case)
        else:
            problems.append(f"{case.labels}: none of its labels means a structure of the common table")
    for problem in problems:
        warn(problem)
    return usable
