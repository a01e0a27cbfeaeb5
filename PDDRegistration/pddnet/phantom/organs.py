"""Paint the solid organs and the vessels of the virtual patients, and name the landmarks in them. Common frame, mm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .body import Body
from .canvas import ellipsoid, intersect
from .labels import AORTA, CAVA, GALLBLADDER, LIVER, PANCREAS, PORTAL, SPLEEN
from .painter import Painter

Points = tuple[np.ndarray, ...]  # x, y, z, each of the same shape, mm in the common frame
LevelFunction = Callable[[Body, Points, np.ndarray, np.ndarray], np.ndarray]

PANCREAS_PATH = [
    (-22, -48, 2, 14.5),
    (-16, -54, 20, 16),
    (6, -58, 30, 9.5),
    (34, -44, 40, 10.5),
    (62, -12, 52, 11.5),
    (82, 4, 60, 10),
]

GALLBLADDER_PATH = [(-56, -84, 24, 8), (-53, -78, 34, 14), (-46, -66, 50, 11), (-36, -54, 64, 4)]
AORTA_PATH = [
    (20, 18, 250, 13),
    (18, 14, 190, 12.5),
    (14, 0, 128, 12),
    (10, -15, 82, 11),
    (8, -23, 40, 10),
    (6, -29, 0, 9),
    (4, -33, -78, 8.5),
]

COELIAC_PATH = [(8, -32, 46, 4), (7, -46, 45, 3.5), (-12, -52, 50, 3)]
MESENTERIC_PATH = [(8, -32, 30, 4), (6, -50, 12, 3.5), (4, -60, -50, 3)]

CAVA_PATH = [
    (-15, -28, -80, 10),
    (-18, -29, -30, 11),
    (-20, -29, 20, 12),
    (-24, -26, 70, 12.5),
    (-24, -30, 120, 13),
    (-16, -36, 172, 13),
]

PORTAL_PATH = [
    (78, 6, 66, 5),
    (36, -35, 47, 6),
    (2, -51, 36, 8.5),
    (-22, -50, 62, 9.5),
    (-46, -46, 84, 8),
    (-78, -40, 92, 5),
]

# Half axes of a kidney: towards the hilum, across, and along it.
KIDNEY_HALF_AXES_MM = np.array([29.0, 25.0, 54.0])

HILUM_MM = 21.0  # from the kidney's centre

DOME_MM = (-52.0, -26.0)  # x, y of the diaphragm's highest point


def paint_vessels(painter: Painter) -> None:
    """Paint the aorta and its first branches, the vena cava, the renal and the iliac vessels."""
    kidneys = _kidney_points(painter.body, -1) | _kidney_points(painter.body, 1)
    back = np.linalg.inv(painter.body.organs["vessels"].axes)
    place = painter.body.organs["vessels"]
    for side, name in ((-1, "right"), (1, "left")):
        hilum = (kidneys[f"{name}_renal_hilum"] - place.shift - place.centre) @ back.T + place.centre
        _paint_renal_vessels(painter, side, hilum)
        _paint_iliac_vessels(painter, side)
    painter.paint_tube(COELIAC_PATH, "blood", None, "vessels")
    painter.paint_tube(MESENTERIC_PATH, "blood", None, "vessels")
    painter.paint_tube(CAVA_PATH, "venous blood", CAVA, "vessels")
    painter.paint_tube(AORTA_PATH, "blood", AORTA, "vessels")


def _paint_renal_vessels(painter: Painter, side: int, hilum: np.ndarray) -> None:
    """Paint vein and artery from the great vessels to a kidney's hilum (3,), mm in the template of the vessels."""
    vein = [(-18, -30, 16, 5), (side * 26, -26, 16, 5), (*hilum, 4.5)]
    artery = [(7, -24, 22, 3.5), (side * 24, -14, 20, 3.5), (*(hilum + [0, 6, 3]), 3)]
    painter.paint_tube(vein, "venous blood", None, "vessels")
    painter.paint_tube(artery, "blood", None, "vessels")


def _paint_iliac_vessels(painter: Painter, side: int) -> None:
    """Paint the artery and the vein from the bifurcation to one leg."""
    artery = [
        (side * 4 + 2, -33, -78, 7),
        (side * 30, -30, -112, 6),
        (side * 50, -40, -160, 6),
        (side * 76, -72, -215, 5.5),
    ]
    vein = [
        (side * 6 - 12, -24, -84, 9),
        (side * 32, -18, -122, 7.5),
        (side * 52, -28, -165, 7),
        (side * 72, -64, -218, 7),
    ]
    painter.paint_tube(artery, "blood", None, "vessels")
    painter.paint_tube(vein, "venous blood", None, "vessels")


def paint_pancreas(painter: Painter) -> None:
    """Paint the pancreas from head to tail, lobulated, with the splenic and portal vein along its back."""
    canvas = painter.canvas
    tube = painter.tube(PANCREAS_PATH, "pancreas")
    if tube is not None:
        lobes = tube.level + 1.3 * canvas.texture(tube.window, 1.5)
        canvas.paint(tube.window, lobes < 0, painter.tissue("pancreas"), PANCREAS)
    painter.paint_tube(PORTAL_PATH, "portal blood", PORTAL, "pancreas")


def paint_spleen(painter: Painter) -> None:
    """Paint the spleen: a shell-shaped body between the diaphragm and the left kidney."""
    canvas, place = painter.canvas, painter.body.organs["spleen"]
    centre = place.centre + place.shift
    window = canvas.window(centre - 78, centre + 78)
    if window is None:
        return
    level = _spleen_level(painter.body, canvas.coordinates(window), painter.cavity[window], painter.diaphragm[window])
    canvas.paint(window, level < 0, painter.tissue("spleen"), SPLEEN)


def paint_liver(painter: Painter) -> None:
    """Paint the liver under the right dome and above the visceral surface, then the gallbladder."""
    canvas, body = painter.canvas, painter.body
    window = canvas.window((-150, -190, -60), (110, 80, 200))
    if window is None:
        return
    level = _liver_level(painter.body, canvas.coordinates(window), painter.cavity[window], painter.diaphragm[window])
    canvas.paint(window, level < 0, painter.tissue("liver"), LIVER)
    contrast = 40 if body.contrast else -14
    branches = (level < -9) & (canvas.texture(window, 2.6) > 2.15)
    canvas.paint(window, branches, replace(painter.tissue("liver"), hu=painter.tissue("liver").hu + contrast), LIVER)
    forward = body.belly * 0.5
    path = [(x, y - forward * (y < -60), z, r) for x, y, z, r in GALLBLADDER_PATH]
    tube = painter.tube(path, "gallbladder", 0.3)
    if tube is not None:
        canvas.paint(tube.window, tube.level < 0, painter.tissue("bile"), GALLBLADDER)


def paint_kidney(painter: Painter, side: int, label: int) -> None:
    """Paint a kidney: a bean with cortex, pyramids and the fat and pelvis of the sinus."""
    canvas = painter.canvas
    name = "left_kidney" if side > 0 else "right_kidney"
    place = painter.body.organs[name]
    centre = place.centre + place.shift
    window = canvas.window(centre - 75, centre + 75)
    if window is None:
        return
    points = place.template(*canvas.coordinates(window))
    offsets = [v - np.float32(c) for v, c in zip(points, place.centre, strict=True)]
    inward, across, along = (_component_along(offsets, axis.astype(np.float32)) for axis in _kidney_axes(side))
    bent = inward - along**2 / 230 + 4
    level = ellipsoid((bent, across, along), (0, 0, 0), tuple(KIDNEY_HALF_AXES_MM)) + 0.6 * canvas.texture(window, 4)
    sinus = ellipsoid((bent, across, along), (19, 0, 0), (20, 9, 24))
    canvas.paint(window, level < 0, painter.tissue("cortex"), label)
    pyramids = (level < -8) & (np.sin(along / 3.4) > -0.5)
    canvas.paint(window, pyramids, painter.tissue("medulla"), label)
    canvas.paint(window, (sinus < 0) & (level < 0), painter.tissue("cavity fat"), 0)
    canvas.paint(window, (sinus < -5) & (level < 2), painter.tissue("renal pelvis"), 0)


def _component_along(offsets: Sequence[np.ndarray], axis: np.ndarray) -> np.ndarray:
    """Return the component along a unit vector (3,) of offsets x, y, z, each any shape."""
    x, y, z = offsets
    return x * axis[0] + y * axis[1] + z * axis[2]


def _liver_level(body: Body, points: Points, cavity: np.ndarray, diaphragm: np.ndarray) -> np.ndarray:
    """Compute the liver's level (mm) at x, y, z: an intersection of the cavity, the dome and three cut surfaces."""
    x, y, z = body.organs["liver"].template(*points)
    slope, left, tip, back = (float(v) for v in body.liver)
    front = np.float32(body.belly * 0.6)
    visceral = 70 + (0.56 + 0.1 * slope) * (x + 8) - 9 * np.sin((x + 40) / 32) + 0.22 * (y + 40)
    visceral = np.maximum(visceral, -14 - 12 * tip + 0.6 * np.abs(y + 25))
    behind = y + 12 + 0.85 * (x + 26) + 5 * back + front * np.clip((x + 40) / 60, 0, 1)
    end = x - 62 - 18 * left
    return intersect(cavity + 3, diaphragm + 3, visceral - z, behind * 0.85, end, softness=4)


def _spleen_level(body: Body, points: Points, cavity: np.ndarray, diaphragm: np.ndarray) -> np.ndarray:
    """Compute the spleen's level (mm) at x, y, z: an ellipsoid bowed along the wall, limited by wall and diaphragm."""
    place = body.organs["spleen"]
    x, y, z = (v - np.float32(c) for v, c in zip(place.template(*points), place.centre, strict=True))
    out, along, up = 0.84 * x + 0.52 * y + 0.15 * z, -0.55 * x + 0.83 * y, -0.12 * x - 0.08 * y + 0.99 * z
    bowed = out + (along**2 + 0.5 * up**2) / 170 - 3
    level = ellipsoid((bowed, along, up), (0, 0, 0), (27, 51, 54))
    return intersect(level, cavity + 3, diaphragm + 4, softness=2.5)


def _points_inside(body: Body, level: LevelFunction, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """Return (N, 3) mm: points of a 3 mm lattice between two corners that lie inside an organ, in the common frame."""
    axes = (np.arange(a, b, 3.0) for a, b in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    walls = body.cross_section("cavity", points), body.diaphragm(points)
    return points[level(body, tuple(np.moveaxis(points, -1, 0)), *walls) < 0]


def _liver_points(body: Body) -> dict[str, np.ndarray]:
    """Return the top of the right dome and the lower tip of the right lobe, (3,) mm in the common frame."""
    dome = np.array([*DOME_MM, 0.0])
    dome[2] = -float(body.diaphragm(dome)) - 7
    inside = _points_inside(body, _liver_level, (-165, -90, -75), (-60, 50, 110))
    weight = np.exp((inside[:, 2].min() - inside[:, 2]) / 4)  # mostly the lowest few mm, without jumps between voxels
    return {"liver_dome": dome, "liver_tip": weight @ inside / weight.sum()}


def _kidney_axes(side: int) -> np.ndarray:
    """Return (3, 3) rows: towards the hilum, across, and along a kidney towards its upper pole; side 1 is the left."""
    along = np.array([-0.22 * side, 0.22, 1.0])
    along /= np.linalg.norm(along)
    inward = np.array([-side, -0.5, 0.0])
    inward -= inward @ along * along
    inward /= np.linalg.norm(inward)
    return np.stack([inward, np.cross(along, inward), along])


def _kidney_points(body: Body, side: int) -> dict[str, np.ndarray]:
    """Return hilum and poles of one kidney, (3,) mm in the common frame."""
    name = "left_kidney" if side > 0 else "right_kidney"
    place, axes = body.organs[name], _kidney_axes(side)
    pole = KIDNEY_HALF_AXES_MM[2] - 4  # a little inside the surface
    bend = pole**2 / 230 - 4

    def at(inward: float, along: float) -> np.ndarray:
        return place.place(place.centre + inward * axes[0] + along * axes[2])

    return {
        f"{name.split('_')[0]}_renal_hilum": at(HILUM_MM, 0),
        f"{name}_upper_pole": at(bend, pole),
        f"{name}_lower_pole": at(bend, -pole),
    }


def landmarks(body: Body) -> dict[str, np.ndarray]:
    """Return points of the kidneys, liver, spleen and aorta, (3,) mm in the common frame."""
    vessels = body.organs["vessels"]
    points = _kidney_points(body, -1) | _kidney_points(body, 1) | _liver_points(body)
    points["celiac_origin"] = vessels.place(np.array([8.0, -28.0, 46.0]))
    points["aortic_bifurcation"] = vessels.place(np.array([4.0, -33.0, -80.0]))
    points["spleen_centre"] = _points_inside(body, _spleen_level, (10, -70, 0), (170, 120, 200)).mean(axis=0)
    return points
