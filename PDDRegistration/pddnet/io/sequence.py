"""Frames of a sequence over time: a file or DICOM folder each, or the volumes of one 4-D NIfTI file. torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from ..core.image import Image
from ..errors import InputError
from .checksums import check_unpacks
from .file_identity import sha256
from .memory import check_memory
from .nifti_fields import read_fields
from .nifti_forms import check_forms
from .nifti_headers import check_header, count_non_finite
from .paths import itk_name
from .quiet import quiet
from .validation import check_volume
from .volumes import check_readable, read_volume


@dataclass(frozen=True)
class Frame:
    """Place of one volume of a sequence."""

    path: Path
    index: int | None = None  # along the fourth axis of the file; None: the file or folder is the frame

    @property
    def name(self) -> str:
        """Return how the user knows it, for messages."""
        return str(self.path) if self.index is None else f"{self.path}, volume {self.index}"

    def read(self) -> tuple[Image, list[str]]:
        """Read the volume and return it with warnings.

        Raises:
            InputError: it cannot be read, or is not fit to be registered; see `volumes.read_volume`.
        """
        return read_volume(self.path) if self.index is None else _read_time(self, self.index)

    def checksum(self) -> str:
        """Return the SHA-256 of the file or the folder, and the index."""
        found = sha256(self.path)
        return found if self.index is None else f"{found}#{self.index}"


def find_frames(paths: Sequence[str | Path]) -> list[Frame]:
    """List the frames at these paths in their order; a single 4-D NIfTI file gives one for each of its volumes.

    Raises:
        InputError: a path cannot be read, the 4-D file is damaged or holds NaN, or there are fewer than two frames.
    """
    found = [check_readable(path) for path in paths]
    volumes = _volumes(found[0]) if len(found) == 1 else 1
    frames = [Frame(path) for path in found] if volumes == 1 else [Frame(found[0], n) for n in range(volumes)]
    if len(frames) < 2:
        raise InputError(f"{found[0]}: this is one frame; give two or more, or one 4-D NIfTI file")
    return frames


def _volumes(path: Path) -> int:
    """Count the volumes of a NIfTI file; 1 of any other file."""
    header = read_fields(path) if path.name.lower().endswith((".nii", ".nii.gz")) else None
    if header is None or header.dim[0] != 4 or header.dim[4] < 2:
        return 1
    check_header(path)
    check_unpacks(path)
    if missing := count_non_finite(path):
        raise InputError(f"{path}: {missing} voxels are no finite numbers; correct them, or give 3-D files")
    return header.dim[4]


def _read_time(frame: Frame, index: int) -> tuple[Image, list[str]]:
    """Read one volume of a 4-D file."""
    with quiet() as heard:
        try:
            reader = sitk.ImageFileReader()
            reader.SetFileName(itk_name(frame.path))
            reader.ReadImageInformation()
            reader.SetExtractSize([*reader.GetSize()[:3], 0])
            reader.SetExtractIndex([0, 0, 0, index])
            check_memory(frame.path, reader)
            image = Image.from_sitk(reader.Execute())
        except RuntimeError:
            raise InputError(f"{frame.name}: the file cannot be read; copy or export it again") from None
    warnings = check_header(frame.path) + check_forms(frame.path, image.grid) + heard.sentences(str(frame.path))
    volume, more = check_volume(image, frame.name)
    return volume, warnings + more
