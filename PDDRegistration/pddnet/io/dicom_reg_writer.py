"""Write results as DICOM registration objects, which name the frames of reference of both series."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.affine import Affine
from ..core.field import DisplacementField
from ..core.grid import Grid
from ..core.linear import AFFINE, RIGID, LinearTransform
from ..core.linear import SIMILARITY as SIMILAR
from .dicom import find_series
from .dicom_objects import DEFORMABLE, SPATIAL, is_dicom, load_pydicom

_MATRIX_TYPES = {RIGID: "RIGID", SIMILAR: "RIGID_SCALE", AFFINE: "AFFINE"}
_METHOD = ("125024", "DCM", "Image Content-based Alignment")  # of context group 7100
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")


@dataclass(frozen=True)
class Series:
    """Images of one scan. What a scan that is no DICOM lacks, is made up or empty.

    Attributes:
        frame: UID of its frame of reference.
        study, series: their UIDs; empty where it is no DICOM.
        instances: class and instance UID of every image.
        attributes: of patient and study, by keyword.
    """

    frame: str
    study: str = ""
    series: str = ""
    instances: tuple[tuple[str, str], ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)


def read_series(path: Path, name: str | None = None) -> Series:
    """Read what a registration object tells about a scan, from a DICOM file or a folder of slices.

    Args:
        name: of the series in the folder, see `find_series`.

    Raises:
        InputError: pydicom is missing, or the folder does not hold one series.
    """
    pydicom = load_pydicom()
    files = find_series(path, name)[0] if path.is_dir() else [path] if is_dicom(path) else []
    tags = [*_PATIENT, *_STUDY, "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"]
    tags += ["SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet"]
    headers = [pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags) for file in files]
    first = headers[0] if headers else pydicom.Dataset()
    return Series(
        frame=str(first.get("FrameOfReferenceUID") or pydicom.uid.generate_uid(prefix=None)),
        study=str(first.get("StudyInstanceUID", "")),
        series=str(first.get("SeriesInstanceUID", "")),
        instances=tuple(_identity(each) for each in headers),
        attributes={name: str(first.get(name) or "") for name in (*_PATIENT, *_STUDY)},
    )


def _identity(header: Any) -> tuple[str, str]:
    """Return class and instance UID of an image; some that were made anonymous keep them in the file's own header."""
    kind = header.get("SOPClassUID") or header.file_meta.MediaStorageSOPClassUID
    return str(kind), str(header.get("SOPInstanceUID") or header.file_meta.MediaStorageSOPInstanceUID)


def registration_object(
    result: DisplacementField | LinearTransform, fixed: Series, moving: Series, now: datetime
) -> bytes:
    """Make a DICOM file of a result, fixed to moving points, LPS mm.

    A displacement field becomes a Deformable Spatial Registration, a linear transform a Spatial Registration. The
    object belongs to the patient and the study of the fixed scan, and to its frame of reference.

    Raises:
        InputError: pydicom is missing.
    """
    pydicom = load_pydicom()
    made = pydicom.Dataset()
    linear = isinstance(result, LinearTransform)
    _identify(made, SPATIAL if linear else DEFORMABLE, fixed, now)
    if isinstance(result, LinearTransform):
        items = [_matrix_item(fixed, Affine.identity(), RIGID)]
        items.append(_matrix_item(moving, result.affine.inverse, result.transform_type))
        made.RegistrationSequence = items
    else:
        made.DeformableRegistrationSequence = [_grid_item(moving, result)]
    _refer(made, fixed, moving)
    return _file(made)


def _identify(made: Any, kind: str, fixed: Series, now: datetime) -> None:
    """Fill the modules of patient, study, series, equipment and object."""
    new_uid = load_pydicom().uid.generate_uid
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = kind, new_uid(prefix=None)
    for name in (*_PATIENT, *_STUDY):
        setattr(made, name, fixed.attributes.get(name, ""))
    made.StudyInstanceUID = fixed.study or new_uid(prefix=None)
    made.SeriesInstanceUID = new_uid(prefix=None)
    made.Modality, made.Laterality = "REG", ""
    made.SeriesNumber, made.SeriesDescription = 1, "Registration by pddnet"
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = fixed.frame, ""
    made.Manufacturer, made.ManufacturerModelName = "pddnet", "pddnet"
    made.DeviceSerialNumber, made.SoftwareVersions = "none", __version__
    made.ContentDate, made.ContentTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    made.InstanceNumber, made.ContentLabel = 1, "REGISTRATION"
    made.ContentDescription, made.ContentCreatorName = "Fixed to moving scan", ""


def _grid_item(moving: Series, displacements: DisplacementField) -> Any:
    array, grid = _right_handed(displacements)
    part = _dataset(
        ImageOrientationPatient=_decimals(grid.direction.T[:2]),
        ImagePositionPatient=_decimals(grid.origin),
        GridDimensions=grid.size.tolist(),
        GridResolution=grid.spacing.tolist(),
        VectorGridData=np.ascontiguousarray(array, "<f4").tobytes(),
    )
    return _dataset(
        SourceFrameOfReferenceUID=moving.frame,
        ReferencedImageSequence=_images(moving),
        RegistrationTypeCodeSequence=[_method()],
        DeformableRegistrationGridSequence=[part],
    )


def _right_handed(displacements: DisplacementField) -> tuple[np.ndarray, Grid]:
    """Turn the last axis of a left-handed grid round: DICOM tells two axes, the third follows from them."""
    array, grid = displacements.array, displacements.grid
    if np.linalg.det(grid.direction) > 0:
        return array, grid
    last = grid.index_to_point([0, 0, grid.shape[0] - 1])
    return array[::-1], Grid(grid.shape, grid.spacing, last, grid.direction * [1, 1, -1])


def _matrix_item(series: Series, to_fixed: Affine, kind: str) -> Any:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = to_fixed.matrix, to_fixed.shift
    part = _dataset(
        FrameOfReferenceTransformationMatrix=_decimals(matrix),
        FrameOfReferenceTransformationMatrixType=_MATRIX_TYPES[kind],
    )
    registration = _dataset(MatrixSequence=[part], RegistrationTypeCodeSequence=[_method()])
    return _dataset(
        FrameOfReferenceUID=series.frame,
        ReferencedImageSequence=_images(series),
        MatrixRegistrationSequence=[registration],
    )


def _refer(made: Any, fixed: Series, moving: Series) -> None:
    """List the series: those of the object's own study, and those of others."""
    known = [series for series in (fixed, moving) if series.study and series.series]
    listed = [
        (series, _dataset(SeriesInstanceUID=series.series, ReferencedInstanceSequence=_images(series)))
        for series in known
    ]
    own = [item for series, item in listed if series.study == made.StudyInstanceUID]
    others = [
        _dataset(StudyInstanceUID=series.study, ReferencedSeriesSequence=[item])
        for series, item in listed
        if series.study != made.StudyInstanceUID
    ]
    if own:
        made.ReferencedSeriesSequence = own
    if others:
        made.StudiesContainingOtherReferencedInstancesSequence = others


def _images(series: Series) -> list[Any]:
    return [
        _dataset(ReferencedSOPClassUID=kind, ReferencedSOPInstanceUID=instance) for kind, instance in series.instances
    ]


def _method() -> Any:
    value, scheme, meaning = _METHOD
    return _dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _dataset(**attributes: Any) -> Any:
    """Make a data set of the attributes; empty sequences are left out."""
    made = load_pydicom().Dataset()
    for name, value in attributes.items():
        if not (isinstance(value, list) and not value):
            setattr(made, name, value)
    return made


def _decimals(values: np.ndarray) -> list[str]:
    """Format numbers as decimal strings, which hold 16 characters."""
    format_number = load_pydicom().valuerep.format_number_as_ds
    return [format_number(float(value)) for value in values.ravel()]


def _file(made: Any) -> bytes:
    pydicom = load_pydicom()
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.file_meta = meta
    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()
