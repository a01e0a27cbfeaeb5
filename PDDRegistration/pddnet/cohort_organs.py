"""Soft tissues of the virtual patients: torso, organs, vessels, bowel. Common frame, mm; supine: gas rises to -y."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .cohort_body import Body
from .cohort_canvas import Canvas, Tissue, Tube, ellipsoid, intersect
from .cohort_skeleton import spine_depth

SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, GALLBLADDER, OESOPHAGUS, LIVER, STOMACH, AORTA, CAVA, PORTAL, PANCREAS = range(1, 12)
BLADDER, RIGHT_PSOAS, LEFT_PSOAS, LUNGS, COLON, SMALL_BOWEL, HEART = 14, 15, 16, 18, 20, 21, 22

Points = tuple[np.ndarray, ...]  # x, y, z, each of the same shape, mm in the common frame
LevelFunction = Callable[[Body, Points, np.ndarray, np.ndarray], np.ndarray]

# HU in a native scan and in the portal venous phase, and the texture's standard deviation.
TISSUES: dict[str, tuple[float, float, float]] = {
    "skin": (0, 15, 15),
    "fat": (-104, -102, 11),
    "cavity fat": (-103, -100, 13),
    "muscle": (54, 64, 14),
    "lung": (-860, -850, 35),
    "liver": (58, 112, 7),
    "spleen": (48, 122, 6),
    "cortex": (33, 185, 6),
    "medulla": (30, 150, 8),
    "renal pelvis": (6, 12, 6),
    "pancreas": (38, 96, 20),
    "blood": (42, 150, 5),
    "venous blood": (40, 142, 6),
    "portal blood": (42, 168, 5),
    "bile": (8, 9, 4),
    "urine": (5, 8, 4),
    "wall": (40, 88, 10),
    "content": (22, 24, 16),
    "stool": (15, 20, 70),
    "gas": (-960, -960, 15),
}

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
PANCREAS_PATH = [
    (-22, -48, 2, 14.5),
    (-16, -54, 20, 16),
    (6, -58, 30, 9.5),
    (34, -44, 40, 10.5),
    (62, -12, 52, 11.5),
    (82, 4, 60, 10),
]
DUODENUM_PATH = [
    (-18, -69, 42, 11),
    (-42, -56, 30, 12),
    (-44, -40, -14, 12),
    (-14, -46, -34, 11),
    (24, -48, -22, 11),
    (36, -60, -4, 11),
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
PSOAS_PATH = [
    (24, 4, 40, 6),
    (32, -2, 4, 11),
    (42, -6, -44, 17),
    (52, -12, -90, 20),
    (64, -30, -140, 19),
    (84, -56, -200, 17),
]

# Half axes of a kidney: towards the hilum, across, and along it.
KIDNEY = np.array([29.0, 25.0, 54.0])
HILUM = 21.0  # mm from the kidney's centre
DOME = (-52.0, -26.0)  # x, y of the diaphragm's highest point


def tissue(body: Body, name: str) -> Tissue:
    """A tissue in the contrast phase of this patient."""
    native, portal, grain = TISSUES[name]
    return Tissue(portal if body.contrast else native, grain)


def paint_organs(canvas: Canvas) -> None:
    """Everything soft, from the skin inwards; a later organ lies over an earlier one."""
    Painter(canvas).paint()


class Painter:
    """Paints one patient's soft tissues; holds the large surfaces that many organs share."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.body = canvas, canvas.body
        points = canvas.coarse_points
        self.skin, self.muscle, self.cavity = (
            canvas.refine(self.body.cross_section(name, points)) for name in ("skin", "muscle", "cavity")
        )
        self.diaphragm = canvas.refine(self.body.diaphragm(points))

    def tissue(self, name: str) -> Tissue:
        """A tissue in this patient's contrast phase."""
        return tissue(self.body, name)

    def paint(self) -> None:
        """All tissues in the order in which they may cover each other."""
        self._paint_torso()
        self._paint_chest()
        self._paint_muscles()
        self._paint_small_bowel()
        self._paint_colon()
        self._paint_bladder()
        self._paint_vessels()
        self._paint_pancreas()
        self._paint_stomach()
        self._paint_spleen()
        self._paint_liver()
        self._paint_kidney(-1, RIGHT_KIDNEY)
        self._paint_kidney(1, LEFT_KIDNEY)

    def _paint_torso(self) -> None:
        """Skin, fat, the muscle wall, the fat of the cavity with the small vessels in it."""
        whole, paint = self.canvas.whole, self.canvas.paint
        grains = self.canvas.texture(whole)
        paint(whole, self.skin < 0, self.tissue("skin"))
        paint(whole, self.skin < -2.2, self.tissue("fat"))
        paint(whole, (self.muscle < 0) & (self.skin < -2.2), self.tissue("muscle"))
        paint(whole, (self.muscle < -3) & (grains < -1.9), Tissue(-50, 10))  # fat between the muscles
        inside = self.cavity < 0
        paint(whole, inside, self.tissue("cavity fat"))
        paint(whole, inside & (grains > 1.9), Tissue(25 + 60 * self.body.contrast, 10))

    def _paint_chest(self) -> None:
        """Lungs above the diaphragm, the mediastinum with the heart and the oesophagus, the diaphragm itself."""
        canvas, body = self.canvas, self.body
        window = canvas.window((-150, -150, 20), (150, 110, 330))
        if window is None:
            return
        x, y, z = canvas.coordinates(window)
        chest = self.cavity[window] < -3
        above = self.diaphragm[window]
        spine = canvas.refine(spine_depth(canvas.coarse_points[..., 2]))[window]
        middle = np.abs(x - 4) - (16 + 10 * np.clip((spine - 30 - y) / 60, 0, 1))
        near_spine = np.hypot(x / 27, (y - spine - 4) / 24) - 1
        lung = chest & (above > 2) & (middle > 0) & (near_spine > 0)
        canvas.paint(window, lung, self.tissue("lung"), LUNGS)
        canvas.paint(window, lung & (canvas.texture(window) > 1.9), Tissue(-150, 150), LUNGS)
        canvas.paint(window, chest & (above < 2) & (above > -2), self.tissue("muscle"))
        heart = ellipsoid(body.organs["heart"].template(x, y, z), (18, -45, 178), (58, 43, 46))
        heart = np.maximum(heart, 3 - above)
        canvas.paint(window, heart < 3, self.tissue("cavity fat"), 0)
        canvas.paint(window, heart < 0, self.tissue("muscle"), HEART)
        chambers = ellipsoid(body.organs["heart"].template(x, y, z), (10, -40, 184), (40, 26, 34))
        canvas.paint(window, (chambers < 0) & (heart < -6), self.tissue("venous blood"), HEART)
        top = spine_depth(np.array([260.0, 180.0, 125.0])) - 33
        self._paint_tube(
            [(2, top[0], 280, 8), (2, top[1], 180, 8), (14, top[2] - 14, 124, 8), (30, -14, 108, 9)], "wall", OESOPHAGUS
        )

    def _paint_tube(self, path: list, name: str, label: int | None, organ: str | None = None) -> Tube | None:
        """One tissue along a path of (x, y, z, radius) in mm, at the organ's place where one is named."""
        tube = self._tube(path, organ)
        if tube is not None:
            self.canvas.paint(tube.window, tube.level < 0, self.tissue(name), label)
        return tube

    def _tube(self, path: list, organ: str | None, step: float = 0.6) -> Tube | None:
        """The level of a tube along (x, y, z, radius) in mm, placed as the organ is."""
        values = np.array(path, float)
        points, radii = values[:, :3], values[:, 3]
        if organ is not None:
            place = self.body.organs[organ]
            points, radii = place.place(points), radii * place.scale
        return self.canvas.tube(points, radii, step)

    def _paint_muscles(self) -> None:
        """Psoas and quadratus lumborum on both sides, the crura of the diaphragm."""
        for side, label in ((-1, RIGHT_PSOAS), (1, LEFT_PSOAS)):
            self._paint_tube([(side * x, y, z, r) for x, y, z, r in PSOAS_PATH], "muscle", label, "psoas")
            lumborum = [
                (side * 50, 32, 50, 8),
                (side * 60, 32, 0, 13),
                (side * 72, 32, -50, 14),
                (side * 84, 30, -92, 12),
            ]
            self._paint_tube(lumborum, "muscle", None)
            self._paint_tube(
                [(side * 16, -2, 105, 8), (side * 14, -14, 60, 7), (side * 13, -16, 20, 5)], "muscle", None
            )

    def _paint_small_bowel(self) -> None:
        """Loops that fill the middle of the abdomen: a periodic surface, bent so that no two loops look alike."""
        canvas, phase = self.canvas, self.body.phase
        window = canvas.window((-110, -200, -175), (110, 10, 30))
        if window is None:
            return
        x, y, z = canvas.coordinates(window)
        front = np.float32(self.body.belly * 0.5)
        region = ellipsoid((x, y, z), (0, -62 - front * 0.7, -72), (96, 46 + front * 0.6, 90))
        region = np.maximum(region, self.cavity[window] + 5)
        a = x / 8.8 + 0.9 * np.sin(y / 17 + phase[0]) + phase[3]
        b = y / 8.2 + 0.9 * np.sin(z / 19 + phase[1]) + phase[4]
        c = z / 9.5 + 0.9 * np.sin(x / 21 + phase[2]) + phase[5]
        loops = np.sin(a) * np.cos(b) + np.sin(b) * np.cos(c) + np.sin(c) * np.cos(a)
        bowel = (region < 0) & (loops > -0.4)
        canvas.paint(window, bowel, self.tissue("wall"), SMALL_BOWEL)
        canvas.paint(window, bowel & (loops > 0.3), self.tissue("content"), SMALL_BOWEL)
        gas = bowel & (loops > 0.75) & (canvas.texture(window, 6) > 1.6 - 0.8 * self.body.gas)
        canvas.paint(window, gas, self.tissue("gas"), SMALL_BOWEL)
        tube = self._paint_tube(DUODENUM_PATH, "wall", SMALL_BOWEL, "pancreas")
        if tube is not None:
            canvas.paint(tube.window, tube.level < -4, self.tissue("content"), SMALL_BOWEL)

    def _paint_colon(self) -> None:
        """Caecum to rectum, with haustra; gas above stool, more of it in some segments."""
        forward = [self.body.belly * 0.75 * float(np.clip((-y - 20) / 60, 0, 1)) for _, y, _, _ in COLON_PATH]
        path = [(x, y - f, z, r) for (x, y, z, r), f in zip(COLON_PATH, forward, strict=True)]
        tube = self._tube(path, "colon", 0.4)
        if tube is None:
            return
        canvas = self.canvas
        number = tube.part.astype(np.float32)
        level = tube.level + 1.4 * np.sin(number * 1.35 + self.body.phase[0]) + 1.2
        inside = (level < 0) & (self.cavity[tube.window] < 2)
        canvas.paint(tube.window, inside, self.tissue("wall"), COLON)
        lumen = inside & (level < -2.6)
        grains = canvas.texture(tube.window, 2.2)
        canvas.paint(tube.window, lumen, self.tissue("stool"), COLON)
        canvas.paint(tube.window, lumen & (grains > 1.1), self.tissue("gas"), COLON)
        height = (tube.path[tube.part, 1] - canvas.y[tube.window]) / tube.radii[tube.part]
        fill = 0.9 - 1.5 * self.body.gas + 0.7 * np.sin(number / 9 + self.body.phase[1])
        canvas.paint(tube.window, lumen & (height > fill), self.tissue("gas"), COLON)

    def _paint_bladder(self) -> None:
        """Urine in a thin wall."""
        canvas, body = self.canvas, self.body
        window = canvas.window((-75, -110, -270), (75, 40, -130))
        if window is None:
            return
        points = body.organs["bladder"].template(*canvas.coordinates(window))
        level = ellipsoid(points, (0, -42, -210), tuple(body.bladder * np.array([42, 31, 30])))
        canvas.paint(window, level < 0, self.tissue("wall"), BLADDER)
        canvas.paint(window, level < -3, self.tissue("urine"), BLADDER)

    def _paint_stomach(self) -> None:
        """A J of changing width under the left dome; gas in front, fluid behind."""
        forward = self.body.belly * 0.35
        path = [(x, y - forward * float(np.clip((-y) / 70, 0, 1)), z, r) for x, y, z, r in STOMACH_PATH]
        tube = self._tube(path, "stomach", 0.25)
        if tube is None:
            return
        canvas, window = self.canvas, tube.window
        level = intersect(tube.level, self.cavity[window] + 3, self.diaphragm[window] + 3, softness=2)
        canvas.paint(window, level < 0, self.tissue("wall"), STOMACH)
        canvas.paint(window, level < -4.5, self.tissue("content"), STOMACH)
        top = -44 - forward * 0.6 - 14 * (1 - self.body.gas) + self.body.organs["stomach"].shift[1]
        canvas.paint(window, (level < -4.5) & (canvas.y[window] < top), self.tissue("gas"), STOMACH)

    def _paint_vessels(self) -> None:
        """Aorta and its first branches, the vena cava, the renal and iliac vessels, the portal and splenic vein."""
        kidneys = _kidney_points(self.body, -1) | _kidney_points(self.body, 1)
        back = np.linalg.inv(self.body.organs["vessels"].axes)
        for side, name in ((-1, "right"), (1, "left")):
            place = self.body.organs["vessels"]
            hilum = (kidneys[f"{name}_renal_hilum"] - place.shift - place.centre) @ back.T + place.centre
            self._paint_tube(
                [(-18, -30, 16, 5), (side * 26, -26, 16, 5), (*hilum, 4.5)], "venous blood", None, "vessels"
            )
            self._paint_tube(
                [(7, -24, 22, 3.5), (side * 24, -14, 20, 3.5), (*(hilum + [0, 6, 3]), 3)], "blood", None, "vessels"
            )
            legs = [
                (side * 4 + 2, -33, -78, 7),
                (side * 30, -30, -112, 6),
                (side * 50, -40, -160, 6),
                (side * 76, -72, -215, 5.5),
            ]
            self._paint_tube(legs, "blood", None, "vessels")
            veins = [
                (side * 6 - 12, -24, -84, 9),
                (side * 32, -18, -122, 7.5),
                (side * 52, -28, -165, 7),
                (side * 72, -64, -218, 7),
            ]
            self._paint_tube(veins, "venous blood", None, "vessels")
        self._paint_tube([(8, -32, 46, 4), (7, -46, 45, 3.5), (-12, -52, 50, 3)], "blood", None, "vessels")
        self._paint_tube([(8, -32, 30, 4), (6, -50, 12, 3.5), (4, -60, -50, 3)], "blood", None, "vessels")
        self._paint_tube(CAVA_PATH, "venous blood", CAVA, "vessels")
        self._paint_tube(AORTA_PATH, "blood", AORTA, "vessels")

    def _paint_pancreas(self) -> None:
        """Head to tail, lobulated, with the splenic and portal vein along its back."""
        canvas = self.canvas
        tube = self._tube(PANCREAS_PATH, "pancreas")
        if tube is not None:
            lobes = tube.level + 1.3 * canvas.texture(tube.window, 1.5)
            canvas.paint(tube.window, lobes < 0, self.tissue("pancreas"), PANCREAS)
        self._paint_tube(PORTAL_PATH, "portal blood", PORTAL, "pancreas")

    def _paint_spleen(self) -> None:
        """A shell-shaped body between the diaphragm and the left kidney."""
        canvas, place = self.canvas, self.body.organs["spleen"]
        centre = place.centre + place.shift
        window = canvas.window(centre - 78, centre + 78)
        if window is None:
            return
        level = _spleen_level(self.body, canvas.coordinates(window), self.cavity[window], self.diaphragm[window])
        canvas.paint(window, level < 0, self.tissue("spleen"), SPLEEN)

    def _paint_liver(self) -> None:
        """What lies under the right dome, above the visceral surface and right of the stomach; then the gallbladder."""
        canvas, body = self.canvas, self.body
        window = canvas.window((-150, -190, -60), (110, 80, 200))
        if window is None:
            return
        level = _liver_level(self.body, canvas.coordinates(window), self.cavity[window], self.diaphragm[window])
        canvas.paint(window, level < 0, self.tissue("liver"), LIVER)
        contrast = 40 if body.contrast else -14
        branches = (level < -9) & (canvas.texture(window, 2.6) > 2.15)
        canvas.paint(window, branches, replace(self.tissue("liver"), hu=self.tissue("liver").hu + contrast), LIVER)
        forward = body.belly * 0.5
        path = [(x, y - forward * (y < -60), z, r) for x, y, z, r in GALLBLADDER_PATH]
        tube = self._tube(path, "gallbladder", 0.3)
        if tube is not None:
            canvas.paint(tube.window, tube.level < 0, self.tissue("bile"), GALLBLADDER)

    def _paint_kidney(self, side: int, label: int) -> None:
        """A bean with cortex, pyramids and the fat and pelvis of the sinus."""
        canvas = self.canvas
        name = "left_kidney" if side > 0 else "right_kidney"
        place = self.body.organs[name]
        centre = place.centre + place.shift
        window = canvas.window(centre - 75, centre + 75)
        if window is None:
            return
        points = place.template(*canvas.coordinates(window))
        offsets = [v - np.float32(c) for v, c in zip(points, place.centre, strict=True)]
        inward, across, along = (
            sum(o * np.float32(a) for o, a in zip(offsets, row, strict=True)) for row in _kidney_axes(side)
        )
        bent = inward - along**2 / 230 + 4
        level = ellipsoid((bent, across, along), (0, 0, 0), tuple(KIDNEY)) + 0.6 * canvas.texture(window, 4)
        sinus = ellipsoid((bent, across, along), (19, 0, 0), (20, 9, 24))
        canvas.paint(window, level < 0, self.tissue("cortex"), label)
        pyramids = (level < -8) & (np.sin(along / 3.4) > -0.5)
        canvas.paint(window, pyramids, self.tissue("medulla"), label)
        canvas.paint(window, (sinus < 0) & (level < 0), self.tissue("cavity fat"), 0)
        canvas.paint(window, (sinus < -5) & (level < 2), self.tissue("renal pelvis"), 0)


def _liver_level(body: Body, points: Points, cavity: np.ndarray, diaphragm: np.ndarray) -> np.ndarray:
    """The liver's level (mm) at x, y, z: an intersection of the cavity, the dome and three cut surfaces."""
    x, y, z = body.organs["liver"].template(*points)
    slope, left, tip, back = (float(v) for v in body.liver)
    front = np.float32(body.belly * 0.6)
    visceral = 70 + (0.56 + 0.1 * slope) * (x + 8) - 9 * np.sin((x + 40) / 32) + 0.22 * (y + 40)
    visceral = np.maximum(visceral, -14 - 12 * tip + 0.6 * np.abs(y + 25))
    behind = y + 12 + 0.85 * (x + 26) + 5 * back + front * np.clip((x + 40) / 60, 0, 1)
    end = x - 62 - 18 * left
    return intersect(cavity + 3, diaphragm + 3, visceral - z, behind * 0.85, end, softness=4)


def _spleen_level(body: Body, points: Points, cavity: np.ndarray, diaphragm: np.ndarray) -> np.ndarray:
    """The spleen's level (mm) at x, y, z: an ellipsoid bowed along the wall, limited by the wall and the diaphragm."""
    place = body.organs["spleen"]
    x, y, z = (v - np.float32(c) for v, c in zip(place.template(*points), place.centre, strict=True))
    out, along, up = 0.84 * x + 0.52 * y + 0.15 * z, -0.55 * x + 0.83 * y, -0.12 * x - 0.08 * y + 0.99 * z
    bowed = out + (along**2 + 0.5 * up**2) / 170 - 3
    level = ellipsoid((bowed, along, up), (0, 0, 0), (27, 51, 54))
    return intersect(level, cavity + 3, diaphragm + 4, softness=2.5)


def _sampled(body: Body, level: LevelFunction, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """(N, 3) mm: the points of a 3 mm lattice between two corners that lie inside an organ, in the common frame."""
    axes = (np.arange(a, b, 3.0) for a, b in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    walls = body.cross_section("cavity", points), body.diaphragm(points)
    return points[level(body, tuple(np.moveaxis(points, -1, 0)), *walls) < 0]


def _liver_points(body: Body) -> dict[str, np.ndarray]:
    """The top of the right dome and the lower tip of the right lobe, (3,) mm in the common frame."""
    dome = np.array([*DOME, 0.0])
    dome[2] = -float(body.diaphragm(dome)) - 7
    inside = _sampled(body, _liver_level, (-165, -90, -75), (-60, 50, 110))
    weight = np.exp((inside[:, 2].min() - inside[:, 2]) / 4)  # mostly the lowest few mm, without jumps between voxels
    return {"liver_dome": dome, "liver_tip": weight @ inside / weight.sum()}


def _kidney_axes(side: int) -> np.ndarray:
    """(3, 3) rows: towards the hilum, across, and along a kidney towards its upper pole; side 1 is the left."""
    along = np.array([-0.22 * side, 0.22, 1.0])
    along /= np.linalg.norm(along)
    inward = np.array([-side, -0.5, 0.0])
    inward -= inward @ along * along
    inward /= np.linalg.norm(inward)
    return np.stack([inward, np.cross(along, inward), along])


def _kidney_points(body: Body, side: int) -> dict[str, np.ndarray]:
    """Hilum and poles of one kidney, (3,) mm in the common frame."""
    name = "left_kidney" if side > 0 else "right_kidney"
    place, axes = body.organs[name], _kidney_axes(side)
    pole = KIDNEY[2] - 4  # a little inside the surface
    bend = pole**2 / 230 - 4

    def at(inward: float, along: float) -> np.ndarray:
        return place.place(place.centre + inward * axes[0] + along * axes[2])

    return {
        f"{name.split('_')[0]}_renal_hilum": at(HILUM, 0),
        f"{name}_upper_pole": at(bend, pole),
        f"{name}_lower_pole": at(bend, -pole),
    }


def landmarks(body: Body) -> dict[str, np.ndarray]:
    """Points of the kidneys, liver, spleen and aorta, (3,) mm in the common frame."""
    vessels = body.organs["vessels"]
    points = _kidney_points(body, -1) | _kidney_points(body, 1) | _liver_points(body)
    points["celiac_origin"] = vessels.place(np.array([8.0, -28.0, 46.0]))
    points["aortic_bifurcation"] = vessels.place(np.array([4.0, -33.0, -80.0]))
    points["spleen_centre"] = _sampled(body, _spleen_level, (10, -70, 0), (170, 120, 200)).mean(axis=0)
    return points
