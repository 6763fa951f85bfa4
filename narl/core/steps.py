"""Long work as a generator that yields after every step and returns its result: map its steps or run it to its end."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Generator as Steps
from typing import TypeVar, cast

Step = TypeVar("Step")
Changed = TypeVar("Changed")
Result = TypeVar("Result")


def mapped(steps: Steps[Step, None, Result], change: Callable[[Step], Changed]) -> Steps[Changed, None, Result]:
    """Apply `change` to each of `steps`; the result is the same."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return cast(Result, stop.value)
        yield change(step)


def drained(steps: Steps[Step, None, Result], on_step: Callable[[Step], object]) -> Result:
    """Run `steps` to the end, calling `on_step` after each; returns the result."""
    changes = mapped(steps, on_step)
    while True:
        try:
            next(changes)
        except StopIteration as stop:
            return cast(Result, stop.value)
