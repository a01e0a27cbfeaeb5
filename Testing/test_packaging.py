"""What Slicer packages is what stands in the module's folder, and the Extensions Index gets what it asks for."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from helpers.paths import LIBRARY, REPOSITORY

MODULE = LIBRARY
STANDARD = {"slicer", "vtk", "qt", "ctk", "SimpleITK", "numpy", "scipy"}  # what Slicer brings


def _listed(name: str) -> set[str]:
    """The files that a variable of the module's CMakeLists.txt names."""
    text = (MODULE / "CMakeLists.txt").read_text("utf-8").replace("${MODULE_NAME}", "PDDRegistration")
    return set(re.search(rf"set\({name}\s(.*?)\)", text, re.DOTALL).group(1).split())


def _files(*patterns: str) -> set[str]:
    found = (path for pattern in patterns for path in MODULE.rglob(pattern))
    return {str(path.relative_to(MODULE)) for path in found if path.is_file() and "egg-info" not in str(path)}


def test_every_script_is_listed() -> None:
    assert _listed("MODULE_PYTHON_SCRIPTS") == _files("*.py")


def test_every_resource_is_listed() -> None:
    assert _listed("MODULE_PYTHON_RESOURCES") == _files("Resources/**/*", "pddnet/weights/*")


def test_only_the_module_lies_beside_the_libraries() -> None:
    """Slicer takes every Python file directly in a module folder for a module."""
    assert [path.name for path in MODULE.glob("*.py")] == ["PDDRegistration.py"]


def test_the_sample_pair_is_small() -> None:
    assert sum(path.stat().st_size for path in (MODULE / "Resources" / "SampleData").iterdir()) < 3e6


def test_the_index_entry_and_the_project_agree() -> None:
    entry = json.loads((REPOSITORY / "PDDRegistration.json").read_text("utf-8"))
    project = (REPOSITORY / "CMakeLists.txt").read_text("utf-8")
    assert f"project({REPOSITORY.joinpath('PDDRegistration.json').stem})" in project
    assert entry["category"] == "Registration"
    assert entry["build_dependencies"] == ["PyTorch"]
    assert 'set(EXTENSION_DEPENDS "PyTorch")' in project
    home = re.search(r'EXTENSION_HOMEPAGE "(.*?)"', project).group(1)
    assert entry["scm_url"] == f"{home}.git"
    assert home.rpartition("/")[2].startswith("Slicer")
    for picture in re.findall(r'URLS? "https://[^"]*/main/(.*?)"', project):
        assert (REPOSITORY / picture).is_file(), picture
    assert (REPOSITORY / "LICENSE.txt").is_file()


def _imports(path: Path) -> set[str]:
    """Top-level names of what a file imports when it is loaded."""
    tree = ast.parse(path.read_text("utf-8"))
    checked = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    ignored = {id(inner) for node in checked for inner in ast.walk(node)}
    nodes = [node for node in tree.body if id(node) not in ignored]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted(_files("*.py")))
def test_nothing_that_slicer_lacks_is_imported_with_a_file(path: str) -> None:
    import sys

    torch = {"torch"} if path.startswith("pddnet/") else set()  # in which rooms, test_rooms.py says
    own = {"pddnet", "PDDRegistrationLib", ""} | torch
    unknown = _imports(MODULE / path) - set(sys.stdlib_module_names) - STANDARD - own
    assert unknown == set()
