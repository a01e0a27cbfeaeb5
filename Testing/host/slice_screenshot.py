"""`python -m host.slice_screenshot`, in Testing: two single slices registered by the panel, drawn without a screen."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from host.host import Host, startHost
from host.requirements import missing
from host.screenshots import FOLDER, SECONDS

SAMPLES = Path(__file__).resolve().parents[2] / "PDDRegistration" / "Resources" / "SampleData"
LIVER = 6  # its label there: each slice lies where the patient has most of it
WIDTH = 1300  # pixels
GAP = 6  # pixels between the pictures


def main(path: Path = FOLDER / "slices.png") -> int:
    """Draw the picture; 0 if it was written."""
    if reason := missing():
        print(f"The picture cannot be drawn: {reason}", file=sys.stderr)
        return 1
    host = startHost()
    try:
        host.runInEventLoop(lambda: draw(host, path))
        return 0
    finally:
        host.closeApplication()
        host.close()


def draw(host: Host, path: Path) -> None:
    """Beside each other: the slices as they lie, registered, and the grid of the transform."""
    from PIL import Image

    from host.sample_scene import MODULE

    widget = host.loadModule(MODULE)
    chosen = {side: _add_slice(side) for side in ("fixed", "moving")}
    for side, (volume, segmentation) in chosen.items():
        getattr(widget.ui, f"{side}VolumeSelector").setCurrentNode(volume)
        getattr(widget.ui, f"{side}SegmentationSelector").setCurrentNode(segmentation)
    widget.ui.applyButton.click()
    if not host.waitUntil(lambda: bool(widget.ui.verdictLabel.text), SECONDS):
        raise RuntimeError(f"The registration gave no verdict: {widget.ui.statusLabel.text}")
    ui, pictures = widget.compareUi, []
    for button in (ui.beforeButton, ui.beforeButton, ui.gridButton):
        button.click()
        host.processEvents(0.3)
        pictures.append(host.viewImage("Red"))
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    whole = np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], axis=1)
    picture = Image.fromarray(whole)
    picture = picture.resize((WIDTH, round(WIDTH * picture.height / picture.width)), Image.LANCZOS)
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


def _add_slice(side: str) -> tuple[object, object]:
    """The axial slice with most of the liver, and its segments, as nodes at z = 0, where a 2-D image lies."""
    import slicer

    scan, labels = (sitk.ReadImage(str(SAMPLES / f"{side}{kind}.nii.gz")) for kind in ("", "_labels"))
    k = int((sitk.GetArrayViewFromImage(labels) == LIVER).sum(axis=(1, 2)).argmax())
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
    matrix[:3, :3] *= np.reshape(scan.GetDirection(), (3, 3)) * scan.GetSpacing()
    matrix[:2, 3] = -np.array(scan.GetOrigin()[:2])
    values, numbers = (sitk.GetArrayFromImage(each[:, :, k : k + 1]) for each in (scan, labels))
    volume = slicer.util.addVolumeFromArray(values, matrix, f"{side.capitalize()} slice")
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevel(400, 40)
    label_map = slicer.util.addVolumeFromArray(numbers, matrix, "labels", "vtkMRMLLabelMapVolumeNode")
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{side.capitalize()} organs")
    segmentation.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label_map, segmentation)
    slicer.mrmlScene.RemoveNode(label_map)
    return volume, segmentation


if __name__ == "__main__":
    raise SystemExit(main())
