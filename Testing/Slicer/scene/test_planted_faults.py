"""The tests of the nodes must fail when their geometry is wrong: they run once with each of `planted_nodes.FAULTS`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import environment
from helpers.planted_nodes import FAULTS

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
SUITE = ["test_transforms.py", "test_volumes.py", "test_segmentations.py"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_notices(fault):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "helpers.planted_nodes", "-p", "no:cacheprovider", "-x", *SUITE],
        cwd=FOLDER,
        env=environment(NODES_FAULT=fault),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout[-3000:] + result.stderr[-1000:]
    assert "AssertionError" in result.stdout or "assert " in result.stdout, "it fell over instead of noticing"
