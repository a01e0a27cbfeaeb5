"""Keep what was computed last, so that the next run with the same scan need not compute it again (`Memo`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


class Memo:
    """The last result of each computation. A batch gives one to all runs of a process; a single run has its own."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Sequence[object], Hashable, Any]] = {}

    def __call__(
        self, name: str, sources: Sequence[object], settings: Hashable, compute: Callable[[], Result]
    ) -> Result:
        """Return what `compute` returned last under this name, or call it if anything has changed since.

        Args:
            sources: objects that it reads, such as scans; they must be the same ones, not equal ones. They are kept, so
                that no other object takes their place.
            settings: values that it depends on; they must be equal.
        """
        known = self._known.get(name)
        if known is None or known[1] != settings or not _same(known[0], sources):
            self._known.pop(name, None)  # free it before the next one is computed
            known = self._known[name] = tuple(sources), settings, compute()
        result: Result = known[2]
        return result


def _same(known: Sequence[object], given: Sequence[object]) -> bool:
    return len(known) == len(given) and all(a is b for a, b in zip(known, given, strict=True))
