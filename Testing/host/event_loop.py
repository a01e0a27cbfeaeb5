"""Running Python inside Qt's event loop, and hearing of the exceptions that Qt and VTK swallow there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import qt

Result = TypeVar("Result")


def run(body: Callable[[], Result]) -> Result:
    """Call `body` from a running event loop, as all code in Slicer is called, and return its result.

    An exception in `body` is raised here. So is the first one of any slot or observer meanwhile, which Qt and VTK only
    print.
    """
    application = qt.QApplication.instance()
    outcome: list[Result] = []
    errors: list[BaseException] = []

    def start() -> None:
        try:
            outcome.append(body())
        except BaseException as error:
            errors.insert(0, error)
        finally:
            application.exit(0)

    previous, sys.excepthook = sys.excepthook, lambda kind, error, trace: errors.append(error)
    try:
        qt.QTimer.singleShot(0, start)
        application.exec()
        process_events()
    finally:
        sys.excepthook = previous
    if errors:
        raise errors[0]
    return outcome[0]


def process_events(seconds: float = 0.0) -> None:
    """Let Qt work for so long, deletions that were put off included."""
    end = time.monotonic() + seconds
    while True:
        qt.QApplication.processEvents()
        qt.QApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete.value)
        if time.monotonic() >= end:
            return
        time.sleep(0.005)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Process events until `condition` holds; False if it does not within the time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        process_events(0.01)
    return True
