"""What Slicer and pip install is what stands in the source tree, and the Extensions Index gets what it asks for."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import pddnet
from helpers import runs
from helpers.paths import LIBRARY, MODULE, REPOSITORY

if TYPE_CHECKING:
    from host.host import Host

DEPENDENCIES = Path(np.__file__).parents[1]  # the folder that numpy, torch and the others were installed into
STANDARD = {"slicer", "vtk", "qt", "ctk", "SimpleITK", "numpy", "scipy"}  # what Slicer brings


def _listed(name: str) -> set[str]:
    """The files that a variable of the module's CMakeLists.txt names."""
    text = (LIBRARY / "CMakeLists.txt").read_text("utf-8").replace("${MODULE_NAME}", "PDDRegistration")
    return set(re.search(rf"set\({name}\s(.*?)\)", text, re.DOTALL).group(1).split())


def _files(*patterns: str) -> set[str]:
    """The files in the module's folder that fit a pattern, relative to that folder."""
    found = (path for pattern in patterns for path in LIBRARY.rglob(pattern))
    return {str(path.relative_to(LIBRARY)) for path in found if path.is_file() and "egg-info" not in str(path)}


def test_every_script_is_listed() -> None:
    assert _listed("MODULE_PYTHON_SCRIPTS") == _files("*.py")


def test_every_resource_is_listed() -> None:
    assert _listed("MODULE_PYTHON_RESOURCES") == _files("Resources/**/*", "pddnet/weights/*")


def test_only_the_module_lies_beside_the_libraries() -> None:
    """Slicer takes every Python file directly in a module folder for a module."""
    assert [path.name for path in LIBRARY.glob("*.py")] == ["PDDRegistration.py"]


def test_the_sample_pair_is_small() -> None:
    assert sum(path.stat().st_size for path in (LIBRARY / "Resources" / "SampleData").iterdir()) < 3e6


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
    torch = {"torch"} if path.startswith("pddnet/") else set()  # in which rooms, test_rooms.py says
    own = {"pddnet", "PDDRegistrationLib", ""} | torch
    unknown = _imports(LIBRARY / path) - set(sys.stdlib_module_names) - STANDARD - own
    assert unknown == set()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with what Slicer's build installs: the files that CMakeLists.txt names, and nothing else."""
    folder = tmp_path / "qt-scripted-modules"
    for name in _listed("MODULE_PYTHON_SCRIPTS") | _listed("MODULE_PYTHON_RESOURCES"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(LIBRARY / name, folder / name)
    return folder


def test_the_libraries_are_found_from_the_modules_folder_alone(installed: Path, tmp_path: Path) -> None:
    """Slicer appends this folder to sys.path: a pddnet that pip installed comes first there, and must not win."""
    other = tmp_path / "site-packages" / "pddnet"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('the wrong pddnet')\n")
    program = "import PDDRegistrationLib, pddnet; print(PDDRegistrationLib.__file__); print(pddnet.__file__)"
    path = os.pathsep.join(map(str, (other.parent, installed)))
    done = _run([sys.executable, "-S", "-c", program], tmp_path, PYTHONPATH=path)  # -S: without installed packages
    expected = [str(installed / package / "__init__.py") for package in ("PDDRegistrationLib", "pddnet")]
    assert done.stdout.splitlines() == expected


def test_slicer_loads_the_module_from_what_is_installed(
    host: Host, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(installed)
    with runs.fresh_library():
        widget = host.loadModule(installed / MODULE.name)
        assert widget.ui.applyButton.text == "Apply"
        loaded = {
            name: module for name, module in sys.modules.items() if name.startswith(("pddnet", "PDDRegistration"))
        }
        assert {"pddnet.core.presets", "PDDRegistrationLib.ui.registration_panel"} <= loaded.keys()
        assert [name for name, module in loaded.items() if not Path(module.__file__).is_relative_to(installed)] == []
        host.unloadModule(MODULE.stem)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy of the sources: a build leaves folders beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    leftovers = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    shutil.copytree(LIBRARY, source / LIBRARY.name, ignore=leftovers)
    for name in ("pyproject.toml", "README.md", "LICENSE.txt"):
        shutil.copyfile(REPOSITORY / name, source / name)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "pip", "wheel", ".", "-q", *offline, "-w", str(folder)], source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"pddnet-{pddnet.__version__}.dist-info"
    assert {name for name in names if not name.startswith(f"{about}/")} == _files(
        "pddnet/**/*.py", "pddnet/weights/*"
    ) | {"pddnet/py.typed"}
    assert {f"{about}/licenses/LICENSE.txt", f"{about}/entry_points.txt"} <= names


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """All modules can be imported there, and the command runs."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    _run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], tmp_path)
    program = (
        "import importlib, pkgutil, pddnet\n"
        "for module in pkgutil.walk_packages(pddnet.__path__, 'pddnet.'):\n"
        "    if module.name != 'pddnet.__main__':\n"
        "        importlib.import_module(module.name)\n"
        "print(pddnet.__file__)"
    )
    imported = _run([str(python), "-c", program], tmp_path, PYTHONPATH=str(DEPENDENCIES))
    assert Path(imported.stdout.strip()).is_relative_to(environment)
    shown = _run([str(scripts / "pddnet"), "--version"], tmp_path, PYTHONPATH=str(DEPENDENCIES))
    assert pddnet.__version__ in shown.stdout


def _run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, which must succeed; the environment has no PYTHONPATH but the one given here."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=inherited | variables, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
