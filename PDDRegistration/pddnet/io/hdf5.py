"""As much of HDF5 as tells how many numbers the data sets of a transform file hold. torch-free.

Only files of version 2 and 3 with compact groups are read, as ITK 5 writes them. Source: HDF5 File Format
Specification, version 3.0, The HDF Group, sections II to IV.
"""

from __future__ import annotations

import math
import struct
from mmap import mmap

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DATASPACE, _DATATYPE, _LINK, _LAYOUT, _CONTINUATION = 1, 3, 6, 8, 16  # types of messages
_CONTIGUOUS = 1  # class of a layout: the values stand in one piece
_FLOAT_FORMS = {4: "f", 8: "d"}  # by their bytes
_MOST_CHUNKS = 64  # of one object's header


class File:
    """The bytes of a file. Every method raises KeyError, ValueError or struct.error where it is laid out otherwise.

    Attributes:
        root: address of the root group.
    """

    def __init__(self, raw: bytes | mmap) -> None:
        if raw[:8] != _SIGNATURE or raw[8] not in (2, 3) or raw[9:11] != b"\x08\x08":
            raise ValueError("another version of HDF5")
        self._raw = raw
        self.root: int = struct.unpack_from("<Q", raw, 36)[0]

    def links(self, group: int) -> dict[str, int]:
        """Return the addresses of what a group holds, by name."""
        found = {}
        for kind, at in self._messages(group):
            if kind == _LINK:
                name, address = self._link(at)
                found[name] = address
        return found

    def count(self, dataset: int) -> int:
        """Count the values of a data set."""
        at = self._message(dataset, _DATASPACE)
        version, rank = self._raw[at : at + 2]
        return math.prod(struct.unpack_from(f"<{rank}Q", self._raw, at + (4 if version == 2 else 8)))

    def numbers(self, dataset: int, most: int) -> tuple[float, ...]:
        """Return the first `most` values of a data set of floats; none where they stand in pieces, or packed."""
        place, count = self._place(dataset), min(self.count(dataset), most)
        if place is None or not count:
            return ()
        return struct.unpack_from(f"<{count}{_FLOAT_FORMS[self._value_bytes(dataset)]}", self._raw, place)

    def text(self, dataset: int) -> str:
        """Return the text of a data set that holds one of any length, which stands in a heap."""
        place = self._place(dataset)
        if place is None:
            raise ValueError("a text in several pieces")
        length, heap, index = struct.unpack_from("<IQI", self._raw, place)
        if self._raw[heap : heap + 4] != b"GCOL":
            raise ValueError("no heap")
        at = heap + 16
        end = heap + struct.unpack_from("<Q", self._raw, heap + 8)[0]
        while at < min(end, len(self._raw)):
            found, size = struct.unpack_from("<H6xQ", self._raw, at)
            if found == index:
                return self._raw[at + 16 : at + 16 + length].decode("ascii", "replace").rstrip("\0")
            at += 16 + (size + 7) // 8 * 8
        raise KeyError(index)

    def _place(self, dataset: int) -> int | None:
        """Return the address of the first value; None where they do not stand in one piece."""
        at = self._message(dataset, _LAYOUT)
        version, kind = self._raw[at : at + 2]
        if version not in (3, 4) or kind != _CONTIGUOUS:
            return None
        place: int = struct.unpack_from("<Q", self._raw, at + 2)[0]
        return place if place < len(self._raw) else None

    def _value_bytes(self, dataset: int) -> int:
        size: int = struct.unpack_from("<I", self._raw, self._message(dataset, _DATATYPE) + 4)[0]
        return size

    def _message(self, header: int, wanted: int) -> int:
        """Return the address of the message of a type in an object's header."""
        return dict(reversed(self._messages(header)))[wanted]

    def _messages(self, header: int) -> list[tuple[int, int]]:
        """List the messages of an object's header: types and addresses."""
        if self._raw[header : header + 5] != b"OHDR\2":
            raise ValueError("no header")
        flags = self._raw[header + 5]
        at = header + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        start = at + width
        chunks = [(start, start + int.from_bytes(self._raw[at:start], "little"))]
        found = []
        for start, end in chunks:  # grows
            if len(chunks) > _MOST_CHUNKS:
                raise ValueError("a header without end")
            at = start
            while at + 4 <= end:
                kind, size = struct.unpack_from("<BH", self._raw, at)
                at += 6 if flags & 4 else 4
                found.append((kind, at))
                if kind == _CONTINUATION:
                    place, length = struct.unpack_from("<2Q", self._raw, at)
                    chunks.append((place + 4, place + length - 4))  # between its signature and its checksum
                at += size
        return found

    def _link(self, at: int) -> tuple[str, int]:
        flags = self._raw[at + 1]
        if flags & 8 and self._raw[at + 2]:
            raise ValueError("no link to an object of this file")
        at += 2 + (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(self._raw[at : at + width], "little")
        at += width
        name = self._raw[at : at + length].decode("ascii", "replace")
        return name, struct.unpack_from("<Q", self._raw, at + length)[0]
