"""Register pairs of real scans and draw them: fixed, moving warped, both in colour, both as a checkerboard.

Usage: PYTHONPATH=Testing python -m benchmarks.pictures [FIXED/MOVING ...] [--preset default] [--out demo/pictures]

Fixed is magenta and moving is green, so that equal brightness is grey. Crosses mark the fixed scan's landmarks nearby.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.validation_pairs import REPOSITORY, Subject, common, data_folder, real
from demo import figure, planes
from pddnet.core.grid import Grid
from pddnet.core.hounsfield import PADDING_HU
from pddnet.core.presets import PRESETS
from pddnet.core.result import Registration
from pddnet.evaluation.metrics import tre
from pddnet.pipeline import register

PAIRS = (
    "acrin_flt_breast_001/ts_example", "cort_liver/actc_3105759107", "ts_example/actc_3105759107",
    "lungx_CT004/lidc_0001", "cptac_C3L-00189/cort_liver", "lidc_0001/acrin_nsclc_042",
)  # fmt: skip
COLUMNS = ("fixed", "moving, warped", "fixed magenta, moving green", "checkerboard")
WINDOW_HU = (-200.0, 300.0)
SQUARE_MM = 40  # of the checkerboard
LARGEST_DISTANCE_MM = 10.0  # from a plane to the landmarks drawn in it
CENTRE = ("right_renal_hilum", "left_renal_hilum", "L1_body")  # planes through liver, kidneys and spine at once


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", default=PAIRS, metavar="FIXED/MOVING", help="names of real scans")
    parser.add_argument("--preset", default="default", choices=PRESETS)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "demo" / "pictures", help="folder of the pictures")
    args = parser.parse_args()
    if data_folder() is None:
        print("the real scans are not here; set PDDNET_DATA to their folder")
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    for pair in args.pairs:
        fixed, moving = (real(name) for name in pair.split("/"))
        result = register(fixed.image, moving.image, args.preset)
        names, fixed_points, moving_points = common(fixed, moving)
        errors = tre(fixed_points, moving_points, result.field.transform_points)
        path = args.out / f"{pair.replace('/', '_on_')}.png"
        caption = (
            f"{pair}: median error {np.median(errors):.1f} mm at {len(names)} landmarks"
            f" (worst {names[int(errors.argmax())]} {errors.max():.0f}); {result.verdict.status},"
            f" {sum(result.seconds.values()):.0f} s"
        )
        draw(fixed, moving, result, caption, path)
        print(f"{caption}\n    {path}", flush=True)
    return 0


def draw(fixed: Subject, moving: Subject, result: Registration, caption: str, path: Path) -> None:
    """Write the picture (PNG): three planes, four columns."""
    warped = result.warp(moving.image, fill=PADDING_HU)
    focus = _focus(fixed)
    window = planes.window_of(fixed.image, focus)
    heights = [(window[1] - window[0])[down] for _, (down, _), _ in planes.VIEWS.values()]
    width = max((window[1] - window[0])[:2])
    sheet = plt.figure(figsize=(20, 20 / len(COLUMNS) * sum(heights) / width + 0.8), facecolor=figure.BACKGROUND)
    grid = sheet.add_gridspec(
        3, len(COLUMNS), height_ratios=heights, left=0, right=1, bottom=0.02, top=0.95, wspace=0.01, hspace=0.01
    )
    for row, view in enumerate(planes.VIEWS):
        where = planes.plane(view, focus, np.eye(3), window)
        a, b = (_grey(planes.scalar(image, where, PADDING_HU)) for image in (fixed.image, warped))
        for column, panel in enumerate((a, b, np.stack([a, b, a], -1), _checkerboard(a, b))):
            axes = sheet.add_subplot(grid[row, column])
            axes.imshow(panel, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
            _crosses(axes, fixed, where)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(COLUMNS[column], color=figure.INK, fontsize=14)
    sheet.text(0.005, 0.004, caption, color=figure.INK, fontsize=14)
    sheet.savefig(path, dpi=70, facecolor=figure.BACKGROUND)
    plt.close(sheet)


def _focus(subject: Subject) -> np.ndarray:
    """Return the point, LPS mm, between the kidneys at the first lumbar vertebra, or the mean of the landmarks."""
    points = [subject.landmarks[n] for n in CENTRE if n in subject.landmarks] or list(subject.landmarks.values())
    focus = np.mean(points, axis=0)
    if "L1_body" in subject.landmarks:
        focus[0] = subject.landmarks["L1_body"][0]
    return focus


def _grey(hu: np.ndarray) -> np.ndarray:
    low, high = WINDOW_HU
    return np.clip((hu - low) / (high - low), 0, 1)


def _checkerboard(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(n) * planes.PIXEL_MM // SQUARE_MM for n in a.shape)
    return np.where((rows[:, None] + columns) % 2 == 0, a, b)


def _crosses(axes: Axes, subject: Subject, where: Grid) -> None:
    """Mark the landmarks near the plane."""
    for point in subject.landmarks.values():
        i, j, k = where.point_to_index(point)
        if abs(k) * where.spacing[2] <= LARGEST_DISTANCE_MM and 0 <= i < where.size[0] and 0 <= j < where.size[1]:
            axes.plot(i, j, "+", color="#ffb000", markersize=9, markeredgewidth=1.2)


if __name__ == "__main__":
    sys.exit(main())
