"""Paint the torso of the virtual patients: skin, fat, muscles, chest. Common frame, mm; supine: the back is +y."""

from __future__ import annotations

import numpy as np

from ..core.hounsfield import AIR_HU
from .canvas import Tissue, ellipsoid
from .labels import HEART, LEFT_PSOAS, LUNGS, OESOPHAGUS, RIGHT_PSOAS
from .painter import Painter
from .skeleton import spine_depth

PHANTOM_SKIN_MM = 2.2

PSOAS_PATH = [
    (24, 4, 40, 6),
    (32, -2, 4, 11),
    (42, -6, -44, 17),
    (52, -12, -90, 20),
    (64, -30, -140, 19),
    (84, -56, -200, 17),
]


def paint_torso(painter: Painter) -> None:
    """Paint skin, fat, the muscle wall, and the fat of the cavity with the small vessels in it."""
    whole, paint = painter.canvas.whole, painter.canvas.paint
    grains = painter.canvas.texture(whole)
    paint(whole, painter.skin < -PHANTOM_SKIN_MM, painter.tissue("fat"))
    # The skin is thinner than most voxels: mixed by volume, or it would break into dots.
    voxel = float(np.cbrt(np.prod(painter.canvas.grid.spacing)))
    body, under = (np.clip(0.5 - (painter.skin + depth) / voxel, 0, 1) for depth in (0, PHANTOM_SKIN_MM))
    fat, skin = painter.tissue("fat").hu, painter.tissue("skin").hu
    edge = (np.abs(painter.skin) < voxel + PHANTOM_SKIN_MM) & (body > 0)
    painter.canvas.hu[edge] = (AIR_HU + (skin - AIR_HU) * body + (fat - skin) * under)[edge]
    paint(whole, (painter.muscle < 0) & (painter.skin < -PHANTOM_SKIN_MM), painter.tissue("muscle"))
    paint(whole, (painter.muscle < -3) & (grains < -1.9), Tissue(-10, 12))  # fat between the muscles
    inside = painter.cavity < 0
    paint(whole, inside, painter.tissue("cavity fat"))
    paint(whole, inside & (grains > 1.9), Tissue(25 + 60 * painter.body.contrast, 10))


def paint_chest(painter: Painter) -> None:
    """Paint the lungs above the diaphragm, the mediastinum with heart and oesophagus, and the diaphragm itself."""
    canvas, body = painter.canvas, painter.body
    window = canvas.window((-150, -150, 20), (150, 110, 330))
    if window is None:
        return
    x, y, z = canvas.coordinates(window)
    chest = painter.cavity[window] < -3
    above = painter.diaphragm[window]
    spine = canvas.refine(spine_depth(canvas.coarse_points[..., 2]))[window]
    middle = np.abs(x - 4) - (16 + 10 * np.clip((spine - 30 - y) / 60, 0, 1))
    near_spine = np.hypot(x / 27, (y - spine - 4) / 24) - 1
    lung = chest & (above > 2) & (middle > 0) & (near_spine > 0)
    canvas.paint(window, lung, painter.tissue("lung"), LUNGS)
    canvas.paint(window, lung & (canvas.texture(window) > 1.9), Tissue(-150, 150), LUNGS)
    canvas.paint(window, chest & (above < 2) & (above > -2), painter.tissue("muscle"))
    heart = ellipsoid(body.organs["heart"].template(x, y, z), (18, -45, 178), (58, 43, 46))
    heart = np.maximum(heart, 3 - above)
    canvas.paint(window, heart < 3, painter.tissue("cavity fat"), 0)
    canvas.paint(window, heart < 0, painter.tissue("muscle"), HEART)
    chambers = ellipsoid(body.organs["heart"].template(x, y, z), (10, -40, 184), (40, 26, 34))
    canvas.paint(window, (chambers < 0) & (heart < -6), painter.tissue("venous blood"), HEART)
    top = spine_depth(np.array([260.0, 180.0, 125.0])) - 33
    painter.paint_tube(
        [(2, top[0], 280, 8), (2, top[1], 180, 8), (14, top[2] - 14, 124, 8), (30, -14, 108, 9)], "wall", OESOPHAGUS
    )


def paint_muscles(painter: Painter) -> None:
    """Paint psoas and quadratus lumborum on both sides, and the crura of the diaphragm."""
    for side, label in ((-1, RIGHT_PSOAS), (1, LEFT_PSOAS)):
        painter.paint_tube([(side * x, y, z, r) for x, y, z, r in PSOAS_PATH], "muscle", label, "psoas")
        lumborum = [
            (side * 50, 32, 50, 8),
            (side * 60, 32, 0, 13),
            (side * 72, 32, -50, 14),
            (side * 84, 30, -92, 12),
        ]
        painter.paint_tube(lumborum, "muscle", None)
        painter.paint_tube([(side * 16, -2, 105, 8), (side * 14, -14, 60, 7), (side * 13, -16, 20, 5)], "muscle", None)
