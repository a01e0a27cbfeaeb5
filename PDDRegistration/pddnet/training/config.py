"""Read the configuration of `pddnet train`: one JSON file, checked before anything starts. It needs no torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.label_names import find_names
from ..io.text_files import read_json
from ..networks import registry

NETWORKS = ("semantic", "plane", "pdd", *registry.NETWORKS)
CT, MR = "ct", "mr"
MODALITIES = (CT, MR)
LEAST_VIEW_VOXELS = 16  # voxels along each axis, or the network has next to nothing to compare
LARGEST_SEED = 2**62  # with what is added to it, still 64 bits
_MOST = {"virtual": 10_000, "width": 1024, "steps": 101, "channels": 1024, "iterations": 10**9, "validate_every": 10**9}
_MOST_VIEW_VOXELS = 2**27
KINDS = ("anatomies", "virtual patients", "labelled scans", "unlabelled scans")  # of sources, in the order of `shares`


@dataclass(frozen=True)
class ScanFiles:
    """Files of a labelled scan: the scan, its label map, and the name of each label number."""

    image: Path
    labels: Path
    names: dict[int, str]


@dataclass(frozen=True)
class PairSettings:
    """Settings of a network that registers and of its training pairs; by default small enough for two CPU cores.

    Attributes:
        view: voxels of 4 mm that are drawn along D, H, W (LPS z, y, x).
        control: mm between control points.
        reach: the largest displacement in mm along each axis.
        steps: how many displacements there are per axis.
        channels: features per point; 16 in Heinrich 2019.
        spacing: mm between the features that are compared; 6 mm in Heinrich 2019.
        smoothness: weight of the diffusion penalty, explained in `registration_loss.diffusion`: 1.5 in Heinrich
            2019.
        non_local: whether labels are compared over all displacements, weighted by their probability, as in Heinrich
            2019, or only at the expected displacement; pdd-net only.
        semantic: weight of the semantic loss, of networks that segment besides.
    """

    view: tuple[int, int, int] = (48, 56, 72)
    control: float = 16.0
    reach: float = 40.0
    steps: int = 11
    channels: int = 16
    spacing: float = 8.0
    smoothness: float = 0.006
    non_local: bool = True
    semantic: float = 0.1


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a training: its data, duration and output files. Paths are relative to the file.

    Attributes:
        out: the folder of the output files: checkpoint, log, plot, best weights.
        network: "semantic" segments structures; "plane" does so in axial slices, for registration in 2-D; "pdd", the
            network of Heinrich 2019, learns features from pairs of scans; those of `networks.registry` predict a
            displacement field.
        anatomies: label maps (NAME.nii.gz with NAME.json beside it) to synthesise patients from.
        donors: label maps that only lend organs and their arrangement: too few labels to paint a patient.
        virtual: how many of the project's own virtual patients take part as anatomies.
        modality: "ct", or "mr": patients are painted, and real CT scans recoloured, with the contrasts of MR.
        hard: share of the patients painted from anatomies that are hard to read: with pathology; some are children,
            some scans of low dose, some cut on all sides.
        scans: the folder to train on: CASE/ct.nii.gz with CASE/labels.nii.gz, and labels.json (label number -> name)
            beside them or in the folder. Labels named "unknown" are neither learned from nor measured.
        validation: such a folder, on which the best weights are chosen.
        unlabelled: a folder of CASE/ct.nii.gz; the network's own most confident predictions are their labels. That
            lowered the Dice when the bundled weights were trained (see the model card).
        shares: how often an anatomy, a virtual patient, a labelled and an unlabelled scan are drawn (see KINDS), in
            total for each kind.
        width: channels of the first level of a network that segments.
        pairs: settings of pdd-net and of the networks of `networks.registry`.
        iterations: training steps.
        learning_rate: the learning rate of the optimiser.
        seed: the seed of everything that is drawn at random.
        validate_every: iterations between two validations.
        seconds_kept: seconds between checkpoints: at most this much work is lost by a kill.
        data: for the model card: the origin of the data, and their terms.
    """

    out: Path
    network: str = "semantic"
    anatomies: tuple[Path, ...] = ()
    donors: tuple[Path, ...] = ()
    virtual: int = 0
    modality: str = CT
    hard: float = 0.0
    scans: Path | None = None
    validation: Path | None = None
    unlabelled: Path | None = None
    shares: tuple[float, float, float, float] = (0.84, 0.16, 1.0, 0.25)
    width: int = 32
    pairs: PairSettings = PairSettings()
    iterations: int = 6000
    learning_rate: float = 3e-3
    seed: int = 1
    validate_every: int = 250
    seconds_kept: float = 120.0
    data: str = ""


def read_config(path: Path) -> TrainingConfig:
    """Read the configuration in a JSON file.

    Raises:
        InputError: the file cannot be read, holds an unknown name or a value of the wrong kind, or nothing to learn
            from.
    """
    given = read_json(path)
    if not isinstance(given, dict):
        raise InputError(f"{path}: the configuration is not a table of names and values")
    if "out" not in given:
        raise InputError(f"{path}: 'out' is missing, the folder for the training's files")
    try:
        _check_names(given, TrainingConfig)
        config = TrainingConfig(**{name: _value(name, value, path.parent) for name, value in given.items()})
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    if not (config.anatomies or config.virtual or config.scans):
        raise InputError(f"{path}: nothing to learn from; give 'anatomies', 'virtual' or 'scans'")
    if config.unlabelled and config.network != "semantic":
        raise InputError(f"{path}: 'unlabelled' scans teach the network 'semantic' alone; leave them out")
    if config.modality == MR and (config.network != "semantic" or config.unlabelled or config.validation):
        raise InputError(
            f"{path}: the modality 'mr' is for the network 'semantic', without 'unlabelled' and 'validation', "
            "which are CT scans; leave those out"
        )
    return config


def _check_names(given: dict[str, Any], settings: type) -> None:
    known = [field.name for field in dataclasses.fields(settings)]
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"unknown setting '{unknown[0]}'; known are {', '.join(known)}")


def _value(name: str, value: Any, folder: Path) -> Any:
    """Convert a setting to the type of its field; paths are relative to `folder`. Raise ValueError."""
    if name in ("out", "scans", "validation", "unlabelled", "data"):
        text = _text(name, value)
        return text if name == "data" else folder / text
    if name == "network":
        if value not in NETWORKS:
            raise ValueError(f"'network' must be one of {', '.join(NETWORKS)}, not {value!r}")
        return value
    if name == "modality":
        if value not in MODALITIES:
            raise ValueError(f"'modality' must be one of {', '.join(MODALITIES)}, not {value!r}")
        return value
    if name == "pairs":
        return _pairs(value)
    if name in ("anatomies", "donors"):
        return tuple(folder / entry for entry in _texts(name, value))
    if name == "shares":
        return _shares(value)
    return _number(name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"'{name}' must be a text, not {value!r}")
    return value


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError(f"'{name}' must be a list of files, not {value!r}")
    return value


def _shares(value: Any) -> tuple[float, ...]:
    right = isinstance(value, list) and len(value) == len(KINDS) and all(map(_is_amount, value))
    if not right or sum(value) == 0:
        raise ValueError(f"'shares' are {len(KINDS)} numbers, none negative: {', '.join(KINDS)}")
    return tuple(map(float, value))


def _number(name: str, value: Any) -> int | float:
    if not _is_amount(value):
        raise ValueError(f"'{name}' must be a number that is not negative, not {value!r}")
    if name == "learning_rate" and not 0 < value <= 1:
        raise ValueError(f"'learning_rate' must be above zero and at most 1, not {value!r}")
    if name == "hard" and value > 1:
        raise ValueError(f"'hard' is a share of at most 1, not {value!r}")
    if name in ("learning_rate", "seconds_kept", "hard"):
        return float(value)
    if not _is_whole(value) or (name in ("iterations", "validate_every") and value < 1):
        least = "" if name in ("seed", "virtual") else " from 1 on"
        raise ValueError(f"'{name}' must be a whole number{least}, not {value!r}")
    if name == "width" and (value < 8 or value % 8):
        raise ValueError(f"'width' must be a multiple of 8, not {value!r}")
    if value > (most := _MOST.get(name, LARGEST_SEED)):
        raise ValueError(f"'{name}' must be {most} or less, not {value!r}")
    return int(value)


def _pairs(given: Any) -> PairSettings:
    """Convert the settings of a network that registers; raise ValueError."""
    if not isinstance(given, dict):
        raise ValueError(f"'pairs' must be a table of names and values, not {given!r}")
    _check_names(given, PairSettings)
    if "view" in given:
        view = given["view"]
        if (
            not isinstance(view, list)
            or len(view) != 3
            or not all(_is_whole(n) and n >= LEAST_VIEW_VOXELS for n in view)
        ):
            raise ValueError(f"'view' are three whole numbers of voxels from {LEAST_VIEW_VOXELS} on, not {view!r}")
        given = given | {"view": map(int, view)}
        if math.prod(view) > _MOST_VIEW_VOXELS:
            raise ValueError(f"'view' must hold {_MOST_VIEW_VOXELS} voxels or fewer, not {view!r}")
    for name in set(given) & {"control", "reach", "spacing"}:
        if not _is_amount(given[name]) or not given[name]:
            raise ValueError(f"'{name}' must be a number above zero, not {given[name]!r}")
    for name in ("smoothness", "semantic"):
        if not _is_amount(given.get(name, 0)):
            raise ValueError(f"'{name}' must be a number that is not negative, not {given[name]!r}")
    for name, least in (("steps", 3), ("channels", 1)):
        if name in given and not (_is_whole(given[name]) and given[name] >= least):
            raise ValueError(f"'{name}' must be a whole number from {least} on, not {given[name]!r}")
        if given.get(name, least) > _MOST[name]:
            raise ValueError(f"'{name}' must be {_MOST[name]} or less, not {given[name]!r}")
    if not isinstance(given.get("non_local", True), bool):
        raise ValueError(f"'non_local' must be true or false, not {given['non_local']!r}")
    kinds = {"view": tuple, "steps": int, "channels": int, "non_local": bool}
    return PairSettings(**{name: kinds.get(name, float)(value) for name, value in given.items()})


def _is_whole(value: Any) -> bool:
    return _is_amount(value) and value == int(value)


def _is_amount(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value) and value >= 0


def labelled_scans(folder: Path) -> tuple[list[ScanFiles], list[str]]:
    """List the labelled scans of a folder by case, and a sentence for each case that cannot be used.

    Raises:
        InputError: the folder is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder of scans")
    found, problems = [], []
    for image in sorted(folder.glob("[!.]*/ct.nii.gz")):  # hidden: patients that are still being written
        case = image.parent
        try:
            found.append(ScanFiles(image, _existing(case / "labels.nii.gz"), _names(case, folder)))
        except InputError as error:
            problems.append(str(error))
    return found, problems


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: there is no such label map; the scan is left out")
    return path


def _names(case: Path, folder: Path) -> dict[int, str]:
    if names := find_names(case, folder):
        return names
    raise InputError(f"{case / 'labels.json'}: there are no names for the labels; the scan is left out")
