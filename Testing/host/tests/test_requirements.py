"""Where the host cannot start its tests are skipped with the reason, and with CI=true they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY, TESTING

TEST = "Testing/host/tests/test_views.py::test_a_picture_that_cannot_be_written_is_an_error"


def run(arguments: list[str], broken: Path, **variables: str) -> subprocess.CompletedProcess:
    """Python with a PySide6 that cannot be imported."""
    (broken / "PySide6").mkdir()
    (broken / "PySide6" / "__init__.py").write_text('raise ImportError("libEGL.so.1: no such file")\n', "utf-8")
    paths = os.pathsep.join([str(broken), str(TESTING)])
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"PYTHONPATH": paths, **variables}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(("variables", "code", "word"), [({}, 0, "1 skipped"), ({"CI": "true"}, 1, "1 error")])
def test_what_is_missing_skips_a_test_but_not_in_ci(tmp_path, variables, code, word):
    done = run(["pytest", "-p", "no:cacheprovider", "-v", TEST], tmp_path, **variables)
    assert done.returncode == code, done.stdout
    assert word in done.stdout
    assert "libEGL.so.1: no such file" in done.stdout


def test_a_window_that_cannot_open_says_why(tmp_path):
    done = run(["host.gui"], tmp_path)
    assert done.returncode == 1
    assert "libEGL.so.1: no such file" in done.stderr
    assert "Traceback" not in done.stderr
