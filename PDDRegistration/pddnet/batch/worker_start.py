"""What Dask's workers on this machine do when they start: leave Ctrl-C to the command, which ends them."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Dask calls this in each worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
