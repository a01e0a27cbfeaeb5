"""`Testing/in_slicer.py` in the host, in an application of its own, as far as it goes there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from helpers import clicks
from helpers.paths import TESTING, environment

PROGRAM = """
import runpy, sys
from host.host import startHost
host = startHost()
host.loadModule({module!r})
sys.argv = [{script!r}, {folder!r}, "--without", "self_test,register"]
host.runInEventLoop(lambda: runpy.run_path({script!r}, run_name="__main__"))
host.closeApplication()
host.close()
"""
STEPS = (
    *(
        "versions",
        "sample_by_name",
        "save_page",
        "reveal",
        "linked_views",
        "save_during_before",
        "measure_and_plot",
        "delete_selected",
    ),
    *("register_this", "reload", "quit_side_by_side"),
)


@pytest.fixture(scope="module")
def outcome(running_host: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script wrote; `running_host` skips where there can be no window."""
    folder = tmp_path_factory.mktemp("in slicer")
    script = str(TESTING / "in_slicer.py")
    program = PROGRAM.format(module=str(clicks.MODULE), script=script, folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads((folder / "results.json").read_text("utf-8")), "folder": folder}


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_each_step_passes(outcome: dict[str, Any], step: str) -> None:
    """All of them; the self test and the registration, which take minutes, are in other tests."""
    entry = outcome["steps"][step]
    if entry["status"] == "skipped":
        pytest.skip(entry["reason"])
    assert entry["status"] == "passed", entry


@pytest.mark.slow
def test_it_writes_pictures_and_sees_the_end(outcome: dict[str, Any]) -> None:
    assert set(outcome["steps"]) == set(STEPS)
    assert {
        "sample.png",
        "linked.png",
        "linked zoom.png",
        "align here.png",
        "before.png",
        "plot.png",
        "deleted.png",
        "side by side.png",
    } <= set(outcome["pictures"])
    assert all((outcome["folder"] / name).stat().st_size > 10_000 for name in outcome["pictures"])
    assert outcome["quit"] == "begun"
    organs = outcome["steps"]["measure_and_plot"]["facts"]["names"]
    assert {"liver", "spleen", "right kidney"} <= set(organs)
