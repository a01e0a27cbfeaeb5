"""The names that other programs import: `pddnet` itself, lazily, and `pddnet.files`."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import pddnet
import pddnet.files

HOMES = {
    "DisplacementField": "pddnet.core.field",
    "Grid": "pddnet.core.grid",
    "Image": "pddnet.core.image",
    "PRESETS": "pddnet.core.presets",
    "read_volume": "pddnet.io.volumes",
    "register": "pddnet.pipeline",
}
FILE_HOMES = {
    "LARGEST_LABEL": "pddnet.io.volumes",
    "check_readable": "pddnet.io.volumes",
    "fit_labels": "pddnet.io.volumes",
    "fit_mask": "pddnet.io.volumes",
    "quiet": "pddnet.io.quiet",
    "read_labels": "pddnet.io.volumes",
    "read_mask": "pddnet.io.volumes",
    "read_transform": "pddnet.io.transforms",
    "read_volume": "pddnet.io.volumes",
}
LOADED = "print(sorted({'numpy', 'scipy', 'SimpleITK', 'torch'} & set(sys.modules)))"


def _output(code: str) -> str:
    """What a fresh Python prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import pddnet; pddnet.__version__, dir(pddnet)", []),
        ("import pddnet; pddnet.PRESETS", []),
        ("import pddnet; pddnet.Grid", ["numpy"]),
        ("from pddnet import DisplacementField, Image, read_volume", ["SimpleITK", "numpy", "scipy"]),
        ("import pddnet.files", ["SimpleITK", "numpy", "scipy"]),
    ],
)
def test_what_an_import_loads(statement: str, loaded: list[str]) -> None:
    assert _output(f"import sys; {statement}; {LOADED}") == str(loaded)


@pytest.mark.parametrize(("name", "home"), HOMES.items())
def test_every_name_is_the_object_of_its_module(name: str, home: str) -> None:
    assert getattr(pddnet, name) is getattr(importlib.import_module(home), name)


def test_the_names_that_are_promised() -> None:
    assert set(pddnet.__all__) == {*HOMES, "__version__"}
    assert set(pddnet.__all__) <= set(dir(pddnet))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pddnet' has no attribute 'regsiter'"):
        pddnet.regsiter  # noqa: B018
    with pytest.raises(ImportError, match="regsiter"):
        exec("from pddnet import regsiter")
    assert not hasattr(pddnet, "torch")


def test_a_star_brings_all_of_them() -> None:
    found: dict[str, object] = {}
    exec("from pddnet import *", found)
    assert set(found) - {"__builtins__"} == set(pddnet.__all__)
    assert found["register"] is pddnet.register
    assert found["__version__"] == pddnet.__version__


@pytest.mark.parametrize(("name", "home"), FILE_HOMES.items())
def test_files_has_the_names_of_io(name: str, home: str) -> None:
    assert getattr(pddnet.files, name) is getattr(importlib.import_module(home), name)


def test_files_promises_no_others() -> None:
    assert set(pddnet.files.__all__) == set(FILE_HOMES)
