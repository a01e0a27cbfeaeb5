"""What the tests of a registration in Slicer share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from helpers import clicks

if TYPE_CHECKING:
    from host.host import Host

NAME = "PDDRegistration"


@pytest.fixture(scope="module")
def logic(running_host: Host) -> Iterator[Any]:
    """One logic for all tests of a file: its process has loaded torch then."""
    running_host.setTesting(True)
    running_host.clear()
    running_host.loadModule(clicks.MODULE)
    logic = sys.modules[NAME].PDDRegistrationLogic()
    yield logic
    logic.stop()
    running_host.unloadModule(NAME)
    running_host.clear()
