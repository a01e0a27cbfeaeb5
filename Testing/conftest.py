"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY
from pddnet.process import wait_passively

pytest_plugins = ["host.fixtures"]
wait_passively()  # before any test imports torch


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what `-m "not slow"` names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of real scans as slow."""
    for item in items:
        if "data" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real scans (ct/<case>/ct.nii.gz, landmarks.csv); the test skips where it is absent."""
    folder = Path(os.environ.get("PDDNET_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "ct").is_dir():
        pytest.skip("the real scans are not here; set PDDNET_DATA to their folder")
    return folder
