"""Read and write network weights as .npz files that contain their metadata; executes no code from a file.

A bundled file whose SHA-256 differs from `BUNDLED_SHA256` is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError

FOLDER = Path(__file__).resolve().parents[1] / "weights"
BUNDLED_SHA256: dict[str, str] = {
    "expected_error.npz": "27f8ddc1cc5ce1cdcf4bc7dfa4591bc1dea3e2a102405daff54c61d936b35634",
    "pdd.npz": "0c29890951d5d82956e2466e8acd76338dd0f17844502ab88d39e53371964978",
    "plane.npz": "e9d93e6230ec495f92d527865744e5b81c0e81f753cc48e725fb40eec3ef240e",
    "semantic.npz": "94909770142f59de0d2335dc929931f5dbc2742ac9adde1a3c9b67cff6e0ec39",
    "semantic_mr.npz": "050e9dd01700ec736e1ac6d552120591512c925bb8856a8f90c912949b267805",
}
FORMAT = 1
# Kinds of weights: of the networks in features/semantic_net.py, matching/pdd_net.py, matching/expected_error.py and
# features/plane_net.py. For those in networks/, which predict a field, the name of the network is the kind.
SEMANTIC, PDD, ERROR, PLANE = "semantic", "pdd", "expected error", "plane"
CT_NETWORK, MR_NETWORK = "semantic.npz", "semantic_mr.npz"  # bundled, of kind SEMANTIC
PLANE_NETWORK = "plane.npz"  # bundled, of kind PLANE
HU, SCALED = "HU", "scaled by their range"  # what a network of this kind reads, as "values" of the metadata
_METADATA = "metadata"
_SCALE = " scale"  # ends the name of the factors of an array that is stored in 8 bits
_LARGEST = 127  # of 8 bits
PLANE_ADVICE = "install the program again, or leave --weights out"
_ADVICE = "install the program again, or register with the preset 'mind', which needs none"


def write_weights(
    path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any], *, in_8_bits: bool = False
) -> None:
    """Write arrays and metadata; the file appears whole or not at all.

    Args:
        arrays: stored as float16, without names that end in ' scale'.
        metadata: any values that JSON can hold.
        in_8_bits: store arrays of several dimensions, the kernels of convolutions, as int8 with a factor for each
            output channel, in half the space; the values that come back differ by at most 0.4 % of the channel's
            largest.
    """
    text = json.dumps({"format": FORMAT, **metadata}, sort_keys=True)
    stored: dict[str, Any] = {_METADATA: np.array(text)}
    for name, array in arrays.items():
        array = np.asarray(array)
        if in_8_bits and array.ndim > 1:
            stored[name], stored[name + _SCALE] = _in_8_bits(array)
        else:
            stored[name] = array.astype(np.float16)
    write_arrays(path, stored, compressed=True)


def _in_8_bits(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return integers, and the factors (float32, one per first index) that turn them back into the values."""
    largest = np.abs(array).max(axis=tuple(range(1, array.ndim)), keepdims=True)
    factors = (np.where(largest > 0, largest, 1) / _LARGEST).astype(np.float32)
    return np.rint(array / factors).astype(np.int8), factors


def _in_full(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return all arrays as float32, those in 8 bits times their factors.

    Raises:
        ValueError: the factors of an array are missing, or do not fit it.
    """
    found = {}
    for name, array in arrays.items():
        if name.endswith(_SCALE):
            continue
        values = array.astype(np.float32)
        if array.dtype == np.int8:
            factors = arrays.get(name + _SCALE)
            if factors is None or factors.shape != (len(array),) + (1,) * (array.ndim - 1):
                raise ValueError(f"the factors of '{name}' do not fit it")
            values *= factors
        found[name] = values
    return found


def write_arrays(path: Path, arrays: dict[str, Any], *, compressed: bool = False) -> None:
    """Write arrays by name; the file appears whole or not at all."""
    save = np.savez_compressed if compressed else np.savez
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as stream:
            save(stream, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_weights(path: Path, *kinds: str, advice: str = _ADVICE) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays (float32) and the metadata of a weights file.

    Args:
        kinds: which networks the weights may belong to, SEMANTIC, PDD, ERROR, PLANE or a name; the metadata say it.
        advice: what to do where they are not, for the error.

    Raises:
        InputError: the file is missing, damaged, of another kind or format, or not the bundled one of its name.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: this is a folder, a pipe or a device, and no weights file; {advice}")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the weights ({error.strerror}); {advice}") from None
    if path.parent == FOLDER and hashlib.sha256(content).hexdigest() != BUNDLED_SHA256.get(path.name):
        raise InputError(f"{path}: not the weights that belong to this version (SHA-256 differs); {advice}")
    try:
        arrays = read_arrays(io.BytesIO(content))
        metadata = json.loads(str(arrays.pop(_METADATA)))
        arrays = _in_full(arrays)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: not a weights file, or a damaged one ({error}); {advice}") from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT or metadata.get("kind") not in kinds:
        found = metadata.get("kind") if isinstance(metadata, dict) else None
        wanted = "' or '".join(kinds)
        raise InputError(f"{path}: weights of kind '{found}' where '{wanted}' of format {FORMAT} is needed; {advice}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise InputError(f"{path}: the weights hold values that are no numbers; {advice}")
    return arrays, metadata


def reads_hu(metadata: dict[str, Any]) -> bool:
    """Return whether the network of kind SEMANTIC with this metadata reads CT; otherwise it reads MR."""
    return bool(metadata.get("values", HU) == HU)


def read_arrays(file: Path | BinaryIO) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file, without executing code from it.

    Raises:
        ValueError: the file is not an .npz file, or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: np.asarray(stored[name]) for name in stored.files}
    except Exception as error:  # zipfile, zlib and numpy raise all kinds where bytes are damaged
        raise ValueError(str(error) or type(error).__name__) from None
