"""Paint the hollow organs of virtual patients: stomach, bowel, bladder. Common frame, mm; supine: gas rises to -y."""

from __future__ import annotations

import numpy as np

from .canvas import ellipsoid, intersect
from .labels import BLADDER, COLON, SMALL_BOWEL, STOMACH
from .painter import Painter

COLON_PATH = [
    (-86, -42, -124, 24),
    (-98, -28, -80, 24),
    (-104, -18, -35, 22),
    (-96, -28, 4, 21),
    (-62, -76, -6, 20),
    (0, -82, -22, 19),
    (56, -78, 12, 18),
    (92, -34, 62, 18),
    (112, 2, 40, 17),
    (110, 6, -20, 15),
    (102, -6, -72, 14),
    (84, -26, -122, 14),
    (40, -40, -150, 14),
    (-8, -22, -148, 14),
    (-6, 22, -172, 16),
    (0, 42, -202, 19),
    (0, 40, -250, 15),
]  # x, y, z, radius: caecum to rectum

STOMACH_PATH = [
    (50, 0, 122, 20),
    (58, -12, 108, 34),
    (58, -44, 86, 31),
    (40, -70, 58, 23),
    (10, -78, 46, 18),
    (-16, -70, 42, 11),
]

DUODENUM_PATH = [
    (-18, -69, 42, 11),
    (-42, -56, 30, 12),
    (-44, -40, -14, 12),
    (-14, -46, -34, 11),
    (24, -48, -22, 11),
    (36, -60, -4, 11),
]


def paint_small_bowel(painter: Painter) -> None:
    """Paint the small bowel as loops that fill the middle of the abdomen: a periodic surface, bent so that no two loops
    look alike."""
    canvas, phase = painter.canvas, painter.body.phase
    window = canvas.window((-110, -200, -175), (110, 10, 30))
    if window is None:
        return
    x, y, z = canvas.coordinates(window)
    front = np.float32(painter.body.belly * 0.5)
    region = ellipsoid((x, y, z), (0, float(-62 - front * 0.7), -72), (96, float(46 + front * 0.6), 90))
    region = np.maximum(region, painter.cavity[window] + 5)
    a = x / 8.8 + 0.9 * np.sin(y / 17 + phase[0]) + phase[3]
    b = y / 8.2 + 0.9 * np.sin(z / 19 + phase[1]) + phase[4]
    c = z / 9.5 + 0.9 * np.sin(x / 21 + phase[2]) + phase[5]
    loops = np.sin(a) * np.cos(b) + np.sin(b) * np.cos(c) + np.sin(c) * np.cos(a)
    bowel = (region < 0) & (loops > -0.4)
    canvas.paint(window, bowel, painter.tissue("wall"), SMALL_BOWEL)
    canvas.paint(window, bowel & (loops > 0.3), painter.tissue("content"), SMALL_BOWEL)
    gas = bowel & (loops > 0.75) & (canvas.texture(window, 6) > 1.6 - 0.8 * painter.body.gas)
    canvas.paint(window, gas, painter.tissue("gas"), SMALL_BOWEL)
    tube = painter.paint_tube(DUODENUM_PATH, "wall", SMALL_BOWEL, "pancreas")
    if tube is not None:
        canvas.paint(tube.window, tube.level < -4, painter.tissue("content"), SMALL_BOWEL)


def paint_colon(painter: Painter) -> None:
    """Paint the colon from caecum to rectum, with haustra; gas above stool, more of it in some segments."""
    forward = [painter.body.belly * 0.75 * float(np.clip((-y - 20) / 60, 0, 1)) for _, y, _, _ in COLON_PATH]
    path = [(x, y - f, z, r) for (x, y, z, r), f in zip(COLON_PATH, forward, strict=True)]
    tube = painter.tube(path, "colon", 0.4)
    if tube is None:
        return
    canvas = painter.canvas
    number = tube.part.astype(np.float32)
    level = tube.level + 1.4 * np.sin(number * 1.35 + painter.body.phase[0]) + 1.2
    inside = (level < 0) & (painter.cavity[tube.window] < 2)
    canvas.paint(tube.window, inside, painter.tissue("wall"), COLON)
    lumen = inside & (level < -2.6)
    grains = canvas.texture(tube.window, 2.2)
    canvas.paint(tube.window, lumen, painter.tissue("stool"), COLON)
    canvas.paint(tube.window, lumen & (grains > 1.1), painter.tissue("gas"), COLON)
    height = (tube.path[tube.part, 1] - canvas.y[tube.window]) / tube.radii[tube.part]
    fill = 0.9 - 1.5 * painter.body.gas + 0.7 * np.sin(number / 9 + painter.body.phase[1])
    canvas.paint(tube.window, lumen & (height > fill), painter.tissue("gas"), COLON)


def paint_bladder(painter: Painter) -> None:
    """Paint the bladder: urine in a thin wall."""
    canvas, body = painter.canvas, painter.body
    window = canvas.window((-75, -110, -270), (75, 40, -130))
    if window is None:
        return
    points = body.organs["bladder"].template(*canvas.coordinates(window))
    level = ellipsoid(points, (0, -42, -210), tuple(body.bladder * np.array([42, 31, 30])))
    canvas.paint(window, level < 0, painter.tissue("wall"), BLADDER)
    canvas.paint(window, level < -3, painter.tissue("urine"), BLADDER)


def paint_stomach(painter: Painter) -> None:
    """Paint the stomach: a J of changing width under the left dome; gas in front, fluid behind."""
    forward = painter.body.belly * 0.35
    path = [(x, y - forward * float(np.clip((-y) / 70, 0, 1)), z, r) for x, y, z, r in STOMACH_PATH]
    tube = painter.tube(path, "stomach", 0.25)
    if tube is None:
        return
    canvas, window = painter.canvas, tube.window
    level = intersect(tube.level, painter.cavity[window] + 3, painter.diaphragm[window] + 3, softness=2)
    canvas.paint(window, level < 0, painter.tissue("wall"), STOMACH)
    canvas.paint(window, level < -4.5, painter.tissue("content"), STOMACH)
    top = -44 - forward * 0.6 - 14 * (1 - painter.body.gas) + painter.body.organs["stomach"].shift[1]
    canvas.paint(window, (level < -4.5) & (canvas.y[window] < top), painter.tissue("gas"), STOMACH)
