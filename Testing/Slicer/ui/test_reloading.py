"""The module is reloaded, loaded elsewhere, opened again and again; the application is closed."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from helpers import runs, worker_programs
from helpers.paths import environment

if TYPE_CHECKING:
    from host.host import Host

NOISY = """
import ctypes
import os

print("hello from a library")
os.write(1, b'{"id": 1, "done": {}}\\n')
libc = ctypes.CDLL(None)
libc.puts(b"put to C's stdout")
libc.fflush(None)
"""


pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the launcher is a script")]


@pytest.fixture
def bench(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[runs.Bench]:
    with runs.opened(host, tmp_path, monkeypatch) as bench:
        yield bench


def observers(vtk_object: Any) -> int:
    """How many observers it has, as it says itself when printed."""
    return str(vtk_object).count("vtkObserver (")


def test_the_module_is_reloaded_during_a_run(host: Host, bench: runs.Bench) -> None:
    import slicer

    with runs.fresh_library():
        pids: list[int] = []

        def body() -> None:
            bench.begin()
            assert host.waitUntil(lambda: "align" in bench.stages, 60)
            pids.append(bench.worker.hello["pid"])
            bench.widget = host.reloadModule(runs.NAME)
            assert not psutil.pid_exists(pids[0])

        bench.host.runInEventLoop(body)
        assert runs.leftovers(host) == []
        assert slicer.util.getNodesByClass("vtkMRMLGridTransformNode") == []
        bench.check_inputs_untouched()
        assert bench.parameters.movingVolume is bench.nodes["movingVolume"]
        assert bench.ui.applyButton.text == "Apply"
        bench.check_usable()
        assert bench.worker.hello["pid"] != pids[0]
        host.unloadModule(runs.NAME)


@pytest.mark.parametrize("version", ["5.10", "5.12"])
def test_scenes_and_panels_in_a_row_leave_no_observers(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Neither on the scene nor on the parameter node: a change of it is heard once, however often it was shown."""
    import slicer

    wrapper = "slicer.parameterNodeWrapper.wrapper.REMOVES_GUI_OBSERVERS"
    monkeypatch.setattr(wrapper, version != "5.10", raising=False)  # Slicer's own files have no such switch
    from PDDRegistrationLib.ui.registration_panel import RegistrationPanel

    heard: list[str] = []
    original = RegistrationPanel._onModified
    monkeypatch.setattr(
        RegistrationPanel, "_onModified", lambda *arguments: (heard.append(""), original(*arguments))[1]
    )
    empty, counts = observers(slicer.mrmlScene), []
    for _ in range(3):
        with runs.opened(host, tmp_path, monkeypatch) as bench:
            node = bench.parameters.parameterNode
            for _ in range(3):
                host.closeScene()
                former = weakref.ref(bench.widget._parameterNode)
                bench.widget.exit()
                bench.widget.enter()
                gc.collect()
                assert former() is None
                heard.clear()
                bench.choose(preset="multimodal")
                counts.append((observers(slicer.mrmlScene), len(heard)))
            assert observers(slicer.mrmlScene) > empty
            assert node.HasObserver("ModifiedEvent")
        assert observers(slicer.mrmlScene) == empty
        assert not node.HasObserver("ModifiedEvent")
        assert not bench.widget.Observations
    assert set(counts) == {(counts[0][0], 1)}, counts


def test_the_modules_that_it_uses_outlive_it(host: Host, bench: runs.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer unloads its modules by name from the last one on, but each before those that it depends on."""
    import slicer

    used = ("Markups", "Segmentations", "SubjectHierarchy", "Tables", "Transforms", "Volumes")
    there: list[list[str]] = []
    cleanup = type(bench.widget).cleanup

    def recorded(widget: Any) -> None:
        there.append([name for name in used if hasattr(slicer.modules, name.lower())])
        cleanup(widget)

    monkeypatch.setattr(type(bench.widget), "cleanup", recorded)
    host.closeApplication()
    assert there == [list(used)]


@pytest.mark.parametrize("way", ["closed", "left without cleaning up"])
def test_the_application_is_closed_during_a_run(tmp_path: Path, way: str) -> None:
    """In a process of its own, which must end by itself; its worker ends too, and no file is left."""
    launcher = worker_programs.make_launcher(tmp_path / "bin")
    program = [sys.executable, "-m", "helpers.closing_host", way]
    (tmp_path / "temporär").mkdir()
    settings = {"PATH": f"{launcher.parent}:/usr/bin:/bin", "TMPDIR": str(tmp_path / "temporär")}
    ended = subprocess.run(program, env=environment(**settings), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    pid, stage = ended.stdout.split()[-2:]
    assert stage == "align", ended.stdout
    for _ in range(100):
        if not psutil.pid_exists(int(pid)):
            break
        psutil.wait_procs([psutil.Process(int(pid))], timeout=0.1)
    assert not psutil.pid_exists(int(pid))
    assert list((tmp_path / "temporär").rglob("pddnet-*")) == []
    assert way != "closed" or "Traceback" not in ended.stderr


def test_hard_paths_and_a_library_that_prints(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module, its temporary files and the launcher lie in folders with spaces and umlauts; the library that prints
    even prints an answer of the protocol."""
    module = tmp_path / "Fräulein Müllers Ordner é" / "PDDRegistration"
    shutil.copytree(runs.MODULE.parent, module, ignore=shutil.ignore_patterns("__pycache__"))
    tasks = module / "pddnet" / "worker" / "tasks.py"
    tasks.write_text(tasks.read_text("utf-8") + NOISY, "utf-8")
    folder = tmp_path / "temporäre Dateien (1)"
    folder.mkdir()
    monkeypatch.setattr(host.app, "_folder", str(folder))
    monkeypatch.syspath_prepend(module)
    with runs.fresh_library(), runs.opened(host, tmp_path, monkeypatch, module / runs.MODULE.name) as bench:
        import PDDRegistrationLib

        assert Path(PDDRegistrationLib.__file__).parents[1] == module
        bench.check_usable()
        assert Path(bench.worker.hello["file"]).parent == module / "pddnet"
        assert bench.worker.log.count("put to C's stdout") == 1
        assert "hello from a library" in bench.worker.log
        assert [path.name[:7] for path in folder.iterdir()] == ["pddnet-"]
    assert list(folder.iterdir()) == []
