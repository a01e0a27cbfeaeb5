"""Parts of a transform file (.tfm, .txt, .mat, .h5) as they stand there, before ITK makes transforms of them.

ITK takes as many numbers as a kind of transform needs, also where the file has fewer: it then reads, or writes, what
lies behind them in memory.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import hdf5

_TEXT = re.compile(r"^Transform: *(\S+) *\n(?:Parameters:(.*)\n)?(?:FixedParameters:(.*))?", re.MULTILINE)
_KIND = re.compile(r"(\S+?)_\w+_(\d)_\d")
_FIXED = "fixed"  # name of the second of two variables of Matlab's that make a transform
_ORDERS = {  # of bytes, by a vector's type: 0 and 10 of doubles and floats; 1000 more of those with the largest first
    **{struct.pack("<i", kind): "<" for kind in (0, 10)},
    **{struct.pack(">i", kind): ">" for kind in (1000, 1010)},
}
_GROUP = "TransformGroup"
_PARAMETERS = ("TransformParameters", "TranformParameters")  # the latter, too, is ITK's
_FIXED_PARAMETERS = ("TransformFixedParameters", "TranformFixedParameters")
_MOST_READ = 64  # numbers of HDF5: more than the linear kinds and a grid have


@dataclass(frozen=True)
class Part:
    """One transform of a file; NaN stands for what is no number."""

    kind: str  # ITK's name, such as 'AffineTransform'
    dimension: int  # of the points
    count: int  # of its parameters
    parameters: tuple[float, ...]  # the first of them
    fixed: tuple[float, ...]


def text_parts(text: str) -> list[Part]:
    """Read the parts of ITK's text format."""
    return _known(_part(name, _numbers(words), _numbers(fixed)) for name, words, fixed in _TEXT.findall(text))


def matlab_parts(path: Path) -> list[Part]:
    """Read the parts of a file of Matlab's version 4, in which a vector is named by the kind and the next one 'fixed'.

    Raises:
        ValueError: it is no such file.
    """
    try:
        vectors = _matlab_vectors(path.read_bytes())
    except (struct.error, LookupError, UnicodeDecodeError) as error:
        raise ValueError("no vectors of Matlab's version 4") from error
    if len(vectors) % 2 or any(name != _FIXED for name, _ in vectors[1::2]):
        raise ValueError("no pairs of parameters and fixed parameters")
    pairs = zip(vectors[::2], vectors[1::2], strict=True)
    return _known(_part(name, values, fixed) for (name, values), (_, fixed) in pairs)


def hdf5_parts(path: Path) -> list[Part]:
    """Read the parts of an HDF5 file as ITK writes it; none of a file that is laid out otherwise."""
    try:
        with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            file = hdf5.File(raw)
            return _known(_hdf5_part(file, file.links(group)) for group in _hdf5_groups(file))
    except (LookupError, ValueError, struct.error):
        return []


def _hdf5_groups(file: hdf5.File) -> Iterable[int]:
    return file.links(file.links(file.root)[_GROUP]).values()


def _hdf5_part(file: hdf5.File, links: dict[str, int]) -> Part | None:
    sets = [next((links[name] for name in names if name in links), None) for names in (_PARAMETERS, _FIXED_PARAMETERS)]
    values, fixed = (() if each is None else file.numbers(each, _MOST_READ) for each in sets)
    count = 0 if sets[0] is None else file.count(sets[0])
    return _part(file.text(links["TransformType"]), values, fixed, count)


def _known(parts: Iterable[Part | None]) -> list[Part]:
    return [part for part in parts if part is not None]


def _part(name: str, values: tuple[float, ...], fixed: tuple[float, ...], count: int | None = None) -> Part | None:
    match = _KIND.fullmatch(name)
    if match is None:
        return None
    return Part(match[1], int(match[2]), len(values) if count is None else count, values, fixed)


def _numbers(words: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words.split())
    except ValueError:
        return (math.nan,)


def _matlab_vectors(raw: bytes) -> list[tuple[str, tuple[float, ...]]]:
    """Read vectors of real numbers. Their headers hold type, rows, columns, whether complex, and length of the name."""
    vectors, at = [], 0
    while at < len(raw):
        order = _ORDERS[raw[at : at + 4]]
        kind, rows, columns, imaginary, length = struct.unpack_from(order + "5i", raw, at)
        if imaginary or min(rows, columns, length) < 0:
            raise ValueError("no real numbers")
        name = raw[at + 20 : at + 20 + length].split(b"\0")[0].decode("ascii")
        form = f"{order}{rows * columns}{'f' if kind % 100 else 'd'}"
        vectors.append((name, struct.unpack_from(form, raw, at + 20 + length)))
        at += 20 + length + struct.calcsize(form)
    return vectors
