"""The tests of the nodes must fail when their geometry is wrong: they run once with each of `planted_nodes.FAULTS`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from planted_nodes import FAULTS

FOLDER = Path(__file__).parent
SUITE = ["test_nodes_transforms.py", "test_nodes_volumes.py", "test_nodes_segmentations.py"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_notices(fault):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "planted_nodes", "-p", "no:cacheprovider", "-x", *SUITE],
        cwd=FOLDER,
        env={
            **os.environ,
            "NODES_FAULT": fault,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")])),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout[-3000:] + result.stderr[-1000:]
    assert "AssertionError" in result.stdout or "assert " in result.stdout, "it fell over instead of noticing"
