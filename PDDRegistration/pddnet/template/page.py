"""The page of a template: planes of the mean, of every round and of the maps, and tables of rounds and scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from .. import __version__
from ..core.image import Image
from ..core.masks import body_mask
from ..io.volumes import read_volume
from ..page.content import Page, Section, Table, VerdictText
from ..page.html import html_page
from ..page.pictures import WINDOW_HU, Picture
from ..page.planes import VIEWS, plane, scalar, window_of
from ..page.png import png
from ..page.tables import number
from .task import TemplateTask

GAP = 6  # pixels between two planes
_BODY_MM = 4.0
Greys = Callable[[np.ndarray], np.ndarray]


def template_page(task: TemplateTask, template: Image, maps: Mapping[str, np.ndarray], report: dict[str, Any]) -> str:
    """Return the page as HTML text. maps: (D, H, W) on the template's grid, by what they are."""
    view = _View(template)
    first = Picture(
        tuple(name.capitalize() for name in VIEWS),
        "The mean, soft tissue window. Axial, coronal and sagittal plane.",
        view.row([(template, name, _hu) for name in VIEWS]),
    )
    shown = [(f"Round {each.number}", _mean_of(task, each.number)) for each in task.rounds]
    rounds = Picture(
        tuple(name for name, _ in shown),
        "The mean of every round, coronal plane through the same point.",
        view.row([(image, "coronal", _hu) for _, image in shown]),
    )
    spread = Picture(
        tuple(f"{name} (white: {_digits(_most(values))})" for name, values in maps.items()),
        "How the scans differ, coronal plane: where the intensity varies the scans do not lie on each other, or look "
        "different; where the log-Jacobian varies, their sizes differ.",
        view.row([(Image(values, template.grid), "coronal", _up_to(_most(values))) for values in maps.values()]),
    )
    last, now = task.rounds[-1], datetime.now()
    figures = (
        (str(len(task.placed)), "scans"),
        (str(len(task.rounds)), "rounds"),
        (f"{number(last.residual_mm, 2)} mm", "moved by the last round"),
        (f"{number(last.sharpness_hu_per_mm, 2)} HU/mm", "sharpness"),
        (f"{number(report['mean_displacement_mm'], 3)} mm", "mean displacement to the scans (0: unbiased)"),
    )
    return html_page(
        Page(
            "A mean patient",
            f"{now.day} {now:%B %Y, %H:%M}",
            _verdict(task),
            figures,
            (first, rounds, spread),
            _sections(task, report),
            f"Made by pddnet {__version__}. For research; not a medical device.",
            f"pddnet {__version__}",
        )
    )


def _verdict(task: TemplateTask) -> VerdictText:
    last = task.rounds[-1]
    reasons = [] if task.converged else [f"the last round still moved the mean by {last.residual_mm:.2f} mm"]
    reasons += [f"{name} was left out: its registration failed" for name in last.dropped]
    meaning = "The rounds converged." if task.converged else "The rounds did not converge."
    return VerdictText("doubtful" if reasons else "ok", meaning, tuple(reasons))


def _sections(task: TemplateTask, report: dict[str, Any]) -> tuple[Section, ...]:
    rounds = Table(
        "Rounds",
        "How far each round moved the mean; the mean length of its gradient within the body; and the standard "
        "deviation of the scans that it averages.",
        ("round", "scans", "moved, mm", "sharpness, HU/mm", "spread, HU"),
        tuple(
            (
                str(each.number),
                str(len(each.used)),
                *(number(value, 2) for value in (each.residual_mm, each.sharpness_hu_per_mm, each.spread_hu)),
            )
            for each in task.rounds
        ),
    )
    scans = Table(
        "Scans",
        "How each scan differs from the mean, over the body: a log-Jacobian above 0 says that the scan is larger.",
        ("scan", "displacement, mm", "log-Jacobian", "its std", "folds, %"),
        tuple(
            (
                row["id"],
                number(row["displacement_mm"], 1),
                *(number(row[name], 3) for name in ("log_jacobian_mean", "log_jacobian_std", "folding_percent")),
            )
            for row in report["scans"]
        ),
    )
    return rounds, scans


class _View:
    """Planes through the middle of the template's body."""

    def __init__(self, template: Image) -> None:
        canonical = template.canonical()
        coarse = canonical.coarsen(_BODY_MM)
        body = body_mask(coarse)
        points = body.grid.points()[body.array] if body.array.any() else body.grid.centre[None]
        self._focus = points.mean(axis=0)
        self._axes = canonical.grid.direction
        self._window = window_of(Image(body.array.astype(np.uint8), body.grid), self._focus)

    def row(self, cells: list[tuple[Image, str, Greys]]) -> bytes:
        """Draw planes side by side, each (volume, view, how values become grey), as a PNG file."""
        drawn = [grey(scalar(image, self._plane(view), -1024.0)) for image, view, grey in cells]
        height, width = (max(picture.shape[axis] for picture in drawn) for axis in (0, 1))
        padded = [_centred(picture, height, width) for picture in drawn]
        gaps = [np.pad(picture, ((0, 0), (0, GAP if n < len(padded) - 1 else 0))) for n, picture in enumerate(padded)]
        return png(np.repeat(np.concatenate(gaps, axis=1)[..., None], 3, axis=2))

    def _plane(self, view: str) -> Any:
        return plane(view, self._focus, self._axes, self._window)


def _mean_of(task: TemplateTask, round_number: int) -> Image:
    image, _ = read_volume(task.mean_of(round_number))
    return image


def _hu(values: np.ndarray) -> np.ndarray:
    low, high = WINDOW_HU
    return np.asarray((values - low) / (high - low))


def _up_to(most: float) -> Greys:
    return lambda values: np.asarray(values / most)


def _most(values: np.ndarray) -> float:
    return max(float(np.percentile(values[values > 0], 99)) if (values > 0).any() else 0.0, 1e-3)


def _digits(value: float) -> str:
    """Write HU without, and log-Jacobians with digits."""
    return number(value, 0 if value >= 10 else 2)


def _centred(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = height - picture.shape[0], width - picture.shape[1]
    return np.pad(picture, ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)))
