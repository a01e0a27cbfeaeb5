"""`OutputFiles`: writes all outputs of a run whole and together, or none of them."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import SimpleITK as sitk

from ..core.field import IMAGE_ENDINGS, DisplacementField
from ..core.image import Image
from ..core.linear import LinearTransform
from ..errors import InputError
from .dicom_objects import is_dicom
from .nifti_headers import refuse_shadowed
from .paths import itk_name, reason_of, shown
from .quiet import quiet
from .segment_headers import Segment, segmentation
from .signals import ENDING_SIGNALS
from .transforms import check_field, check_linear, write_field, write_linear
from .volumes import check_readable, check_whole

IMAGES = (".nii.gz", ".nii", ".nrrd", ".mha")  # one file each: a pair of files could not be renamed as one
SEGMENTATION = ".seg.nrrd"
TRANSFORMS = (".h5", ".hdf5", ".tfm", ".txt", ".mat", *IMAGES)
REPORTS = (".json",)
TABLES = (".csv",)
PAGES = (".html", ".htm")
PAPERS = (".pdf",)
OBJECTS = (".dcm",)
PICTURES = (".png",)
_HOST = zlib.crc32(socket.gethostname().encode())
_STALE = re.compile(r"^\.pddnet-([0-9a-f]+)-(\d+)-")
_DAY_SECONDS = 86400.0
_CLOCKS_DIFFER_SECONDS = 2.0
_COUNT = itertools.count()


class OutputFiles:
    """Output files of one run.

    Each is written to a hidden temporary file in its own folder, checked, and renamed by `commit`; leaving the `with`
    block removes whatever was not committed. Temporaries that a killed run left are swept away at the start.

        with OutputFiles({"report": ("r.json", REPORTS)}, inputs=[...]) as outputs:
            outputs.write_text("report", text)
            outputs.commit()
    """

    def __init__(
        self, outputs: Mapping[str, tuple[str | Path | None, tuple[str, ...]]], inputs: Iterable[str | Path] = ()
    ) -> None:
        """Check all paths, and remove what killed runs left beside them.

        Args:
            outputs: for every name its path (None: not wanted) and extensions.
            inputs: paths not to overwrite.

        Raises:
            InputError: an extension is unknown, a folder is missing or cannot be written, a path is an input or occurs
                twice.
        """
        self._targets = {name: Path(path) for name, (path, _) in outputs.items() if path is not None}
        self._temporaries: dict[str, Path] = {}
        self.committed = False  # whether all outputs have their names
        for name, path in self._targets.items():
            _check_target(path, outputs[name][1])
        _check_distinct(list(self._targets.values()), [Path(path) for path in inputs])
        for folder in {_resolve(path).parent for path in self._targets.values()}:
            sweep(folder)
            _check_writable(folder)

    def __enter__(self) -> OutputFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._temporaries.values():
            path.unlink(missing_ok=True)

    def __contains__(self, name: str) -> bool:
        """Tell whether this output is wanted."""
        return name in self._targets

    @property
    def paths(self) -> dict[str, str]:
        """Paths of the wanted outputs, by name."""
        return {name: str(path) for name, path in self._targets.items()}

    def write_image(self, name: str, image: Image) -> None:
        """Write a volume or label map, if wanted. Raises InputError where it cannot be written whole."""
        self._write(name, lambda path: sitk.WriteImage(image.to_sitk(), itk_name(path), True), check_whole)

    def write_segmentation(self, name: str, labels: Image, segments: Mapping[int, Segment]) -> None:
        """Write a label map, if wanted; a .seg.nrrd file with names and looks of its segments, by number.

        Raises InputError where it cannot be written whole.
        """
        if name in self._targets and self._targets[name].name.lower().endswith(SEGMENTATION):
            image = segmentation(labels, segments)
            self._write(name, lambda path: sitk.WriteImage(image, itk_name(path), True), check_whole)
        else:
            self.write_image(name, labels)

    def write_field(self, name: str, field: DisplacementField) -> None:
        """Write a transform or displacement image, if wanted. Raises InputError where it cannot be written whole."""
        self._write(name, lambda path: write_field(field, path), lambda path: check_field(path, field))

    def write_linear(self, name: str, linear: LinearTransform) -> None:
        """Write a linear transform, if wanted. Raises InputError where it cannot be written whole."""
        self._write(name, lambda path: write_linear(linear, path), lambda path: check_linear(path, linear))

    def write_plane(self, name: str, image: sitk.Image) -> None:
        """Write a 2-D image or one slice, if wanted. Raises InputError where it cannot be written whole."""
        self._write(name, lambda path: sitk.WriteImage(image, itk_name(path), True), check_whole)

    def write_plane_field(self, name: str, displacements: sitk.Image) -> None:
        """Write a 2-D displacement field, as an image or as ITK's transform, if wanted; InputError as above."""
        if name in self._targets and self.holds_image(name):
            self.write_plane(name, displacements)
            return
        transform = sitk.DisplacementFieldTransform(sitk.Image(displacements))  # which empties the image it is given
        self._write(name, lambda path: sitk.WriteTransform(transform, itk_name(path)), _check_read)

    def holds_image(self, name: str) -> bool:
        """Tell whether an output that is wanted has a format of volumes, which holds a transform's samples only."""
        return self._targets[name].name.lower().endswith(IMAGE_ENDINGS)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file in UTF-8, if wanted; a byte of a path that is no UTF-8 is written as an escape, `\\udce9`.

        Raises:
            InputError: it cannot be written whole.
        """
        self.write_bytes(name, text.encode("utf-8", errors="backslashreplace"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file of these bytes, if wanted. Raises InputError where it cannot be written whole."""
        self._write(name, lambda path: path.write_bytes(content), lambda path: _check_size(path, len(content)))

    def commit(self) -> None:
        """Give every file its name; a signal waits until the last one has it. Raises InputError where that fails."""
        with _uninterrupted():
            for name, path in list(self._temporaries.items()):
                try:
                    os.replace(path, _resolve(self._targets[name]))
                except OSError as error:
                    raise InputError(
                        f"{self._targets[name]}: cannot be written ({error.strerror}); choose another path"
                    ) from error
                del self._temporaries[name]
            self.committed = True

    def _write(self, name: str, write: Callable[[Path], object], check: Callable[[Path], None]) -> None:
        if name not in self._targets:
            return
        target = self._targets[name]
        real = _resolve(target)
        ending = next((e for e in TRANSFORMS + REPORTS if target.name.lower().endswith(e)), target.suffix)
        temporary = real.parent / f".pddnet-{_HOST:x}-{os.getpid()}-{next(_COUNT)}-{name}{ending}"
        self._temporaries[name] = temporary
        try:
            with quiet():
                write(temporary)
                _flush(temporary)
                check(temporary)
        except (OSError, RuntimeError, InputError) as error:
            reason = getattr(error, "strerror", None) or "it could not be written completely"
            raise InputError(f"{target}: {reason}; free space on that disk or choose another folder") from error


def _check_read(path: Path) -> None:
    sitk.ReadTransform(itk_name(check_readable(path)))


def _check_size(path: Path, size: int) -> None:
    if path.stat().st_size != size:
        raise InputError(f"{path}: what was written differs")


def sweep(folder: Path) -> None:
    """Remove temporaries of runs that are dead: of this machine at once, of others (a shared folder) after a day."""
    for path in folder.glob(".pddnet-*"):
        match = _STALE.match(path.name)
        try:
            written = path.stat().st_mtime
            if match and (_is_dead(match, written) or time.time() - written > _DAY_SECONDS):
                path.unlink()
        except OSError:
            continue  # someone else's, or just gone


def _is_dead(match: re.Match[str], written: float) -> bool:
    """Tell whether the process that wrote a file at that time has ended."""
    if os.name != "posix" or int(match.group(1), 16) != _HOST:
        return False  # on Windows os.kill(pid, 0) would interrupt that process
    number = int(match.group(2))
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return written < _started(number) - _CLOCKS_DIFFER_SECONDS  # the number is used again: in containers always


def _started(number: int) -> float:
    """Return when a process started, in seconds as `time.time` counts them; 0 where the system does not tell."""
    try:
        after_name = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        ticks = int(after_name[19])  # since the system started: field 22 of proc(5)
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def _resolve(path: Path) -> Path:
    return Path(os.path.realpath(path))  # a link keeps pointing at its file, and that file is replaced


def _check_target(path: Path, endings: tuple[str, ...]) -> None:
    if not path.name.lower().endswith(endings) or path.name.lower() in endings:
        raise InputError(f"{path}: unknown file extension for this output; use one of {', '.join(endings)}")
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)}: the output path cannot be used ({reason_of(error)}); correct it") from None
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    folder = _resolve(path).parent
    if not folder.is_dir():
        lacks = "is no folder; choose another one" if folder.exists() else "does not exist; create it first"
        raise InputError(f"{path}: the output folder {folder} {lacks}")
    itk_name(folder)
    refuse_shadowed(path)
    packed = path.with_name(path.name + ".gz")
    if path.name.lower().endswith(".nii") and packed.exists():
        raise InputError(f"{path}: ITK would then read it in place of {packed.name} beside it; choose another name")


def _check_distinct(outputs: list[Path], inputs: list[Path]) -> None:
    earlier: list[Path] = []
    for path in outputs:
        real = _resolve(path)
        if real in earlier:
            raise InputError(f"{path}: two outputs have the same path; give each its own")
        if any(str(a) + ".gz" == str(b) for other in earlier for a, b in ((real, other), (other, real))):
            raise InputError(f"{path}: of x.nii and x.nii.gz side by side ITK reads only the first; give other names")
        earlier.append(real)
        for given in inputs:
            inside = given.is_dir() and path.is_file() and _resolve(given) in _resolve(path).parents and is_dicom(path)
            same = path.exists() and given.exists() and os.path.samefile(path, given)
            if inside or same or _resolve(path) == _resolve(given):
                raise InputError(f"{path}: this output would overwrite the input {given}; choose another path")


def _check_writable(folder: Path) -> None:
    probe = folder / f".pddnet-{_HOST:x}-{os.getpid()}-probe"
    try:
        probe.write_bytes(b"x" * 4096)
    except OSError as error:
        raise InputError(
            f"{folder}: the output folder cannot be written ({error.strerror}); choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Force the file to the disk: over a network a full disk shows only now."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay signals that arrive in the block until its end.

    They are caught by handlers, because a blocked signal would go to another thread of the process, and Python would
    then raise its exception here all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers no signals here
        return
    arrived: list[int] = []
    numbers = [getattr(signal, name) for name in ("SIGINT", *ENDING_SIGNALS) if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in before:
        signal.signal(number, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])
