"""The module open in the host with two small scans, ready to go wrong: what to watch during a run and after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from helpers import mrml_geometry, samples, worker_programs
from helpers.paths import MODULE
from pddnet.core.image import Image

if TYPE_CHECKING:
    import pytest

    from host.host import Host

NAME = MODULE.stem
OUTPUTS = {"outputTransform": "Grid", "outputVolume": "Scalar", "outputSegmentation": "Segmentation"}


class Bench:
    """The panel with the inputs chosen. `stages` are those that the panel was told of in the last run."""

    def __init__(self, host: Host, module: Path = MODULE) -> None:
        self.host, self.stages = host, []
        self.during: Callable[[str], None] = lambda stage: None
        self.widget: Any = host.loadModule(module)
        self.watch()
        self.fill()

    def fill(self) -> None:
        """Put the inputs into the scene, and choose them."""
        fixed, moving = samples.small_pair()
        self.nodes = {
            "fixedVolume": add_volume(fixed, "Fixed^Patient"),
            "movingVolume": add_volume(moving, "Moving^Patient"),
            "fixedSegmentation": add_segmentation(samples.labels(fixed.grid, samples.FIXED.centre), "Fixed organs"),
            "movingSegmentation": add_segmentation(
                samples.labels(moving.grid, samples.FIXED.centre + samples.SHIFT), "Moving organs"
            ),
        }
        self.choose(preset="fast", **self.nodes)
        self._inputs = [fingerprint(node) for node in self.nodes.values()]

    def renew(self) -> Bench:
        """A new scene with the same inputs; the registration process goes on."""
        import slicer

        self.host.setTesting(True)
        self.host.closeScene()
        slicer.util.getModuleWidget(NAME).parent.enter()
        self.ui.statusLabel.text = ""
        self.fill()
        return self

    @property
    def ui(self) -> Any:
        return self.widget.ui

    @property
    def status(self) -> str:
        return self.ui.statusLabel.text

    @property
    def parameters(self) -> Any:
        return self.widget.logic.getParameterNode()

    @property
    def worker(self) -> Any:
        return self.widget.logic.worker

    def watch(self) -> None:
        """Call `during(stage)` whenever the panel is told of progress."""
        panel = type(self.widget._panel)
        original = panel._onProgress

        def onProgress(panel: Any, fraction: float, stage: str) -> None:
            original(panel, fraction, stage)
            self.stages.append(stage)
            self.during(stage)

        panel._onProgress = onProgress

    def choose(self, **values: Any) -> None:
        """Set parameters."""
        for name, value in values.items():
            setattr(self.parameters, name, value)

    def add_outputs(self) -> dict[str, Any]:
        """Choose output nodes that hold something already."""
        import slicer

        from PDDRegistrationLib.scene.transforms import gridTransformFromField

        outputs = {
            "outputTransform": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Old transform"),
            "outputVolume": add_volume(samples.ramp(samples.MOVING), "Old volume"),
            "outputSegmentation": add_segmentation(samples.labels(samples.FIXED, samples.FIXED.centre), "Old organs"),
        }
        gridTransformFromField(
            samples.fake_register()(samples.ramp(samples.FIXED), None).field, outputs["outputTransform"]
        )
        outputs["outputTransform"].SetAttribute("note", "keep")
        outputs["outputVolume"].SetAndObserveTransformNodeID(outputs["outputTransform"].GetID())
        outputs["outputVolume"].GetDisplayNode().SetWindowLevel(123, 45)
        self.choose(**outputs)
        return outputs

    def begin(self) -> None:
        """Click Apply; the run is under way afterwards."""
        self.stages.clear()
        assert self.ui.applyButton.enabled, self.ui.applyButton.toolTip
        click(self.ui.applyButton)
        assert self.ui.applyButton.text == "Cancel", self.status

    def end(self, seconds: float = 60.0) -> None:
        """Wait until the button says Apply again."""
        assert self.host.waitUntil(lambda: self.ui.applyButton.text == "Apply", seconds), self.status

    def run(self, during: Callable[[str], None] = lambda stage: None) -> None:
        """Click Apply and wait; `during` is called with each stage that is reported."""

        def body() -> None:
            self.during = during
            try:
                self.begin()
                self.end()
            finally:
                self.during = lambda stage: None

        self.host.runInEventLoop(body)

    def check_inputs_untouched(self, but: tuple[str, ...] = ()) -> None:
        """Data, geometry, parents and modification times are those of the beginning."""
        for (name, node), before in zip(self.nodes.items(), self._inputs, strict=True):
            if name not in but:
                assert fingerprint(node) == before, name

    def check_usable(self) -> None:
        """A run succeeds now, and finds the planted shift."""
        self.run()
        assert self.status == ""
        assert "Folding in" in self.ui.verdictLabel.text
        assert self.error_at_the_centre() < 6.0

    def error_at_the_centre(self) -> float:
        """How far, in mm, the result takes the fixed body's centre from where the moving one has it."""
        centre = (samples.FIXED.centre * mrml_geometry.RAS).tolist()
        moved = self.parameters.outputTransform.GetTransformFromParent().TransformPoint(centre)
        return float(np.linalg.norm(moved * mrml_geometry.RAS - (samples.FIXED.centre + samples.SHIFT)))


def click(button: object) -> None:
    """One click with the left mouse button."""
    import qt
    from PySide6.QtTest import QTest

    QTest.mouseClick(button, qt.Qt.LeftButton)


@contextmanager
def opened(host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch, module: Path = MODULE) -> Iterator[Bench]:
    """The bench with a launcher for PythonSlicer; afterwards the module is closed, and nothing of it may be left."""
    before = children()
    launcher = worker_programs.make_launcher(folder / "Büro (1)")
    monkeypatch.setenv("PATH", f"{launcher.parent}:/usr/bin:/bin")
    bench = Bench(host, module)
    panel, original = type(bench.widget._panel), type(bench.widget._panel)._onProgress
    try:
        yield bench
    finally:
        panel._onProgress = original
        for name in host.loadedModules():
            host.unloadModule(name)
        host.clear()
    assert host.waitUntil(lambda: children() <= before, 5)
    assert leftovers(host) == []


@contextmanager
def fresh_library() -> Iterator[None]:
    """The library is imported anew meanwhile; other tests go on with the classes that they know."""
    known = _forget()
    try:
        yield
    finally:
        _forget()
        sys.modules.update(known)


def _forget() -> dict[str, Any]:
    return {name: sys.modules.pop(name) for name in [*sys.modules] if _ours(name)}


def _ours(name: str) -> bool:
    return name.partition(".")[0] in ("PDDRegistrationLib", "pddnet")


def children() -> set[int]:
    """The processes that this one has started, and theirs; those that have ended do not count."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            found |= {process.pid} if process.status() != psutil.STATUS_ZOMBIE else set()
        except psutil.NoSuchProcess:
            continue
    return found


def leftovers(host: Host) -> list[Path]:
    """The module's files under slicer.app.temporaryPath."""
    return list(host.temporaryPath.rglob("pddnet-*"))


def arrays(host: Host) -> list[Path]:
    """The patient's data in there."""
    return [path for folder in leftovers(host) for path in folder.iterdir() if path.name != ".owner"]


def add_volume(image: Image, name: str) -> Any:
    """An `Image` as a volume node, by slicer.util alone."""
    import slicer

    return slicer.util.addVolumeFromArray(image.array, _ras(image), name)


def add_segmentation(labels: Image, name: str) -> Any:
    """A label map as a segmentation node with the segments "liver" and "spleen"."""
    import slicer

    volume = slicer.util.addVolumeFromArray(labels.array, _ras(labels), "labels", "vtkMRMLLabelMapVolumeNode")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(volume, node)
    slicer.mrmlScene.RemoveNode(volume)
    for number, organ in enumerate(("liver", "spleen")):
        node.GetSegmentation().GetNthSegment(number).SetName(organ)
    return node


def _ras(image: Image) -> np.ndarray:
    """(4, 4) from voxels (i, j, k) to RAS mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = mrml_geometry.RAS[:, None] * image.grid.direction * image.grid.spacing
    matrix[:3, 3] = mrml_geometry.RAS * image.grid.origin
    return matrix


def fingerprint(node: Any) -> tuple[Any, ...]:
    """A node's data with their modification time, geometry, and everything that says where it is and how it looks."""
    roles = [node.GetNthNodeReferenceRole(n) for n in range(node.GetNumberOfNodeReferenceRoles())]
    references = {
        role: tuple(node.GetNthNodeReferenceID(role, n) for n in range(node.GetNumberOfNodeReferences(role)))
        for role in roles
    }
    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    common = (node.GetName(), {role: ids for role, ids in references.items() if ids}, attributes)
    if node.IsA("vtkMRMLTransformNode"):
        transform = node.GetTransformFromParent()
        data = [transform.GetDisplacementGrid()] if hasattr(transform, "GetDisplacementGrid") else []
        return (*common, *map(_voxels, data))
    if node.IsA("vtkMRMLVolumeNode"):
        window = (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) if node.GetDisplayNode() else ()
        return (*common, _matrix(node), window, _voxels(node.GetImageData()))
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    layers = [_voxels(segment.GetRepresentation("Binary labelmap")) for segment in segments]
    return (*common, [(segment.GetName(), segment.GetColor()) for segment in segments], layers)


def _matrix(volume: Any) -> bytes:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([matrix.GetElement(row, column) for row in range(4) for column in range(4)]).tobytes()


def _voxels(data: Any) -> tuple[Any, ...]:
    from vtk.util.numpy_support import vtk_to_numpy

    if data is None or data.GetPointData().GetScalars() is None:
        return ()
    scalars = data.GetPointData().GetScalars()
    return data.GetDimensions(), scalars.GetMTime(), vtk_to_numpy(scalars).tobytes()
