"""Paint the skeleton of the virtual patients: spine with single vertebrae, ribs, sternum, pelvis. Common frame, mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import CubicSpline

from .body import Body
from .canvas import Canvas, Tissue, Window, capsule, intersect
from .labels import DISCS, FIRST_VERTEBRA, LEFT_HIP, RIBS, RIGHT_HIP, SACRUM

# Vertebral bodies from the chest down: centre height z, centre depth y, and height, half width, half depth of the body.
VERTEBRAE: dict[str, tuple[float, float, float, float, float]] = {
    "T4": (263, 38, 17, 13.5, 13),
    "T5": (242, 41, 18, 14, 13.5),
    "T6": (220, 42, 18, 14.5, 14),
    "T7": (197, 41, 19, 15, 14.5),
    "T8": (173, 39, 20, 16, 15),
    "T9": (148, 35, 21, 17, 15.5),
    "T10": (122, 29, 22, 18, 16),
    "T11": (95, 22, 23.5, 19.5, 16.5),
    "T12": (66, 14, 25, 20.5, 16.5),
    "L1": (34, 6, 26.5, 21, 17),
    "L2": (0, 0, 27.5, 22, 17.5),
    "L3": (-36, -4, 28, 23.5, 18),
    "L4": (-72, -3, 28, 25, 18),
    "L5": (-107, 7, 27, 26, 18),
}
S1 = (-140, 28)  # centre of the first sacral body: z, y
SACRAL_CURVE = ((-240, -215, -190, -165, -140, -118), (58, 66, 61, 47, 28, 13))  # z, y of the sacrum's middle

CORTEX = Tissue(520, 70)
SPONGE = Tissue(185, 38)
DISC = Tissue(80, 10)
CARTILAGE = Tissue(95, 15)
CANAL = Tissue(28, 8)

_LEVELS = np.array([[z, y] for z, y, *_ in VERTEBRAE.values()] + [S1])[::-1]
_SPINE = CubicSpline(*_LEVELS.T)


def spine_depth(z: np.ndarray) -> np.ndarray:
    """Return the depth y (mm) of the vertebral bodies' centres at heights z (any shape, mm)."""
    return _SPINE(np.clip(z, _LEVELS[0, 0], _LEVELS[-1, 0]))


def paint_skeleton(canvas: Canvas) -> None:
    """Paint spine, ribs, sternum and pelvis; earlier tissues are painted over."""
    _paint_sacrum(canvas)
    for side, label in ((-1, RIGHT_HIP), (1, LEFT_HIP)):
        _paint_hip(canvas, side, label)
    for index, name in enumerate(VERTEBRAE):
        _paint_vertebra(canvas, name, FIRST_VERTEBRA + index)
    _paint_ribs(canvas)
    _paint_sternum(canvas)


def _paint_bone(canvas: Canvas, window: Window, level: np.ndarray, label: int | None, cortex: float = 2.2) -> None:
    """Paint compact bone of `cortex` mm around a spongy core, where the level (mm) is negative."""
    canvas.paint(window, level < 0, CORTEX, label)
    canvas.paint(window, level < -cortex, SPONGE, label)


def _paint_vertebra(canvas: Canvas, name: str, label: int) -> None:
    """Paint a vertebra with its arch and processes, and the disc below it."""
    z, y, height, width, depth = VERTEBRAE[name]
    window = canvas.window((-52, y - depth - 4, z - height - 16), (52, y + 66, z + height))
    if window is None:
        return
    slope = float(_SPINE.derivative()(z))  # the vertebra's own axes follow the spine's curve
    cos, sin = 1 / np.hypot(1, slope), slope / np.hypot(1, slope)
    px, py, pz = canvas.coordinates(window)
    dy, dz = py - np.float32(y), pz - np.float32(z)
    local = (px, dy * np.float32(cos) - dz * np.float32(sin), dz * np.float32(cos) + dy * np.float32(sin))
    v, w = local[1], local[2]
    waist = 1 - 0.10 * (1 - np.minimum(np.abs(w) / (height / 2), 1) ** 2)
    round_wall = (np.sqrt((px / (width * waist)) ** 2 + (v / (depth * waist)) ** 2) - 1) * depth
    body = intersect(round_wall, np.abs(w) - height / 2, softness=1.2)
    gap = _disc_gap(name)
    disc = intersect(round_wall + 0.5, np.abs(w + height / 2 + gap / 2) - gap / 2, softness=0.8)
    arch = _arch(local, depth, name.startswith("L"))
    canal = (np.sqrt((px / 11) ** 2 + ((v - depth - 7.5) / 8) ** 2) - 1) * 8
    canvas.paint(window, (canal < 0) & (np.abs(w) < height / 2 + gap), CANAL)
    canvas.paint(window, disc < 0, DISC, DISCS)
    _paint_bone(canvas, window, np.where(canal < 0, np.inf, arch), label, cortex=2.5)
    _paint_bone(canvas, window, body, label, cortex=1.8)


def _disc_gap(name: str) -> float:
    """Return the space (mm) between a vertebral body and the next one below."""
    names = list(VERTEBRAE)
    z, _, height, *_ = VERTEBRAE[name]
    below = names.index(name) + 1
    if below == len(names):
        return 11.0
    next_z, _, next_height, *_ = VERTEBRAE[names[below]]
    return z - next_z - (height + next_height) / 2


def _arch(local: tuple[np.ndarray, ...], depth: float, lumbar: bool) -> np.ndarray:
    """Compute the level of pedicles, laminae, articular, transverse and spinous processes, in the vertebra's axes."""
    x, v, w = np.abs(local[0]), local[1], local[2]
    back = depth + 16
    tip = (0, back + (30 if lumbar else 28), -10 if lumbar else -22)
    transverse = (43, back - 8, 3) if lumbar else (31, back + 6, 4)
    rods = [
        ((13, depth - 4, 6), (15, depth + 11, 4), 5.2, 5.2),  # pedicle
        ((15, depth + 12, 2), (3, back + 3, -4), 5.2, 5.4),  # lamina
        ((17, depth + 12, 13), (17, depth + 13, -17), 5.4, 5.8),  # articular processes
        ((16, depth + 10, 4), transverse, 4.2, 3.4),
        ((0, back + 2, -3), tip, 4.6, 5.0),  # spinous process
    ]
    level = np.full(x.shape, np.inf, np.float32)
    for start, end, first, last in rods:
        level = np.minimum(level, capsule((x, v, w), np.array([start, end], float), (first, last)))
    return level


def _paint_sacrum(canvas: Canvas) -> None:
    """Paint the sacrum: a wedge, wide above, that curves backward and then forward; the foramina are left out."""
    window = canvas.window((-62, 0, -250), (62, 105, -112))
    if window is None:
        return
    x, y, z = canvas.coordinates(window)
    down = np.clip((-122 - z) / 108, 0, 1)  # 0 at the promontory, 1 at the tip
    middle = np.interp(z, SACRAL_CURVE[0], SACRAL_CURVE[1]).astype(np.float32)
    width = 56 - 43 * down**1.3
    thick = 19 - 12 * down + 0.05 * np.abs(x)
    plate = 0.8 * (z + 126) - 0.6 * (y - 19)  # the upper end plate slopes down to the front
    level = intersect(np.abs(x) - width, np.abs(y - middle) - thick, plate, -236 - z, softness=3)
    holes = np.hypot(np.abs(x) - 21, np.mod(z + 150, 24) - 12) - 4
    _paint_bone(canvas, window, intersect(level, -holes, softness=0.5), SACRUM)


def _paint_hip(canvas: Canvas, side: int, label: int) -> None:
    """Paint one hip bone: iliac wing, socket, pubic and ischial branches; the head of the femur in the socket."""
    window = canvas.window((min(side * 12, side * 150), -95, -262), (max(side * 12, side * 150), 85, -78))
    if window is not None:
        _paint_wing(canvas, window, side, label)
    _paint_tube(canvas, side, [(92, -12, -190), (95, -14, -214)], (19, 34), label)
    _paint_tube(canvas, side, [(84, -38, -216), (45, -62, -228), (10, -66, -240)], (13, 9.5, 10), label)
    _paint_tube(canvas, side, [(84, 6, -226), (70, 22, -252), (58, 18, -285)], (18, 14, 15), label)
    gap = canvas.tube(np.array([(side * 96, -20, -221), (side * 97, -20, -221)]), np.array([26.5]), 2)
    if gap is not None:
        canvas.paint(gap.window, gap.level < 0, CARTILAGE, 0)
    _paint_tube(canvas, side, [(97, -20, -222), (98, -20, -222)], (23.5,), None)
    _paint_tube(canvas, side, [(100, -20, -222), (130, -6, -244), (138, -2, -300)], (15, 18, 15), None)


def _paint_tube(
    canvas: Canvas, side: int, path: Sequence[tuple[float, float, float]], radii: tuple[float, ...], label: int | None
) -> None:
    """Paint bone along a path given for the left side (mm); side -1 mirrors it."""
    tube = canvas.tube(np.array(path) * (side, 1, 1), np.array(radii), 0.5)
    if tube is not None:
        _paint_bone(canvas, tube.window, tube.level, label)


def _paint_wing(canvas: Canvas, window: Window, side: int, label: int) -> None:
    """Paint the iliac wing: a bowed plate between the crest and the socket."""
    x, y, z = canvas.coordinates(window)
    x = x * side
    along, across = 0.62 * x - 0.78 * y, 0.78 * x + 0.62 * y
    depth = np.clip((-105 - z) / 60, -0.5, 1.6)  # how far below the crest
    middle = 77 + 0.15 * along - depth * (6 + 0.22 * along) + 5 * np.sin((along - 10) / 30)
    thick = 6.2 + 5.5 * np.exp(-(((along + 22) / 18) ** 2)) + 2.5 * np.clip(depth, 0, 1.5)
    crest = -92 - ((along - 50) / 72) ** 2 * 42
    ends = np.abs(along - 48 + 4 * depth) - (76 - 22 * np.clip(depth, 0, 1.6))
    level = intersect(np.abs(across - middle) - thick, z - crest, ends, -205 - z, softness=2)
    _paint_bone(canvas, window, level, label, cortex=1.9)


def _rib_path(body: Body, name: str) -> np.ndarray:
    """Return (N, 3) mm: a left rib from its vertebra along the chest wall to the front, outside the wall's muscles."""
    z, y, _, width, _ = VERTEBRAE[name]
    number = int(name[1:])
    last = {12: 0.95, 11: 1.55}.get(number, 2.75 - 0.10 * max(number - 6, 0))  # angle around the chest, from the back
    angle = np.linspace(0.36, last, 24)
    drop = 88 + 5 * (8 - number) if number < 11 else 70
    height = z + 8 - drop * np.sin(np.minimum(angle, 2.2) * 0.62) ** 1.35
    front, back, half = (body.profile(f"muscle_{s}", height) for s in ("front", "back", "width"))
    centre = (front + back) / 2
    inset = 9.0
    across = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / 2.4) * (half - inset)
    deep = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / 2.4) * ((back - front) / 2 - inset)
    wall = np.column_stack([across, centre + deep, height])
    root = np.array([[width + 1, y + 12, z + 8], [width + 17, y + 27, z + 7]])
    return np.vstack([root, wall[wall[:, 0] > width + 26]])


def _paint_ribs(canvas: Canvas) -> None:
    """Paint the ribs, twelve pairs less the first three; the costal cartilages go on from ribs 5-10 to the sternum."""
    for name in VERTEBRAE:
        if not name.startswith("T"):
            continue
        path = _rib_path(canvas.body, name)
        for side in (-1, 1):
            tube = canvas.tube(path * (side, 1, 1), np.array([5.0]), 1.6)
            if tube is not None:
                canvas.paint(tube.window, tube.level < 0, Tissue(480, 60), RIBS)
                canvas.paint(tube.window, tube.level < -2.6, Tissue(200, 40), RIBS)
            if int(name[1:]) > 10:
                continue
            end = path[-1]
            meet = np.array([14, canvas.body.profile("muscle_front", 128) + 9, 128 + 4 * (9 - int(name[1:]))])
            middle = 0.5 * (end + meet) + [10, -4, -6]
            tube = canvas.tube(np.array([end, middle, meet]) * (side, 1, 1), np.array([5.0]), 1.6)
            if tube is not None:
                canvas.paint(tube.window, (tube.level < 0) & (canvas.hu[tube.window] < 300), CARTILAGE)


def _paint_sternum(canvas: Canvas) -> None:
    """Paint the sternum: a flat bone in the front wall from the chest to the xiphoid's tip."""
    heights = np.linspace(92, 290, 12)
    depth = canvas.body.profile("muscle_front", heights) + 9
    window = canvas.window((-24, depth.min() - 8, 88), (24, depth.max() + 8, 294))
    if window is None:
        return
    x, y, z = canvas.coordinates(window)
    middle = np.interp(z, heights, depth).astype(np.float32)
    width = 5 + 13 * np.clip((z - 96) / 40, 0, 1)
    level = intersect(np.abs(x) - width, np.abs(y - middle) - 5.5, np.abs(z - 190) - 98, softness=1.5)
    _paint_bone(canvas, window, level, RIBS)


def landmarks() -> dict[str, np.ndarray]:
    """Return the centres of the vertebral bodies T10 to L5, (3,) mm in the common frame."""
    names = list(VERTEBRAE)
    return {
        f"{name}_body": np.array([0.0, VERTEBRAE[name][1], VERTEBRAE[name][0]]) for name in names[names.index("T10") :]
    }
