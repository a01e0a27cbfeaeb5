"""The rooms of the house: which folder may import which, and where torch, Slicer and Qt may stand. One table."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.paths import LIBRARY

# Each room and the rooms that it may import, besides itself. What is missing on the right is forbidden.
_BASE = {"errors", "core"}
_TENSOR = {*_BASE, "io", "tensor"}
_METHOD = {*_TENSOR, "features", "matching"}
_ALL = {*_METHOD, "evaluation", "networks", "phantom", "shapes", "synthesis", "pipeline", "training", "ablation"}
ROOMS: dict[str, dict[str, set[str]]] = {
    "pddnet": {
        "errors": set(),
        "core": {"errors"},
        "io": _BASE,
        "evaluation": _BASE,
        "phantom": _BASE,
        "fusion": _BASE,
        "page": {*_BASE, "evaluation"},
        "tensor": {*_BASE, "process"},
        "features": {*_BASE, "io", "tensor"},
        "matching": {*_TENSOR, "evaluation", "features"},
        "shapes": {*_BASE, "tensor"},
        "synthesis": {*_TENSOR, "features", "phantom"},
        "networks": _METHOD,
        "pipeline": {*_METHOD, "networks"},
        "training": {*_METHOD, "networks", "phantom", "synthesis"},
        "methods": {*_BASE, "io", "networks"},
        "ablation": {*_METHOD, "evaluation", "methods", "pipeline"},
        "process": set(),
        "run": {*_METHOD, "evaluation", "fusion", "page", "pipeline"},
        "template": {*_BASE, "evaluation", "fusion", "io", "page"},
        "worker": {*_METHOD, "evaluation", "page", "process", "run"},
        "batch": {*_BASE, "io", "evaluation", "page", "worker"},
        "cli": {*_ALL, "methods", "batch", "fusion", "page", "process", "run", "template"},
        "files": {"io"},
        "__main__": {"cli", "process"},
    },
    "PDDRegistrationLib": {
        "base": set(),
        "scene": {"base"},
        "worker": {"base", "scene"},
        "registration": {"base", "scene", "worker"},
        "measure": {"base", "scene", "worker", "registration"},
        "compare": {"base", "scene"},
        "ui": {"base", "scene", "worker", "registration", "measure", "compare"},
    },
}
WITH_TORCH = {"tensor", "features", "matching", "networks", "shapes", "synthesis", "training"}  # at the top of a file
LATE_IMPORTS = {
    "cli",
    "run",
    "worker",
}  # may import a room inside a function: torch loads only when the inputs are checked
SLICER = {"slicer", "vtk", "qt", "ctk"}


@dataclass(frozen=True)
class Import:
    """One import of a room or of a package: where it stands and whether inside a function."""

    path: Path
    line: int
    package: str  # 'pddnet', 'torch', ...
    room: str  # within a package of ours, else ''
    late: bool


def _files(package: str) -> list[Path]:
    return sorted(path for path in (LIBRARY / package).rglob("*.py"))


def _room_of(path: Path, package: str) -> str:
    parts = path.relative_to(LIBRARY / package).with_suffix("").parts
    return parts[0]


def _imports(path: Path) -> list[Import]:
    """All imports of a file but those for type checkers alone."""
    tree = ast.parse(path.read_text("utf-8"))
    checked = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    ignored = {id(inner) for node in checked for inner in ast.walk(node)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = {id(inner) for node in functions for inner in ast.walk(node)}
    here = path.relative_to(LIBRARY).with_suffix("").parts
    found = []
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level] if node.level else ()
            base = start + tuple((node.module or "").split(".") if node.module else ())
            targets = [base + (alias.name,) for alias in node.names]
        else:
            continue
        for target in targets:
            own = target[0] in ROOMS
            room = target[1] if own and len(target) > 1 else ""
            found.append(Import(path, node.lineno, target[0], room, id(node) in late))
    return found


def _faults(package: str) -> list[str]:
    """What breaks the table, one line each."""
    faults = []
    for path in _files(package):
        room = _room_of(path, package)
        if room == "__init__":
            continue
        allowed = ROOMS[package][room] | {room}
        for each in _imports(path):
            where = f"{path.relative_to(LIBRARY)}:{each.line}"
            if each.package == package and each.room in ROOMS[package] and each.room not in allowed:
                faults.append(f"{where}: {room} imports {each.room}")
            if each.package in ROOMS and each.room in ROOMS[each.package] and each.late and room not in LATE_IMPORTS:
                faults.append(f"{where}: {each.room} is imported inside a function")
    return faults


@pytest.mark.parametrize("package", ROOMS)
def test_the_rooms_import_downwards_only(package: str) -> None:
    assert _faults(package) == []


@pytest.mark.parametrize("package", ROOMS)
def test_every_file_lies_in_a_room(package: str) -> None:
    rooms = {_room_of(path, package) for path in _files(package)}
    assert rooms - {"__init__"} == set(ROOMS[package])


@pytest.mark.parametrize("package", ROOMS)
def test_the_table_has_no_circle(package: str) -> None:
    left = dict(ROOMS[package])
    while free := [room for room, needs in left.items() if not needs & left.keys() - {room}]:
        for room in free:
            del left[room]
    assert left == {}


def test_torch_stands_at_the_top_of_its_rooms_alone() -> None:
    faults = []
    for path in _files("pddnet"):
        room = _room_of(path, "pddnet")
        for each in _imports(path):
            if each.package == "torch" and (room not in WITH_TORCH if not each.late else room not in LATE_IMPORTS):
                faults.append(f"{path.relative_to(LIBRARY)}:{each.line}")
    assert faults == []


def test_the_library_knows_nothing_of_slicer() -> None:
    assert [each for path in _files("pddnet") for each in _imports(path) if each.package in SLICER] == []


def test_vtk_is_loaded_for_surfaces_alone_and_late() -> None:
    found = [each for path in _files("pddnet") for each in _imports(path) if each.package == "vtkmodules"]
    assert {(_room_of(each.path, "pddnet"), each.late) for each in found} == {("shapes", True)}


def test_the_slicer_side_never_imports_torch() -> None:
    paths = [*_files("PDDRegistrationLib"), LIBRARY / "PDDRegistration.py"]
    assert [each for path in paths for each in _imports(path) if each.package == "torch"] == []


def test_slicers_process_loads_no_room_with_torch() -> None:
    """Of pddnet, its files import only the rooms that need no torch, and what tells the worker's protocol."""
    known = set(ROOMS["pddnet"]) - WITH_TORCH - {"pipeline", "ablation", "cli"}
    used = {each.room for path in _files("PDDRegistrationLib") for each in _imports(path) if each.package == "pddnet"}
    assert used - {""} <= known | {"__version__"}
