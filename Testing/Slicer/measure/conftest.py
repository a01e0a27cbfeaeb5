"""What the tests of the section Measure share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def worker(running_host: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One for all tests of a file; torch cannot be imported in it."""
    from helpers import measure_scene

    with measure_scene.torchless_worker(tmp_path_factory.mktemp("measure")) as worker:
        yield worker
