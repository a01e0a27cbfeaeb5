"""`Memo`: the last result, as long as it was computed from the same objects with equal settings."""

from __future__ import annotations

from collections.abc import Callable

from pddnet.core.memo import Memo


def _counter() -> Callable[[], int]:
    numbers = iter(range(100))
    return lambda: next(numbers)


def test_a_result_is_kept_until_a_source_or_a_setting_differs() -> None:
    kept, count = Memo(), _counter()
    one, other = [1], [1]  # equal, but not the same
    assert [kept("a", (one, None), (4.0, "cpu"), count) for _ in range(3)] == [0, 0, 0]
    assert kept("a", (other, None), (4.0, "cpu"), count) == 1
    assert kept("a", (other, None), (4.0, "cuda"), count) == 2
    assert kept("a", (one, None), (4.0, "cpu"), count) == 3  # only the last one is kept


def test_names_do_not_disturb_each_other() -> None:
    kept, count = Memo(), _counter()
    source = object()
    assert [kept(name, (source,), None, count) for name in "abab"] == [0, 1, 0, 1]


def test_what_fails_is_not_kept() -> None:
    kept, source = Memo(), object()

    def fail() -> int:
        raise ValueError

    for compute, expected in ((lambda: 1, 1), (fail, None), (lambda: 2, 2)):
        try:
            found = kept("a", (source,), expected, compute)
        except ValueError:
            found = None
        assert found == expected
