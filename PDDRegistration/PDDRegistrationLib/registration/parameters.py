"""Define the parameter node of the module, which the panel shows and the scene saves (`RegistrationParameters`)."""

from __future__ import annotations

from slicer import (
    vtkMRMLGridTransformNode,
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLLinearTransformNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTransformNode,
)
from slicer.parameterNodeWrapper import parameterNodeWrapper

from ..base.parameter_node import ParameterNodeClass


@parameterNodeWrapper
class RegistrationParameters(ParameterNodeClass):
    """Chosen nodes and settings, with the field names of `selection.Selection`; scenes are saved with these names.

    Preset, device, transformType, intensity and inverseConsistency are plain strings, numbers have no range: a scene of
    another version may hold values that are unknown here. 0 (of optimisationSteps -1) and '' leave a setting to the
    preset.
    """

    fixedVolume: vtkMRMLScalarVolumeNode | None
    movingVolume: vtkMRMLScalarVolumeNode | None
    fixedSegmentation: vtkMRMLSegmentationNode | None
    movingSegmentation: vtkMRMLSegmentationNode | None
    outputTransform: vtkMRMLGridTransformNode | vtkMRMLLinearTransformNode | None
    outputVolume: vtkMRMLScalarVolumeNode | None
    outputSegmentation: vtkMRMLSegmentationNode | None
    outputInverse: vtkMRMLGridTransformNode | vtkMRMLLinearTransformNode | None
    outputJacobian: vtkMRMLScalarVolumeNode | None
    outputSpread: vtkMRMLScalarVolumeNode | None
    outputError: vtkMRMLScalarVolumeNode | None
    fixedMask: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    movingMask: vtkMRMLSegmentationNode | vtkMRMLLabelMapVolumeNode | None
    fixedMaskSegment: str = ""
    movingMaskSegment: str = ""
    guide: bool = False
    initialTransform: vtkMRMLTransformNode | None
    fixedPoints: vtkMRMLMarkupsFiducialNode | None
    movingPoints: vtkMRMLMarkupsFiducialNode | None
    preset: str = "default"
    device: str = "auto"
    transformType: str = "deformable"  # or rigid, similarity, affine
    intensity: str = "auto"  # or hu, offset-1024
    diffeomorphic: bool = False
    captureRange: float = 0.0  # mm
    controlSpacing: float = 0.0  # mm
    smoothness: float = 0.0  # times the preset's
    optimisationSteps: int = -1
    inverseConsistency: str = ""  # both, one
