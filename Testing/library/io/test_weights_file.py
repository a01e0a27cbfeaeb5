"""Weights files: what was written comes back; what is damaged, foreign or dangerous is refused with one sentence."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from pddnet.errors import InputError
from pddnet.io import weights_file as weights
from pddnet.io.weights_file import FORMAT, read_weights, write_weights

ARRAYS = {"a.weight": np.linspace(-2, 3, 24).reshape(2, 3, 4), "b": np.array([0.5]), "scalar": np.array(7.0)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_weights(tmp_path / "w.npz", ARRAYS, {"kind": "test", "data": "virtual", "dice": 0.5})
    return tmp_path / "w.npz"


def _refused(path: Path, match: str | None = None, kind: str = "test") -> str:
    with pytest.raises(InputError, match=match) as error:
        read_weights(path, kind)
    text = str(error.value)
    assert str(path) in text
    assert "the preset 'mind'" in text
    return text


def test_round_trip(path: Path) -> None:
    arrays, metadata = read_weights(path, "test")
    assert metadata == {"format": FORMAT, "kind": "test", "data": "virtual", "dice": 0.5}
    assert set(arrays) == set(ARRAYS)
    for name, array in arrays.items():
        assert array.dtype == np.float32
        assert array.shape == ARRAYS[name].shape
        assert np.allclose(array, ARRAYS[name], rtol=1e-3)
    assert [p.name for p in path.parent.iterdir()] == ["w.npz"]


def test_in_8_bits_every_channel_keeps_its_own_scale(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    rng = np.random.default_rng(1)
    kernels = rng.normal(size=(4, 3, 2)) * np.array([1000.0, 1.0, 0.001, 0.0])[:, None, None]
    write_weights(path, {"kernels": kernels, "bias": np.array([0.5, -2.0])}, {"kind": "test"}, in_8_bits=True)
    arrays, _ = read_weights(path, "test")
    assert set(arrays) == {"kernels", "bias"}
    assert arrays["bias"].tolist() == [0.5, -2.0]
    largest = np.abs(kernels).max((1, 2), keepdims=True)
    error = np.abs(arrays["kernels"] - kernels)
    assert (error <= largest / 254 * 1.001).all()
    assert (error[:3].max((1, 2)) > 0).all()  # rounded, not stored whole
    with np.load(path) as stored:
        assert stored["kernels"].dtype == np.int8


def test_8_bits_without_their_factors(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    write_weights(path, {"kernels": np.ones((4, 3))}, {"kind": "test"}, in_8_bits=True)
    stored = weights.read_arrays(path)
    for factors in (None, np.ones((3, 1), np.float32)):
        changed = {name: array for name, array in stored.items() if not name.endswith(" scale")}
        weights.write_arrays(path, changed if factors is None else {**changed, "kernels scale": factors})
        _refused(path, "factors of 'kernels'")


def test_the_same_weights_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    write_weights(tmp_path / "again.npz", ARRAYS, {"dice": 0.5, "data": "virtual", "kind": "test"})
    with np.load(path) as one, np.load(tmp_path / "again.npz") as two:
        assert one.files == two.files
        assert all(one[name].tobytes() == two[name].tobytes() for name in one.files)


def test_a_missing_file(tmp_path: Path) -> None:
    _refused(tmp_path / "none.npz", "cannot read")


def test_truncated_anywhere(path: Path) -> None:
    whole = path.read_bytes()
    for size in [0, 1, 3, 30, *range(50, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        _refused(path)


def test_a_changed_byte_is_refused_or_harmless(path: Path) -> None:
    """Wherever it is changed: an InputError, or the same values, if perhaps under another name."""
    whole = path.read_bytes()
    right, _ = read_weights(path, "test")
    refused = 0
    for place in range(0, len(whole), 3):
        for flip in (0xFF, 0x01, 0x10):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            try:
                arrays, _ = read_weights(path, "test")
            except InputError:
                refused += 1
            else:
                assert all(np.array_equal(arrays[name], right[name]) for name in arrays if name in right)
    assert refused > 0.5 * len(whole)


def test_files_of_other_kinds(path: Path, tmp_path: Path) -> None:
    _refused(path, "kind 'test' where 'obelisk'", kind="obelisk")
    other = tmp_path / "other.npz"
    for content in (b"", b"PK\x03\x04", b"<html>not found</html>", b"\x93NUMPY", pickle.dumps({"a": 1})):
        other.write_bytes(content)
        _refused(other)
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    other.write_bytes(stream.getvalue())  # a single array under the wrong name
    _refused(other)
    np.savez(other, a=np.zeros(3))
    _refused(other, "metadata")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", json.dumps({"kind": "test"}), json.dumps({"format": 1})])
def test_metadata_that_say_nothing(tmp_path: Path, text: str) -> None:
    np.savez(tmp_path / "w.npz", metadata=np.array(text), a=np.zeros(3))
    _refused(tmp_path / "w.npz")


def test_another_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", metadata=np.array(json.dumps({"format": FORMAT + 1, "kind": "test"})), a=np.zeros(3))
    _refused(tmp_path / "w.npz", f"of format {FORMAT}")


class _Trap:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", ["a", "metadata"])
def test_pickled_objects_are_refused_and_nothing_is_executed(tmp_path: Path, name: str) -> None:
    arrays = {"metadata": np.array(json.dumps({"format": FORMAT, "kind": "test"})), "a": np.zeros(3)}
    arrays[name] = np.array([_Trap(tmp_path / "executed")], dtype=object)
    np.savez(tmp_path / "w.npz", **arrays)
    _refused(tmp_path / "w.npz", "not a weights file")
    (tmp_path / "w.npz").write_bytes(pickle.dumps(_Trap(tmp_path / "executed")))
    _refused(tmp_path / "w.npz", "not a weights file")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])  # the last is infinite as it is stored
def test_values_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    with np.errstate(over="ignore"):
        write_weights(tmp_path / "w.npz", {"a": np.array([1.0, bad])}, {"kind": "test"})
    _refused(tmp_path / "w.npz", "no numbers")


def test_text_where_numbers_belong(tmp_path: Path) -> None:
    metadata = np.array(json.dumps({"format": FORMAT, "kind": "test"}))
    np.savez(tmp_path / "w.npz", metadata=metadata, a=np.array(["one"]))
    _refused(tmp_path / "w.npz")


def test_bundled_files_are_checked_by_their_sum(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FOLDER", path.parent)
    _refused(path, "SHA-256")  # one that nobody listed
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "BUNDLED_SHA256", {"w.npz": right})
    assert read_weights(path, "test")[1]["dice"] == 0.5
    write_weights(path, ARRAYS | {"b": np.array([0.25])}, {"kind": "test"})
    _refused(path, "SHA-256")


def test_every_bundled_file_is_listed_with_its_sum() -> None:
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in weights.FOLDER.glob("*.npz")}
    assert found == weights.BUNDLED_SHA256
    assert sum(p.stat().st_size for p in weights.FOLDER.glob("*.npz")) < 10e6


def test_an_interrupted_write_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(stream: io.BufferedWriter, **arrays: np.ndarray) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_weights(path, {"b": np.zeros(3)}, {"kind": "test"})
    assert read_weights(path, "test")[0]["b"] == 0.5
