"""Start what a button stands for, or say why that cannot be, alike in every section (`starting`, `sayingWhyNot`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from slicer.i18n import tr as _

from pddnet.errors import InputError

from ..worker.failure import noMemory
from .double_click import DoubleClick

BUSY = _("Something else is being computed; start when it has ended.")


@contextmanager
def sayingWhyNot(say: Callable[[str], None], failed: str) -> Iterator[None]:
    """Say to the user what the block raises, and go on after it.

    failed: what to say of an exception that nobody expected; it is raised all the same, for the Python console.
    """
    try:
        yield
    except InputError as error:
        say(str(error))
    except MemoryError:
        say(noMemory())
    except Exception:
        say(failed)
        raise


@contextmanager
def starting(
    button: Any, doubleClick: DoubleClick, update: Callable[[], None], say: Callable[[str], None], failed: str
) -> Iterator[None]:
    """Start in this block what a button stands for; the button is disabled meanwhile. say, failed: see `sayingWhyNot`.

    update: called afterwards, to enable what can be done then.
    """
    button.enabled = False  # installing PyTorch and reading the nodes take a while, in which the window may work
    try:
        with sayingWhyNot(say, failed):
            yield
    finally:
        doubleClick.begin()
        update()
