"""The geometry tests must fail when the geometry is wrong: they run once with each of `planted.FAULTS`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import environment
from helpers.planted import FAULTS

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
SUITE = ["core/test_grid.py", "core/test_image.py", "core/test_field.py", "io/test_transforms.py"]


def run_suite(fault: str) -> subprocess.CompletedProcess:
    """The geometry tests that need no Slicer (the faster ones), up to the first failure."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "helpers.planted",
        "-p",
        "no:cacheprovider",
        "-x",
        "-k",
        "not slicer",
    ]
    return subprocess.run(
        [*command, *SUITE],
        cwd=FOLDER,
        env=environment(PDDNET_FAULT=fault),
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_notices(fault):
    result = run_suite(fault)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout[-3000:] + result.stderr[-1000:]
    assert "AssertionError" in result.stdout or "assert " in result.stdout, "it fell over instead of noticing"


def test_the_suite_passes_without_a_fault():
    result = run_suite("")
    assert result.returncode == pytest.ExitCode.OK, result.stdout[-3000:]
