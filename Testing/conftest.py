"""Plugins and settings of all tests."""

from __future__ import annotations

from pddnet.process import wait_passively

pytest_plugins = ["host.fixtures"]
wait_passively()  # before any test imports torch
