"""What several tests of the command share."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.samples import fake_register
from pddnet import pipeline


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every call of the stand-in for the registration."""
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(pipeline, "register", fake_register(calls=noted))
    return noted
