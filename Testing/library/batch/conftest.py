"""What the tests of batches share: a cluster within this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from pddnet.batch import task


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Two workers, which are threads."""
    options = {"processes": False, "n_workers": 2, "threads_per_worker": 1, "silence_logs": logging.CRITICAL}
    options["resources"] = {"SLOT": 1}
    with LocalCluster(dashboard_address=":0", **options) as cluster, Client(cluster) as client:
        yield client
    task.POOL.end()
