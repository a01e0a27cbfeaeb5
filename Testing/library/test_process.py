"""`pddnet.process`: freed memory stays with the process and goes back when asked; garbage is collected rarely."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path

import pytest
import torch

from pddnet import process
from pddnet.process import give_back, keep

SIZE, PAGE = 48 << 20, 4096  # bytes; glibc would map a block of that size on its own


def _faults(count: int) -> int:
    """Pages that the process fetched while it used and freed a block of SIZE so many times."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.zeros(SIZE // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.skipif(process._glibc() is None, reason="no glibc here")
def test_what_is_freed_is_used_again_and_given_back_when_asked() -> None:
    keep()
    _faults(8)
    assert _faults(10) < 3 * SIZE / PAGE
    blocks = [torch.zeros(SIZE // 4) for _ in range(12)]
    del blocks
    held = _resident()
    give_back()
    assert held - _resident() > 6 * SIZE


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert process._glibc() is None
    keep()
    give_back()


def test_what_only_waits_to_be_found_is_freed_when_asked() -> None:
    class Ring:
        pass

    gc.disable()
    try:
        ring = Ring()
        ring.itself = ring
        left = weakref.ref(ring)
        del ring
        assert left() is not None
        give_back()
        assert left() is None
    finally:
        gc.enable()


def test_garbage_is_looked_for_as_before_once_torch_is_loaded() -> None:
    before = gc.get_threshold()
    process.restore_garbage_collection()
    assert gc.get_threshold() == before  # nobody asked for anything else
    try:
        process.collect_rarely()
        process.collect_rarely()
        assert gc.get_threshold()[0] > 100 * before[0]
        process.restore_garbage_collection()
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() > 0  # what torch made is not searched
        process.give_back()
        assert gc.get_freeze_count() == 0
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
