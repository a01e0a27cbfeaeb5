"""Write a picture as PNG without a drawing library."""

from __future__ import annotations

import struct
import zlib

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = (8, 2, 0, 0, 0)  # 8 bits each of red, green and blue; the rest as PNG has it


def png(picture: np.ndarray) -> bytes:
    """Encode (rows, columns, 3) values, 0 black to 1 white, as a PNG file."""
    rows, columns, _ = picture.shape
    values = np.round(255.0 * np.clip(picture, 0.0, 1.0)).astype(np.uint8)
    lines = np.insert(values.reshape(rows, -1), 0, 0, axis=1)  # each line begins with its filter: none
    header = struct.pack(">IIBBBBB", columns, rows, *_COLOUR)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
