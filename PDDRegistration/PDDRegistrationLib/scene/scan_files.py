"""Write volumes of the scene as files, for a process that reads files (`ScanFiles`)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import SimpleITK as sitk
import slicer
from slicer.i18n import tr as _

from pddnet.errors import InputError
from pddnet.io.paths import itk_name
from pddnet.worker.folder import WorkerFolder

from ..base.files import privateFolder
from .placement import registrationParent
from .volumes import imageFromVolume


class ScanFiles:
    """Private folder with the volumes of a run. They are patient data: `remove` deletes them, or the next start does.

    Each volume is written once, in the world, LPS mm, as it lies without an earlier result of this module.
    """

    def __init__(self, temporaryFolder: str | Path) -> None:
        """temporaryFolder: where the private folder is made when the first volume is written."""
        self._temporary = Path(temporaryFolder)
        self._folder: WorkerFolder | None = None

    def volume(self, node: slicer.vtkMRMLScalarVolumeNode, name: str) -> Path:
        """Return the file of a volume, which is written unless it is there; name: of the file.

        Raises:
            InputError: the volume is no longer in a scene, cannot be read, or the file cannot be written.
        """
        if node.GetScene() is None:
            raise InputError(_("{name} is no longer in the scene; load it again.").format(name=node.GetName()))
        path = self.path(name)
        if not path.exists():
            self.write(imageFromVolume(node, registrationParent(node)).to_sitk(), path)
        return path

    def path(self, name: str) -> Path:
        """Return the path of a file in the folder, which is made if it is not there.

        Raises:
            InputError: the folder cannot be made.
        """
        self._folder = self._folder or privateFolder(self._temporary)
        return self._folder.path / name

    def write(self, image: sitk.Image, path: Path) -> None:
        """Write an image, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        try:
            sitk.WriteImage(image, itk_name(path))
        except RuntimeError as error:
            path.unlink(missing_ok=True)
            text = _("{folder}: it could not be written; free space on the disk of the temporary files")
            raise InputError(text.format(folder=path.parent)) from error

    def forget(self, name: str) -> None:
        """Delete one file, if it is there; where that fails, `remove` tries again."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder.path / name).unlink()

    def remove(self) -> None:
        """Delete the folder."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.remove()
