"""A small plot of a search's front on a terminal: Δ over what a client pays, about a dozen lines.

The step line is the best Δ within a cost, a mark is a trial on the front, a dot any other.
"""

from __future__ import annotations

import math
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from narl.figures.front_view import DELTA_LABEL, FrontView, axis_label

NARROWEST, WIDEST, ROWS = 60, 100, 11
HEIGHT = ROWS + 4  # at most; with its head, the axis, its numbers and its name
_GUTTER = 7  # columns before the plot: "   70 ┤"
# Line across and up, its corners, front, other trial, axes with and without a tick, their corner.
_DRAWN, _ASCII = "─│┘┌●·┤│┬─└", "-|++*.+|+-+"


def front_plot(console: Console, view: FrontView) -> Text | None:
    """Draw Δ over the first cost, as wide as the terminal up to `WIDEST`.

    Returns:
        None on no terminal, on one of fewer than `NARROWEST` columns, and of no trial.
    """
    if not console.is_terminal or console.width < NARROWEST or not view.complete:
        return None
    across, up, turn_up, turn, front, dot, y_tick, y_axis, x_tick, x_axis, origin = _characters(console.encoding)
    cost = view.costs[0]
    columns = min(console.width, WIDEST) - _GUTTER - 1
    is_log, (low, high) = view.is_wide(cost), view.ends(cost)
    deltas = [record.measured.delta for record in view.complete]
    y_ticks = _round_numbers(min(deltas), max(deltas), 4)
    rows = (ROWS - 1) // (len(y_ticks) - 1) * (len(y_ticks) - 1) + 1  # as many between one tick and the next

    def column(x: float) -> int:
        if is_log:
            share = (math.log(x) - math.log(low)) / (math.log(high) - math.log(low))
        else:
            share = x / high if high > 0 else 0.0
        return round(share * (columns - 1))

    def row(y: float) -> int:
        return round((y_ticks[-1] - y) / (y_ticks[-1] - y_ticks[0]) * (rows - 1))

    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for (x, y), (next_x, next_y) in pairwise((column(x), row(y)) for x, y in view.step_line(cost)):
        cells |= {(y, c): (across, "") for c in range(x, next_x + 1)}
        if next_y < y:
            cells |= {(r, next_x): (up, "") for r in range(next_y, y)}
            cells |= {(y, next_x): (turn_up, ""), (next_y, next_x): (turn, "")}
    for record in sorted(view.complete, key=lambda record: record.trial_id in view.front_ids):
        mark = (front, "bold green") if record.trial_id in view.front_ids else (dot, "dim")
        cells[row(record.measured.delta), column(record.measured.value(cost))] = mark

    plot = Text(f"{DELTA_LABEL};  {front} on the front  {dot} other trials\n")
    labels = {row(tick): f"{tick:{_GUTTER - 2}g} {y_tick}" for tick in y_ticks}
    for r in range(rows):
        plot.append(labels.get(r, " " * (_GUTTER - 1) + y_axis))
        for c in range(columns):
            plot.append(*cells.get((r, c), (" ", "")))
        plot.append("\n")
    axis, numbers = [x_axis] * columns, ""
    x_ticks = [tick for tick in _decades(low, high) if tick >= low] if is_log else _round_numbers(0, high, 5)
    for tick in (tick for tick in x_ticks if tick <= high):
        at = column(tick) + _GUTTER - len(f"{tick:g}") // 2
        if at > len(numbers) + bool(numbers) and at + len(f"{tick:g}") <= _GUTTER + columns + 1:
            axis[column(tick)] = x_tick
            numbers = f"{numbers:{at}}{tick:g}"
    plot.append(f"{' ' * (_GUTTER - 1)}{origin}{''.join(axis)}\n{numbers}\n{' ' * _GUTTER}{axis_label(cost)}")
    return plot


def _characters(encoding: str) -> tuple[str, ...]:
    return tuple(_DRAWN if _DRAWN.encode(encoding, "ignore").decode(encoding) == _DRAWN else _ASCII)


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """List multiples of 1, 2 or 5 times a power of ten from below `low` to above `high`, in about `most` steps."""
    least = (high - low) / most or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least)
    first = math.floor(low / step)
    return [step * i for i in range(first, max(math.ceil(high / step), first + 1) + 1)]


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
