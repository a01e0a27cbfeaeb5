"""Paint soft tissues in the patient's contrast phase, and hold the surfaces that organs share (`Painter`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .canvas import Canvas, Tissue, Tube

Path = Sequence[tuple[float, float, float, float] | np.ndarray]
"""Points (x, y, z, radius), mm in the common frame."""

# HU in a native scan and in the portal venous phase, and the texture's standard deviation. Patients synthesised from
# label maps have a table of their own, `synthesis.tissue.MATERIAL_HU`: three phases, and how much patients differ.
TISSUE_HU: dict[str, tuple[float, float, float]] = {
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


class Painter:
    """Paint on one patient's canvas.

    Attributes:
        skin, muscle, cavity: (D, H, W) signed distances in mm to the cross-section's surfaces, negative inside.
        diaphragm: (D, H, W) height in mm above it.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.body = canvas, canvas.body
        points = canvas.coarse_points
        self.skin, self.muscle, self.cavity = (
            canvas.refine(self.body.cross_section(name, points)) for name in ("skin", "muscle", "cavity")
        )
        self.diaphragm = canvas.refine(self.body.diaphragm(points))

    def tissue(self, name: str) -> Tissue:
        """Return the HU and texture of a tissue of `TISSUE_HU` in this patient's contrast phase."""
        native, portal, grain = TISSUE_HU[name]
        return Tissue(portal if self.body.contrast else native, grain)

    def paint_tube(self, path: Path, name: str, label: int | None, organ: str | None = None) -> Tube | None:
        """Paint one tissue along a path of (x, y, z, radius) in mm, at the organ's position where one is named."""
        tube = self.tube(path, organ)
        if tube is not None:
            self.canvas.paint(tube.window, tube.level < 0, self.tissue(name), label)
        return tube

    def tube(self, path: Path, organ: str | None, step: float = 0.6) -> Tube | None:
        """Compute the level of a tube along (x, y, z, radius) in mm, placed as the organ; None outside the view."""
        values = np.array(path, float)
        points, radii = values[:, :3], values[:, 3]
        if organ is not None:
            place = self.body.organs[organ]
            points, radii = place.place(points), radii * place.scale
        return self.canvas.tube(points, radii, step)
