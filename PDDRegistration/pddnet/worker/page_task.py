"""`page`: makes the page of a registration that was computed before. torch-free."""

from __future__ import annotations

import importlib
from datetime import datetime
from typing import Any

import numpy as np

from ..core.field import DisplacementField
from ..core.image import Image
from ..core.intensity import AUTO
from ..core.presets import PRESETS
from ..core.result import Progress
from ..evaluation import transform_quality
from ..page.content import Page
from ..page.html import html_page
from ..page.page import TITLE, page_of
from ..page.pdf import pdf_page
from ..page.pictures import Subject, check_matplotlib, draw
from .inputs import Transform, as_transform, checked


def page(progress: Progress, *, pdf: bool = False, **shown: Any) -> dict[str, Any]:
    """Make the page of a registration, see `pddnet.page`, without torch.

    Args:
        pdf: whether to make a PDF file, not an HTML file.
        shown: what `drawn_page` takes.

    Returns:
        file: the bytes of the page's file, (N,) uint8.

    Raises:
        InputError: matplotlib is missing, or an input cannot be used.
    """
    importlib.invalidate_caches()  # it may have been installed since this process began
    check_matplotlib("the page")
    progress(0.0, "draw")
    made = drawn_page(**shown)
    content = pdf_page(made) if pdf else html_page(made).encode("utf-8")
    return {"file": np.frombuffer(content, np.uint8)}


def drawn_page(
    report: dict[str, Any],
    fixed: Image,
    moving: Image,
    transform: Transform,
    error: Image | None = None,
    spread: Image | None = None,
    title: str = TITLE,
) -> Page:
    """Draw what `page` sets.

    Args:
        report: of the registration, as `register` returned it; its "labels" may be filled in.
        fixed, moving: the scans. transform: the result, fixed to moving points.
        error, spread: expected error and uncertainty, mm, where they are known.
        title: heading of the page.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = checked(fixed, moving)
    itk = as_transform(transform)
    field = transform if isinstance(transform, DisplacementField) else transform_quality.sampled(itk, fixed.grid)
    preset = PRESETS.get(report["preset"].removesuffix(" (changed)"))
    if preset is not None:
        inputs.bring_to_hu(preset, report.get("settings", {}).get("intensity", AUTO))
    scans = inputs.fixed_hu or inputs.fixed, inputs.moving_hu or inputs.moving
    pictures = draw(Subject(*scans, itk, field, error, spread, hu=preset is None or preset.hu))
    return page_of(report, pictures, title=title, now=datetime.now())
