"""Widgets around the views: they show what a view rendered, and pass the mouse on to it."""

from __future__ import annotations

import qt
import slicer
import vtk

from host.views import SliceView, ThreeDView, View
from host.widgets.slice_bar import qMRMLSliceControllerWidget

DELAY = 15  # ms: many changes to the scene, one rendering


class ViewCanvas(qt.QLabel):
    """The picture of a view. It is rendered anew, shortly after something changed."""

    _view: View | None = None
    _timer: qt.QTimer | None = None
    _paused: bool = False

    def __init__(self, view: View, parent: qt.QWidget) -> None:
        super().__init__(parent)
        self._view = view
        self.setMinimumSize(80, 80)
        self.setMouseTracking(True)
        self.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Ignored)
        self._timer = qt.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.forceRender)
        view.managers.AddObserver(vtk.vtkCommand.UpdateEvent, self.scheduleRender)
        view.interactor.AddObserver(vtk.vtkCommand.RenderEvent, self.scheduleRender)

    def scheduleRender(self, *_: object) -> None:
        if not self._timer.active and not self._paused:
            self._timer.start(DELAY)

    def forceRender(self) -> None:
        self._timer.stop()
        pixels = self._view.image()
        height, width, _ = pixels.shape
        image = qt.QImage(pixels.data, width, height, 3 * width, qt.QImage.Format_RGB888)
        self.setPixmap(qt.QPixmap.fromImage(image))

    def pause(self, paused: bool) -> None:
        self._paused = paused
        if paused:
            self._timer.stop()
        else:
            self.scheduleRender()

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._view.window

    def resizeEvent(self, event: qt.QResizeEvent) -> None:
        self._view.resize(max(10, self.width), max(10, self.height))
        self.scheduleRender()

    def _pass_on(self, event: qt.QMouseEvent, happened: str) -> None:
        position, interactor = event.position(), self._view.interactor
        control = bool(event.modifiers() & qt.Qt.ControlModifier)
        shift = bool(event.modifiers() & qt.Qt.ShiftModifier)
        interactor.SetEventInformation(int(position.x()), self.height - 1 - int(position.y()), control, shift)
        interactor.InvokeEvent(happened)
        self.scheduleRender()

    def _button(self, event: qt.QMouseEvent) -> str:
        names = {qt.Qt.LeftButton: "Left", qt.Qt.MiddleButton: "Middle", qt.Qt.RightButton: "Right"}
        return names.get(event.button(), "Left")

    def mousePressEvent(self, event: qt.QMouseEvent) -> None:
        self._pass_on(event, f"{self._button(event)}ButtonPressEvent")

    def mouseReleaseEvent(self, event: qt.QMouseEvent) -> None:
        self._pass_on(event, f"{self._button(event)}ButtonReleaseEvent")

    def enterEvent(self, event: qt.QEvent) -> None:
        self._view.interactor.InvokeEvent("EnterEvent")

    def leaveEvent(self, event: qt.QEvent) -> None:
        self.leave()

    def leave(self) -> None:
        self._view.interactor.InvokeEvent("LeaveEvent")

    def mouseMoveEvent(self, event: qt.QMouseEvent) -> None:
        self._pass_on(event, "MouseMoveEvent")


class ThreeDWidget(qt.QWidget):
    """A 3-D view under its bar."""

    _canvas: ViewCanvas | None = None
    _view: ThreeDView | None = None

    def __init__(self, view: ThreeDView) -> None:
        super().__init__()
        self._view = view
        self._canvas = ViewCanvas(view, self)
        bar = _bar(self, "1", view.node.GetLayoutColor())
        bar.layout().addStretch(1)
        _stack(self, bar, self._canvas)

    def threeDView(self) -> ThreeDWidget:
        return self

    def canvas(self) -> ViewCanvas:
        return self._canvas

    def view(self) -> ThreeDView:
        return self._view

    def resetFocalPoint(self) -> None:
        self._view.fit()
        self._canvas.scheduleRender()

    def scheduleRender(self) -> None:
        self._canvas.scheduleRender()

    def forceRender(self) -> None:
        self._canvas.forceRender()

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._view.window


class SliceWidget(qt.QWidget):
    """A slice view under its bar: the view's letter, a slider through the volume, and the position."""

    _canvas: ViewCanvas | None = None
    _view: SliceView | None = None
    _slider: qt.QSlider | None = None
    _position: qt.QLabel | None = None
    _controller: qMRMLSliceControllerWidget | None = None

    def __init__(self, view: SliceView) -> None:
        super().__init__()
        self._view = view
        self._canvas = ViewCanvas(view, self)
        name = view.node.GetLayoutName()
        bar = _bar(self, view.node.GetLayoutLabel(), view.node.GetLayoutColor())
        self._slider = qt.QSlider(qt.Qt.Horizontal, bar)
        self._slider.objectName = f"{name}Slider"
        self._position = qt.QLabel(bar)
        self._position.setMinimumWidth(90)
        self._position.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        bar.layout().addWidget(self._slider, 1)
        bar.layout().addWidget(self._position)
        _stack(self, bar, self._canvas)
        self._controller = qMRMLSliceControllerWidget(view.logic, bar)
        self._slider.valueChanged.connect(self._onSlider)
        view.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, self._showPosition)
        view.node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._showPosition)
        self._showPosition()

    def sliceView(self) -> SliceWidget:
        return self

    def interactorStyle(self) -> vtk.vtkInteractorObserver:
        return self._view.interactor.GetInteractorStyle()

    def sliceController(self) -> qMRMLSliceControllerWidget:
        return self._controller

    def canvas(self) -> ViewCanvas:
        return self._canvas

    def view(self) -> SliceView:
        return self._view

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._view.logic

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._view.node

    def scheduleRender(self) -> None:
        self._canvas.scheduleRender()

    def forceRender(self) -> None:
        self._canvas.forceRender()

    def renderWindow(self) -> vtk.vtkRenderWindow:
        return self._view.window

    def _range(self) -> tuple[float, float, float]:
        """First and last offset and the step, in mm along the slice's normal."""
        bounds = [0.0] * 6
        self._view.logic.GetLowestVolumeSliceBounds(bounds)
        step = self._view.logic.GetLowestVolumeSliceSpacing()[2] or 1.0
        return bounds[4], bounds[5], step

    def _onSlider(self, index: int) -> None:
        lowest, _, step = self._range()
        self._view.logic.SetSliceOffset(lowest + (index + 0.5) * step)

    def wheelEvent(self, event: qt.QWheelEvent) -> None:
        self._slider.value = self._slider.value + (1 if event.angleDelta().y() > 0 else -1)

    def _showPosition(self, *_: object) -> None:
        lowest, highest, step = self._range()
        offset = self._view.logic.GetSliceOffset()
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, max(0, round((highest - lowest) / step) - 1))
        self._slider.value = round((offset - lowest) / step - 0.5)
        self._slider.blockSignals(blocked)
        self._position.text = f"{_direction(self._view.node, offset)}: {abs(offset):.2f}mm"


def _direction(node: slicer.vtkMRMLSliceNode, offset: float) -> str:
    """The letter of the side that the slice lies at: the axis of RAS that its normal follows most."""
    normal = [node.GetSliceToRAS().GetElement(row, 2) for row in range(3)]
    axis = max(range(3), key=lambda index: abs(normal[index]))
    return "LPI"[axis] if offset * normal[axis] < 0 else "RAS"[axis]


def _bar(parent: qt.QWidget, letter: str, colour: tuple[float, float, float]) -> qt.QWidget:
    """The coloured strip above a view; `colour` as MRML gives it, each part 0 to 1."""
    red, green, blue = (round(255 * part) for part in colour)
    bar = qt.QWidget(parent)
    bar.setFixedHeight(24)
    bar.setAttribute(qt.Qt.WA_StyledBackground)
    bar.objectName = "bar"
    bar.styleSheet = f"#bar {{background: rgb({red}, {green}, {blue})}} QLabel {{color: black}}"
    layout = qt.QHBoxLayout(bar)
    layout.setContentsMargins(8, 0, 8, 0)
    label = qt.QLabel(f"<b>{letter}</b>", bar)
    layout.addWidget(label)
    return bar


def _stack(widget: qt.QWidget, *parts: qt.QWidget) -> None:
    layout = qt.QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    for part in parts:
        layout.addWidget(part, 1 if part is parts[-1] else 0)
