"""A radiotherapy dose and a structure set are carried over; SimpleITK and VTK say where their values and points belong.

The structure set is a real RTSTRUCT, and the dose an RTDOSE that is written here, read by SimpleITK.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from benchmarks.validation_pairs import data_folder
from helpers import mrml_geometry as mrml
from helpers.geometry import Waves, node_points, rotation, sitk_field
from helpers.mrml_geometry import RAS, slicer
from pddnet.core.grid import Grid
from pddnet.core.image import Image
from PDDRegistrationLib.scene.apply_to import Applied, hardenedCopy
from PDDRegistrationLib.scene.placement import setRegistrationReferences
from PDDRegistrationLib.scene.volumes import imageFromVolume

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")

DATA = data_folder()
OBJECTS = None if DATA is None else DATA / "dicom_objects"
real = pytest.mark.skipif(OBJECTS is None or not OBJECTS.is_dir(), reason="no folder of DICOM objects (PDDNET_DATA)")
WAVES = Waves(amplitude=5.0, length=110.0, shift=(4.0, -9.0, 6.0))
MIDDLE = np.array([20.0, 40.0, 410.0])  # LPS, of the structure set
TURN = rotation(14, -23, 31) @ np.diag([1.0, -1.0, 1.0])
DOSE = "DicomRtImport.DoseVolume"  # as SlicerRT marks it
SCALING = 1e-4  # Gy of one stored unit


def around(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> Grid:
    """An oblique, flipped grid about the structure set."""
    half = (np.array(shape[::-1]) - 1) / 2
    return Grid(shape, np.array(spacing), MIDDLE - TURN @ (half * spacing), TURN)


WIDE = around((15.0, 15.0, 15.0), (40, 40, 40))
FIELD = WAVES.field(WIDE)  # fixed to moving


@pytest.fixture
def scene():
    return mrml.new_scene()


@pytest.fixture
def transform(scene):
    node = mrml.add_grid(scene, WAVES.displacement, WIDE, name="result")
    volumes = [scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("fixed", "moving")]
    setRegistrationReferences(node, *volumes)
    return node


def to_fixed(transform, points: np.ndarray) -> np.ndarray:
    """Where VTK takes moving RAS points."""
    inverse = transform.GetTransformToParent()
    return np.array([inverse.TransformPoint(point) for point in points.tolist()])


def gray(points: np.ndarray) -> np.ndarray:
    """A dose in Gy at LPS points: a hot spot in a bath that does not end at the border of its grid."""
    distance = np.linalg.norm((points - MIDDLE) / [45.0, 30.0, 25.0], axis=-1)
    return 8.0 + 52.0 * np.exp(-(distance**2))


def write_dose(path: Path, grid: Grid) -> Path:
    """Write an RTDOSE, whose slices follow each other along the cross product of its rows and columns."""
    stored = np.rint(gray(node_points(grid)) / SCALING).astype(np.uint32)
    found = pydicom.Dataset()
    found.file_meta = pydicom.dataset.FileMetaDataset()
    found.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = pydicom.uid.RTDoseStorage
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = "1.2.3.4.5"
    found.StudyInstanceUID, found.SeriesInstanceUID, found.FrameOfReferenceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    found.Modality, found.DoseUnits, found.DoseType, found.DoseSummationType = "RTDOSE", "GY", "PHYSICAL", "PLAN"
    found.NumberOfFrames, found.Rows, found.Columns = grid.shape
    found.ImagePositionPatient = [f"{value:.8g}" for value in grid.origin]
    found.ImageOrientationPatient = [f"{value:.12g}"[:16] for value in grid.direction.T[:2].ravel()]
    found.PixelSpacing = [grid.spacing[1], grid.spacing[0]]
    found.GridFrameOffsetVector = [number * grid.spacing[2] for number in range(grid.shape[0])]
    found.FrameIncrementPointer = pydicom.tag.Tag(0x3004, 0x000C)
    found.DoseGridScaling = SCALING
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 32, 32, 31
    found.PixelData = stored.tobytes()
    found.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def dose(scene, tmp_path: Path):
    """The dose as SlicerRT leaves it: Gy, with a mark."""
    oblique = TURN @ np.diag([1.0, 1.0, -1.0])  # right-handed: DICOM knows no other
    shape, spacing = (17, 30, 26), np.array([4.0, 5.0, 6.0])
    origin = MIDDLE - oblique @ ((np.array(shape[::-1]) - 1) / 2 * spacing)
    image = sitk.ReadImage(str(write_dose(tmp_path / "dose.dcm", Grid(shape, spacing, origin, oblique))))
    read = Image.from_sitk(sitk.Cast(image, sitk.sitkFloat32) * SCALING)  # the reader leaves the stored units
    assert read.array == pytest.approx(gray(node_points(read.grid)), abs=1e-3)
    node = mrml.add_volume(scene, read.array, read.grid, "dose")
    node.SetAttribute(DOSE, "1")
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(60.0, 30.0)
    return node


def test_a_dose_is_carried_over_in_gray_with_nothing_around_it(transform, dose) -> None:
    copy = hardenedCopy(dose, transform)
    found, image = imageFromVolume(copy), imageFromVolume(dose)
    whole = sitk.Resample(image.to_sitk(), found.to_sitk(), sitk_field(FIELD), sitk.sitkLinear, 0.0)
    expected = sitk.GetArrayFromImage(whole)
    agreeing = (expected > 0) == (found.array > 0)  # but for voxels at the very border
    assert agreeing.mean() > 0.999
    assert found.array[agreeing] == pytest.approx(expected[agreeing], abs=0.05)
    assert found.array.min() == 0.0  # not the lowest dose of the bath
    assert found.array.max() == pytest.approx(60.0, abs=0.6)
    assert copy.GetAttribute(DOSE) == "1"
    assert (copy.GetDisplayNode().GetWindow(), copy.GetDisplayNode().GetLevel()) == (60.0, 30.0)
    assert imageFromVolume(dose).array.min() == pytest.approx(8.0, abs=1.0)


def test_a_volume_without_the_mark_is_padded_as_before(scene, transform, dose) -> None:
    dose.RemoveAttribute(DOSE)
    lowest = float(imageFromVolume(dose).array.min())
    assert imageFromVolume(hardenedCopy(dose, transform)).array.min() == pytest.approx(lowest)
    assert lowest > 7.0


def structure_set(scene, names: tuple[str, ...]):
    """Structures of the RTSTRUCT as SlicerRT reads them: planar contours, RAS."""
    assert OBJECTS is not None
    found = pydicom.dcmread(OBJECTS / "pancreas_ct_cbct_rtstruct.dcm")
    numbers = {str(roi.ROIName): int(roi.ROINumber) for roi in found.StructureSetROISequence}
    contours = {int(item.ReferencedROINumber): item.ContourSequence for item in found.ROIContourSequence}
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "structures")
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    for name in names:
        parts = [np.array(item.ContourData, float).reshape(-1, 3) for item in contours[numbers[name]]]
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Planar contour", loops(parts))
        assert node.GetSegmentation().AddSegment(segment, name)
    return node


def loops(parts: list[np.ndarray]) -> vtk.vtkPolyData:
    """Closed lines through LPS points, as a mesh in RAS."""
    points, lines, start = vtk.vtkPoints(), vtk.vtkCellArray(), 0
    points.SetData(numpy_to_vtk(np.concatenate(parts) * RAS, deep=True))
    for part in parts:
        lines.InsertNextCell(len(part) + 1)
        for number in [*range(len(part)), 0]:
            lines.InsertCellPoint(start + number)
        start += len(part)
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetLines(lines)
    return mesh


def points_of(node, name: str, representation: str) -> np.ndarray:
    mesh = node.GetSegmentation().GetSegment(name).GetRepresentation(representation)
    return vtk_to_numpy(mesh.GetPoints().GetData()).astype(float)


@real
def test_the_contours_of_a_structure_set_are_carried_over(scene, transform) -> None:
    names = ("Stomach_duo_planCT", "Bowel_sm_planCT")
    node = structure_set(scene, names)
    before = {name: points_of(node, name, "Planar contour") for name in names}
    copy = hardenedCopy(node, transform)
    Applied().apply(node, transform)
    for name in names:
        some = slice(None, None, 37)
        expected = to_fixed(transform, before[name][some])
        assert np.linalg.norm(expected - before[name][some], axis=1).min() > 3.0
        assert points_of(copy, name, "Planar contour")[some] == pytest.approx(expected, abs=0.02)
        assert mrml.to_world(node, before[name][some]) == pytest.approx(expected, abs=0.02)
        assert (points_of(node, name, "Planar contour") == before[name]).all()


def sphere(radius_mm: float) -> vtk.vtkPolyData:
    source = vtk.vtkSphereSource()
    source.SetCenter(*(MIDDLE * RAS))
    source.SetRadius(radius_mm)
    source.SetThetaResolution(24)
    source.SetPhiResolution(24)
    source.Update()
    return source.GetOutput()


def test_a_copy_of_contours_with_surfaces_has_the_surfaces(scene, transform) -> None:
    node, segment = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "structures"), slicer.vtkSegment()
    segment.SetName("target")
    segment.AddRepresentation("Planar contour", loops([MIDDLE + [[20, 0, 0], [0, 20, 0], [-20, 0, 0]]]))
    segment.AddRepresentation("Closed surface", sphere(20.0))
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    node.GetSegmentation().AddSegment(segment, "target")
    before = points_of(node, "target", "Closed surface")
    copy = hardenedCopy(node, transform).GetSegmentation()
    assert copy.GetSourceRepresentationName() == "Closed surface"
    assert not copy.ContainsRepresentation("Planar contour")
    moved = vtk_to_numpy(copy.GetSegment("target").GetRepresentation("Closed surface").GetPoints().GetData())
    assert moved == pytest.approx(to_fixed(transform, before), abs=0.02)
    assert node.GetSegmentation().ContainsRepresentation("Planar contour")
    assert node.GetSegmentation().GetSourceRepresentationName() == "Planar contour"


@real
def test_a_dicom_segmentation_is_carried_over(scene) -> None:
    """The liver of a DICOM SEG: three slices of 0.8 mm pixels."""
    assert OBJECTS is not None
    found = pydicom.dcmread(OBJECTS / "dcmqi_seg" / "liver.dcm")
    frames = found.pixel_array.astype(np.uint8)
    places = [item.PlanePositionSequence[0].ImagePositionPatient for item in found.PerFrameFunctionalGroupsSequence]
    order = np.argsort([float(place[2]) for place in places])
    measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    spacing = np.array([*map(float, measures.PixelSpacing[::-1]), float(measures.SpacingBetweenSlices)])
    grid = Grid(frames.shape, spacing, np.array(places[order[0]], float), np.eye(3))
    image = vtk_image_of(frames[order], grid)
    node, segment = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "SEG"), slicer.vtkSegment()
    segment.SetName("Liver")
    segment.AddRepresentation("Binary labelmap", image)
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    node.GetSegmentation().AddSegment(segment, "Liver")
    turn = rotation(3, -4, 20)
    linear = mrml.add_linear(scene, turn, (5.0, -7.0, 11.0))
    inside = np.argwhere(frames[order] > 0)[:, ::-1]
    before = (grid.index_to_point(inside.astype(float)) * RAS).mean(axis=0)
    copy = hardenedCopy(node, linear).GetSegmentation().GetSegment("Liver").GetRepresentation("Binary labelmap")
    array = vtk_to_numpy(copy.GetPointData().GetScalars()).reshape(copy.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    copy.GetImageToWorldMatrix(matrix)
    k, j, i = np.nonzero(array)
    first = np.array(copy.GetExtent()[::2])
    centre = matrix.MultiplyPoint((*(np.array([i.mean(), j.mean(), k.mean()]) + first).tolist(), 1.0))[:3]
    assert np.array(centre) == pytest.approx(turn @ before + [5.0, -7.0, 11.0], abs=0.05)
    assert array.sum() == len(inside)


def vtk_image_of(array: np.ndarray, grid: Grid):
    data = mrml.vtk_image(array, slicer.vtkOrientedImageData)
    data.SetGeometryFromImageToWorldMatrix(mrml.vtk_matrix(mrml.ijk_to_ras(grid)))
    return data
