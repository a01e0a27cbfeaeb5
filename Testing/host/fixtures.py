"""The host, for tests that need a window or `slicer.app`; it starts when the first of them asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.paths import HOST_EXAMPLE

if TYPE_CHECKING:
    from helpers.runs import Bench
    from host.host import Host


@pytest.fixture(scope="session")
def running_host() -> Iterator[Host]:
    """The host of this process. Where it cannot run the test is skipped, but with CI=true it fails."""
    from host.requirements import missing

    if reason := missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"the host cannot start: {reason}")
    from host.host import startHost

    own = os.environ.get("SLICER_PYTHON")  # a folder with Slicer's own Python files instead of the stand-ins
    host = startHost(slicerPython=Path(own) if own else None)
    yield host
    host.closeApplication()
    host.close()


@pytest.fixture
def host(running_host: Host) -> Iterator[Host]:
    """The host with an empty scene and no scripted module, in testing mode; it is cleared again afterwards."""
    running_host.setTesting(True)
    yield running_host
    for name in running_host.loadedModules():
        running_host.unloadModule(name)
    running_host.clear()


@pytest.fixture
def example(host: Host) -> object:
    """The widget object of the example module, loaded into the host."""
    return host.loadModule(HOST_EXAMPLE)


@pytest.fixture(scope="module")
def opened(running_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The module's panel, open for all tests of a file: its process takes seconds to start."""
    from helpers import runs

    with (
        pytest.MonkeyPatch.context() as patch,
        runs.opened(running_host, tmp_path_factory.mktemp("runs"), patch) as bench,
    ):
        yield bench


@pytest.fixture
def bench(opened: Bench) -> Bench:
    """That panel in a new scene."""
    return opened.renew()
