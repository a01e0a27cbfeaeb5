"""Paint what slices show around the body: a wider field of view, noise in the air, tables and blankets.

Nothing tells a 2-D network where the body is: it has to learn that foam and cloth are no lung.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from ..core.hounsfield import AIR_HU
from ..synthesis.arms_and_table import add_table
from ..tensor.convert import to_tensor

WIDER = 0.7  # share of the scans whose field of view is wider than what was drawn
MOST_WIDER = 0.35  # of the size, at each side
TABLE, SECOND_TABLE = 0.8, 0.5  # shares of the scans; the second one lies under the first
PIXEL_MM = (3.0, 6.0)  # as if pixels were so large: tables of other sizes
TABLE_VARIATION_HU = 60.0
BLANKET = 0.5  # share of the scans
BLANKET_HU = (-900.0, -300.0)
BLANKET_AWAY = (1, 6)  # pixels from the body, and one more
BLANKET_GRAIN = 8  # pixels over which it comes and goes
MOST_NOISE_HU = 20.0


def with_surroundings(values: Tensor, structures: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the values (3, S, H, W) and structures (S, H, W) of slices, in a wider view and with what lies around."""
    if rng.random() < WIDER:
        values, structures = _wider(values, structures, rng)
    body = values[1] > 0.5
    hu = values[0]
    if rng.random() < BLANKET:
        hu = _with_blanket(hu, body, rng)
    for share in (TABLE, SECOND_TABLE):
        if rng.random() >= share:
            break
        known = body | (hu > AIR_HU + 1)
        painted = add_table(hu, known, rng.uniform(*PIXEL_MM))
        hu = torch.where(known | (painted <= AIR_HU), hu, painted + rng.normal(0, TABLE_VARIATION_HU))
    noise = to_tensor(rng.normal(0, rng.uniform(0, MOST_NOISE_HU), hu.shape))
    hu = torch.where(body, hu, hu + noise).clamp(min=AIR_HU)
    return torch.cat([hu[None], values[1:]]), structures


def _wider(values: Tensor, structures: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Add air on all four sides, which is background."""
    h, w = structures.shape[1:]
    more = [int(rng.integers(0, int(MOST_WIDER * n) + 1)) for n in (w, w, h, h)]
    hu = functional.pad(values[:1], more, value=AIR_HU)
    body = functional.pad(values[1:2], more)
    view = functional.pad(values[2:], more, value=1.0)
    return torch.cat([hu, body, view]), functional.pad(structures, more)


def _with_blanket(hu: Tensor, body: Tensor, rng: np.random.Generator) -> Tensor:
    """Paint a line, a pixel wide and with gaps, some pixels away from the body."""
    away = int(rng.integers(*BLANKET_AWAY))
    inner, outer = (functional.max_pool2d(body.float(), 2 * n + 1, 1, n) for n in (away, away + 1))
    coarse = [-(-n // BLANKET_GRAIN) + 1 for n in hu.shape[1:]]
    gaps = functional.interpolate(to_tensor(rng.normal(size=(1, 1, *coarse))), size=hu.shape[1:], mode="bilinear")[0]
    line = (outer > inner) & (gaps > 0)
    return torch.where(line, float(rng.uniform(*BLANKET_HU)), hu)
