"""What a template is made from, and the names of its files (`TemplateTask`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.atomic_outputs import IMAGES, PAGES, REPORTS, TABLES, TRANSFORMS
from ..io.label_names import names_beside
from ..io.text_files import read_json
from .average import Placed, Settings
from .rounds import MEAN, Made, Round, digest, round_folder

COMMAND, REPORT = "template", "report.json"
_LABELS = {"labels": "template_labels.nii.gz", "names": "labels.json", "probability": "maps/label_probability.nii.gz"}
_OF_SCAN = {"transform": "transform.h5", "log_jacobian": "log_jacobian.nii.gz"}
MAPS = ("intensity_std", "log_jacobian_mean", "log_jacobian_std", "count")
Targets = dict[str, tuple[Path, tuple[str, ...]]]


@dataclass(frozen=True)
class TemplateTask:
    """A template to write.

    Attributes:
        out: the folder.
        fixed: the scan to which all were registered in the last round.
        placed: the scans that were averaged in it.
        rounds: all rounds.
        converged: whether the last one moved the mean by no more than was asked for.
    """

    out: Path
    fixed: Path
    placed: Sequence[Placed]
    rounds: Sequence[Round]
    converged: bool
    settings: Settings

    @property
    def labelled(self) -> bool:
        """Tell whether the scans have label maps."""
        return all(each.member.labels for each in self.placed)

    @property
    def made(self) -> Made:
        """Return with what it is made. Raises InputError where a label map cannot be read."""
        paths = {each.member.id: each.member.labels for each in self.placed if each.member.labels}
        try:
            return {**self.rounds[-1].made, "labels": {name: _digests(path) for name, path in paths.items()}}
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}; correct the path or the permissions") from None

    def mean_of(self, number: int) -> Path:
        """Return the path of the mean of a round."""
        return round_folder(self.out, number) / MEAN

    def targets(self) -> Targets:
        """Name all files, by what they hold; the report is the last one."""
        found: Targets = {"template": (self.out / "template.nii.gz", IMAGES)}
        if self.labelled:
            found |= {name: (self.out / path, IMAGES + REPORTS) for name, path in _LABELS.items()}
        found |= {name: (self.out / "maps" / f"{name}.nii.gz", IMAGES) for name in MAPS}
        for each in self.placed:
            folder = self.out / "scans" / each.member.id
            found |= {f"{name} of {each.member.id}": (folder / file, TRANSFORMS) for name, file in _OF_SCAN.items()}
        found |= {name: (self.out / f"{name}.csv", TABLES) for name in ("scans", "rounds")}
        found["page"] = (self.out / "template.html", PAGES)
        return {**found, "report": (self.out / REPORT, REPORTS)}

    def left_over(self) -> list[Path]:
        """List the files that an earlier template wrote in the same folder and this one does not replace: its mean is
        another. What its report does not vouch for, such as labels drawn on it since, is somebody else's."""
        try:
            earlier = read_json(self.out / REPORT)
            if earlier["command"] != COMMAND:
                return []
            written = _not_always(earlier)
        except (InputError, KeyError, TypeError):  # there is none, or it is not ours
            return []
        ours = {path for path, _ in self.targets().values()}
        return [path for path in (self.out / name for name in written) if path not in ours and path.is_file()]

    def whole(self) -> dict[str, Any] | None:
        """Return the report if all files are there and were made from the same, or None."""
        targets = self.targets()
        try:
            report: dict[str, Any] = read_json(targets["report"][0])
            same = report["made"] == self.made and report["rounds"] == [asdict(each) for each in self.rounds]
            same = same and report["converged"] == self.converged  # another tolerance
        except (InputError, KeyError, TypeError):  # missing, or not ours
            return None
        return report if same and all(path.is_file() for path, _ in targets.values()) else None


def _digests(labels: Path) -> list[str]:
    """Return the SHA-256 of a label map, and of the names beside it where there are some."""
    names = names_beside(labels)
    return [digest(path) for path in (labels, names) if path.is_file()]


def _not_always(report: dict[str, Any]) -> list[str]:
    """Name the files of a template, by its report, that another one might not have: of its labels and its scans."""
    ids = [each["id"] for each in report["scans"]]
    of_scans = [f"scans/{each}/{name}" for each in ids if each == Path(each).name for name in _OF_SCAN.values()]
    return [*(_LABELS.values() if report["made"]["labels"] else ()), *of_scans]
