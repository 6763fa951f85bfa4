from __future__ import annotations

import pytest

from narl.core.steps import drained, mapped


def work(count, result, closed=None):
    try:
        yield from range(count)
    finally:
        if closed is not None:
            closed.append(True)
    return result


@pytest.mark.parametrize("count", [0, 1, 3])
def test_drained_hears_every_step_and_gives_the_result(count):
    heard = []
    assert drained(work(count, "result"), heard.append) == "result"
    assert heard == list(range(count))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_mapped_changes_every_step_and_keeps_the_result(count):
    heard = []
    assert drained(mapped(work(count, "result"), lambda number: number * 10), heard.append) == "result"
    assert heard == [10 * number for number in range(count)]


def test_nothing_runs_ahead_of_who_asks():
    changed = []
    steps = mapped(work(3, None), changed.append)
    assert changed == []
    next(steps)
    assert changed == [0]


def test_closing_closes_what_is_mapped():
    closed = []
    steps = mapped(work(3, None, closed), str)
    next(steps)
    steps.close()
    assert closed == [True]


def test_an_error_of_either_side_comes_through():
    def broken():
        yield 0
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        drained(mapped(broken(), str), lambda step: None)
    with pytest.raises(ZeroDivisionError):
        drained(work(1, None), lambda step: 1 / step)
