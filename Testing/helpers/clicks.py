"""The module in the host, used as users do, by mouse and keyboard; and judges that are not the code under test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from helpers import mrml_geometry, samples
from helpers.paths import MODULE
from pddnet.core.image import Image

if TYPE_CHECKING:
    from host.host import Host

RAS = mrml_geometry.RAS
SAMPLE_DATA = MODULE.parent / "Resources" / "SampleData"
APPLY = "Apply"


def click(button: object) -> None:
    """One click with the left mouse button in the middle of a widget."""
    import qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(button, qt.Qt.LeftButton)


def double_click(button: object) -> None:
    """Two quick clicks, as a window system sends them: the second waits until the window works again."""
    import qt

    middle, press = qt.QPointF(button.rect.center()), qt.QEvent.MouseButtonPress
    for kind in (press, qt.QEvent.MouseButtonRelease, qt.QEvent.MouseButtonDblClick, qt.QEvent.MouseButtonRelease):
        pressed = qt.Qt.NoButton if kind == qt.QEvent.MouseButtonRelease else qt.Qt.LeftButton
        place = button.mapToGlobal(middle)
        event = qt.QMouseEvent(kind, middle, place, qt.Qt.LeftButton, pressed, qt.Qt.NoModifier)
        qt.QApplication.postEvent(button, event)
    qt.QApplication.processEvents()


@contextmanager
def every_click_counts() -> Iterator[None]:
    """Meanwhile two clicks are two, however soon the second comes."""
    import slicer

    interval, slicer.app.doubleClickInterval = slicer.app.doubleClickInterval, 0
    try:
        yield
    finally:
        slicer.app.doubleClickInterval = interval


def choose(selector: object, text: str) -> None:
    """Type the first letters of an entry into a combo box, which chooses it. `text` is typed whole."""
    import qt
    from PySide6.QtTest import QTest

    boxes = selector.findChildren(qt.QComboBox)
    box = boxes[0] if boxes else selector
    box.view().keyboardSearch("")  # a new word, however soon after the last one
    QTest.keyClicks(box, text)
    assert box.currentText.startswith(text), f"'{text}' was typed, '{box.currentText}' is chosen"


def pick(selector: object, text: str) -> None:
    """Open a combo box and click the first entry that begins with `text`, such as "Create new"."""
    import qt
    from PySide6.QtTest import QTest

    boxes = selector.findChildren(qt.QComboBox)
    box = boxes[0] if boxes else selector
    row = next(n for n in range(box.count) if box.itemText(n).startswith(text))
    box.showPopup()
    view = box.view()
    place = view.visualRect(box.model().index(row, 0)).center()
    QTest.mouseMove(view.viewport(), place)
    QTest.mouseClick(view.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, place)
    box.hidePopup()


def unfold(section: object) -> None:
    """Click the heading of a section; what is folded opens, what is open folds."""
    import qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(section, qt.Qt.LeftButton, qt.Qt.NoModifier, qt.QPoint(60, 12))


def type_into(box: object, text: str) -> None:
    """Type a number into a spin box, and Enter."""
    import qt
    from PySide6.QtTest import QTest

    box.selectAll()
    QTest.keyClicks(box, text)
    QTest.keyClick(box, qt.Qt.Key_Return)


def apply(host: Host, widget: object) -> None:
    """Click Apply and wait for the end of the run."""

    def body() -> None:
        assert widget.ui.applyButton.enabled, widget.ui.applyButton.toolTip
        click(widget.ui.applyButton)
        assert host.waitUntil(lambda: widget.ui.applyButton.text == APPLY, 300)

    host.runInEventLoop(body)


class CommandLine:
    """`pddnet register` of two files, in a process of its own."""

    def __init__(self, fixed: Path, moving: Path, transform: Path) -> None:
        self.transform = transform
        files = {"--fixed": fixed, "--moving": moving, "--output-transform": transform}
        arguments = [str(part) for option in files.items() for part in option]
        program = [sys.executable, "-m", "pddnet", "register", *arguments]
        self._process = subprocess.Popen(program, cwd=MODULE.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def result(self) -> sitk.DisplacementFieldTransform:
        """What it wrote, once it has ended."""
        output = self._process.communicate(timeout=300)[0]
        assert self._process.returncode == 0, output.decode()
        return read_field(self.transform)


def read_field(path: Path) -> sitk.DisplacementFieldTransform:
    """A grid transform's file as ITK understands it."""
    return sitk.DisplacementFieldTransform(sitk.ReadTransform(str(path)))


def field_of_file(transform: sitk.DisplacementFieldTransform) -> tuple[np.ndarray, np.ndarray]:
    """(D, H, W, 3) displacements in LPS mm, and the (4, 4) of their voxels (i, j, k) to LPS mm."""
    field = transform.GetDisplacementField()
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(field.GetDirection()).reshape(3, 3) * field.GetSpacing()
    matrix[:3, 3] = field.GetOrigin()
    return sitk.GetArrayFromImage(field), matrix


def field_of_node(node: object) -> tuple[np.ndarray, np.ndarray]:
    """The same of a grid transform node, which must be stored from parent; by VTK alone."""
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    transform.Update()
    assert not transform.GetInverseFlag()
    data, turn = transform.GetDisplacementGrid(), transform.GetGridDirectionMatrix()
    matrix = np.eye(4)
    matrix[:3, :3] = [[turn.GetElement(row, column) for column in range(3)] for row in range(3)]
    matrix[:3, :3] *= data.GetSpacing()
    matrix[:3, 3] = data.GetOrigin()
    array = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(*data.GetDimensions()[::-1], 3)
    return array * RAS, np.diag([*RAS, 1.0]) @ matrix


def difference(node: object, other: object) -> float:
    """The largest distance in mm between the displacements of two grid transforms, nodes or ITK's, on one grid."""
    (mine, here), (theirs, there) = (
        field_of_file(each) if isinstance(each, sitk.Transform) else field_of_node(each) for each in (node, other)
    )
    assert mine.shape == theirs.shape
    assert np.abs(here - there).max() < 1e-4
    return float(np.linalg.norm(mine - theirs, axis=-1).max())


def moved(transform: vtk.vtkAbstractTransform, points: np.ndarray) -> np.ndarray:
    """LPS points (N, 3), each where a VTK transform (in RAS) takes it."""
    return np.array([transform.TransformPoint(point) for point in (np.asarray(points) * RAS).tolist()]) * RAS


def small_images() -> tuple[Image, Image]:
    """Two bodies of noise, the moving one SHIFT away, on oblique grids without a common axis; registered in 0.2 s."""
    fixed = samples.body(samples.FIXED)
    blank = Image(np.zeros(samples.MOVING.shape, np.int16), samples.MOVING).to_sitk()
    back = sitk.TranslationTransform(3, (-samples.SHIFT).tolist())
    return fixed, Image.from_sitk(sitk.Resample(fixed.to_sitk(), blank, back, sitk.sitkLinear, -1000))


def click_sample(source: object) -> None:
    """What the button of a data set does in the Sample Data module: only there a customDownloader is called."""
    import SampleData

    (source.customDownloader or SampleData.SampleDataLogic().downloadFromSource)(source)


def label_names() -> dict[int, str]:
    """The sample pair's organs by label value, as the scene shall call them."""
    names = json.loads((SAMPLE_DATA / "labels.json").read_text("utf-8"))
    return {int(value): name.replace("_", " ") for value, name in names.items()}


def dice(fixed: np.ndarray, moving: np.ndarray) -> dict[int, float]:
    """The overlap, 0..1, of every label that the fixed map holds."""
    both = np.bincount(fixed[fixed == moving].ravel(), minlength=256)
    of_fixed, of_moving = (np.bincount(side.ravel(), minlength=256) for side in (fixed, moving))
    return {v: 2 * both[v] / (of_fixed[v] + of_moving[v]) for v in range(1, 256) if of_fixed[v]}
