"""Progress: fractions rise through the stages, a callback's Cancelled passes, threads give way to it."""

from __future__ import annotations

import time

import pytest
import torch

from pddnet.errors import Cancelled
from pddnet.matching.progress import Ticker, expected_shares
from pddnet.tensor.execution import Work


def test_fractions_follow_the_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pddnet.matching.progress.INTERVAL", 0.0)
    seen: list[tuple[float, str]] = []
    ticker = Ticker(lambda *call: seen.append(call), {"a": 1.0, "b": 3.0})
    ticker.stage("a")
    for _ in range(500):
        ticker.tick()
    ticker.stage("b")
    ticker.tick()
    ticker.close()
    assert seen[0] == (0.0, "a")
    assert 0.2 < seen[500][0] < 0.25  # nearly a's quarter
    assert seen[501] == (0.25, "b")
    assert 0.25 < seen[502][0] < 0.3
    assert list(ticker.seconds) == ["a", "b"]


def test_a_run_by_detail_has_its_stage_before_the_last() -> None:
    plain = expected_shares({"structures": 2.0}, 2, refined=True)
    assert list(plain) == ["prepare", "structures", "align", "match 1", "match 2", "refine", "finish"]
    detailed = expected_shares({"structures": 2.0}, 2, refined=True, detailed=True)
    assert list(detailed) == [*list(plain)[:-1], "detail", "finish"]
    assert {name: share for name, share in detailed.items() if name != "detail"} == plain


@pytest.mark.parametrize("threads", [1, 3])
def test_every_part_is_done_once(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        counts, ticks = [0] * 50, []
        Work(tick=lambda: ticks.append(1)).each(
            lambda i: counts.__setitem__(i, counts[i] + 1), ((i,) for i in range(50)), torch.device("cpu")
        )
        assert counts == [1] * 50
        assert len(ticks) == 50
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
def test_cancel_stops_the_threads_and_restores_their_number(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    done: list[int] = []

    def work(part: int) -> None:
        time.sleep(0.001)
        done.append(part)

    def cancel() -> None:
        if len(done) > 5:
            raise Cancelled("now")

    try:
        with pytest.raises(Cancelled):
            Work(tick=cancel).each(work, ((i,) for i in range(3000)), torch.device("cpu"))
        assert len(done) < 3000
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_threads_follow_the_callers_gradient_mode() -> None:
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        with torch.inference_mode():
            place = torch.zeros(4)
            Work().each(lambda i: seen.append(place[i].fill_(1.0)), ((i,) for i in range(4)), torch.device("cpu"))
        assert place.tolist() == [1.0] * 4  # elsewhere an inference tensor may not be written
        with torch.no_grad():
            Work().each(lambda: seen.append(torch.is_grad_enabled()), ((),), torch.device("cpu"))
        assert seen[-1] is False
    finally:
        torch.set_num_threads(before)


def test_the_seconds_of_a_stage_that_was_ended_count_once() -> None:
    ticker = Ticker(None, {"a": 1.0, "b": 3.0})
    ticker.stage("a")
    time.sleep(0.05)
    ticker.close()
    once = ticker.seconds["a"]
    ticker.tick()
    time.sleep(0.05)
    ticker.stage("b")
    ticker.close()
    assert once >= 0.05
    assert ticker.seconds["a"] == once
