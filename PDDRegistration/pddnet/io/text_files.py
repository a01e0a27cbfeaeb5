"""Small text files: reads JSON and tables as a person's programs write them. torch-free."""

from __future__ import annotations

import codecs
import json
import math
from pathlib import Path
from typing import Any

from ..errors import InputError
from .paths import check_file, reason_of

LARGEST_BYTES = 1 << 28  # a million landmarks take a tenth of it
_MARKS = {  # bytes at the start that tell the encoding; without, it is UTF-8
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 where its first bytes say so.

    Raises:
        InputError: it is missing, no file, larger than `LARGEST_BYTES`, cannot be read, or is in another encoding.
    """
    path = check_file(path)
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path}: the file is larger than {LARGEST_BYTES >> 20} MB; this is no such text file")
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read ({reason_of(error)}); check its permissions") from None
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeError:
        raise InputError(f"{path}: the text is neither UTF-8 nor UTF-16; save it in UTF-8") from None


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: see `read_text`; or the text is not JSON, or nested too deeply.
    """
    text = read_text(path)
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError:
        raise InputError(f"{path}: the JSON is nested too deeply; this is no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); correct the file") from None


def _whole(digits: str) -> int | float:
    """Convert a whole number; beyond any that means something it becomes infinite, which every check refuses."""
    return int(digits) if len(digits) <= 30 else math.inf
