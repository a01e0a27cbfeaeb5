"""The MRML scene with Slicer's module logics, as the application sets them up."""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk

# Slicer's name of a module -> the class of its logic
LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
}


class Scene:
    """Owns the scene and everything that must live as long: the application's logic and the modules' logics."""

    def __init__(self, cache: Path) -> None:
        """Downloads and unpacked scene files go to `cache`."""
        self.scene = slicer.vtkMRMLScene()
        self.scene.AddNode(_crosshair())
        self.application = slicer.vtkSlicerApplicationLogic()
        self.application.SetMRMLScene(self.scene)
        self.application.GetColorLogic().SetMRMLScene(self.scene)
        self.application.GetColorLogic().AddDefaultColorNodes()
        self.application.SetSliceLogics(vtk.vtkCollection())
        self.application.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.logics = {name: self._logic(name, className) for name, className in LOGICS.items()}
        self._allow_bundles(cache)

    def _logic(self, name: str, className: str) -> slicer.vtkMRMLAbstractLogic:
        logic = getattr(slicer, className)()
        warnings = vtk.vtkObject.GetGlobalWarningDisplay()
        vtk.vtkObject.SetGlobalWarningDisplay(False)  # slicer-core brings no files of terminologies
        logic.SetMRMLScene(self.scene)
        vtk.vtkObject.SetGlobalWarningDisplay(warnings)
        logic.SetMRMLApplicationLogic(self.application)
        self.application.SetModuleLogic(name, logic)
        return logic

    def _allow_bundles(self, cache: Path) -> None:
        """Scenes in .mrb files can be read only with these two managers."""
        self._data_manager, self._cache_manager = slicer.vtkDataIOManager(), slicer.vtkCacheManager()
        self._cache_manager.SetRemoteCacheDirectory(str(cache))
        self._cache_manager.SetMRMLScene(self.scene)
        self._data_manager.SetCacheManager(self._cache_manager)
        self.scene.SetDataIOManager(self._data_manager)
        self.scene.SetCacheManager(self._cache_manager)


def _crosshair() -> slicer.vtkMRMLCrosshairNode:
    node = slicer.vtkMRMLCrosshairNode()
    node.SetCrosshairName("default")
    return node
