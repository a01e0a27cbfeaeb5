"""Sequences of volumes and their transforms in a sequence browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError
from pddnet.evaluation.motion import motion_at_rest, sequence_csv

from .nodes import isSame
from .placement import registrationParent, setRegistrationReferences
from .rollback import unchangedOnError
from .volumes import imageFromVolume, isSingleSlice, updateVolumeFromImage


@dataclass(frozen=True)
class SequenceResult:
    """Result of registering a sequence: nodes of the scene, and the report of every frame but the reference.

    While the browser plays, `volume` and `transform` show its frames; `volume` lies under `transform`, so it is
    displayed over `fixedVolume`, which stays.
    """

    sequence: slicer.vtkMRMLSequenceNode  # of the transforms, in the browser of the volumes
    transform: slicer.vtkMRMLTransformNode
    volume: slicer.vtkMRMLScalarVolumeNode
    fixedVolume: slicer.vtkMRMLScalarVolumeNode  # a copy of the reference
    reports: dict[int, dict[str, Any]]
    reference: int

    @property
    def motion(self) -> dict[int, list[dict[str, Any]]]:
        """Return the table of motion of every frame, by number, of the structures that the network names."""
        tables = {number: report["motion"] for number, report in self.reports.items()}
        return {**tables, self.reference: motion_at_rest(tables)}

    @property
    def motionCsv(self) -> str:
        """Return the motion, frame by frame, as `sequence_csv` writes it."""
        return sequence_csv(self.motion)


def frameOf(sequence: slicer.vtkMRMLSequenceNode, number: int) -> slicer.vtkMRMLScalarVolumeNode:
    """Return the volume of a frame, counted from 0.

    Raises:
        InputError: it is no volume.
    """
    node = sequence.GetNthDataNode(number)
    if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
        text = _("{name}: frame {number} is no volume; choose the browser of a sequence of volumes.")
        raise InputError(text.format(name=sequence.GetName(), number=number))
    return node


def sequenceProxy(browser: slicer.vtkMRMLSequenceBrowserNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Return the node that shows the browser's chosen volume.

    Raises:
        InputError: there is none, or it lies under a transform that is no earlier result of its own.
    """
    proxy = browser.GetProxyNode(browser.GetMasterSequenceNode())
    if proxy is None or not proxy.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(_("{name}: its frames are no volumes; choose another browser.").format(name=browser.GetName()))
    parent = proxy.GetParentTransformNode()
    if parent is not None and not isSame(registrationParent(proxy), parent):
        text = _("{name} lies under {transform}; harden that transform in all frames, or take it away.")
        raise InputError(text.format(name=proxy.GetName(), transform=parent.GetName()))
    return proxy


def addTransformSequence(
    browser: slicer.vtkMRMLSequenceBrowserNode,
    reference: int,
    transforms: Mapping[int, slicer.vtkMRMLTransformNode],
    reports: dict[int, dict[str, Any]],
) -> SequenceResult:
    """Add one transform per frame to the browser of the volumes, completely or not at all.

    Args:
        reference: number of the frame that the transforms' fixed points belong to.
        transforms: fixed to moving, by number; copied.
        reports: see `SequenceResult`.

    Raises:
        InputError: the browser shows no volumes.
    """
    scene, volumes = browser.GetScene(), browser.GetMasterSequenceNode()
    volume = sequenceProxy(browser)
    with unchangedOnError(scene, []):
        name = scene.GenerateUniqueName(
            _("{volumes} to frame {number}").format(volumes=volumes.GetName(), number=reference)
        )
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        sequence.CopySequenceIndex(volumes)
        for number, node in sorted(transforms.items()):
            node.SetName(name)
            sequence.SetDataNodeAtValue(node, volumes.GetNthIndexValue(number))
        browser.AddSynchronizedSequenceNode(sequence)
        _showChosen(browser)
        transform = browser.GetProxyNode(sequence)
        fixed = _copied(frameOf(volumes, reference), volume, scene)
        setRegistrationReferences(transform, fixed, volume)
        volume.SetAndObserveTransformNodeID(transform.GetID())
    return SequenceResult(sequence, transform, volume, fixed, reports, reference)


def framesAreSlices(sequence: slicer.vtkMRMLSequenceNode) -> bool:
    """Return whether the frames are single slices: the sequence is 2-D + t.

    Raises:
        InputError: some are, and others are volumes, or a frame is no volume.
    """
    flat = [isSingleSlice(frameOf(sequence, number)) for number in range(sequence.GetNumberOfDataNodes())]
    if any(flat) and not all(flat):
        text = _("{name}: frame {number} is a single slice, and others are volumes; choose another browser.")
        raise InputError(text.format(name=sequence.GetName(), number=flat.index(True)))
    return all(flat)


def _showChosen(browser: slicer.vtkMRMLSequenceBrowserNode) -> None:
    """Make the nodes that show the chosen frame of all sequences of a browser."""
    module = getattr(slicer.modules, "sequences", None)
    logic = module.logic() if module is not None else slicer.vtkSlicerSequencesLogic()
    logic.UpdateProxyNodesFromSequences(browser)


def _copied(
    frame: slicer.vtkMRMLScalarVolumeNode, shown: slicer.vtkMRMLScalarVolumeNode, scene: slicer.vtkMRMLScene
) -> slicer.vtkMRMLScalarVolumeNode:
    """Copy a frame into the scene as a volume of its own, displayed like the node that shows the frames."""
    name = _("{name} (fixed frame)").format(name=shown.GetName())
    copy = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    updateVolumeFromImage(copy, imageFromVolume(frame), like=shown)
    return copy
