"""Tables that never cut a number short: on a narrow terminal they have fewer columns instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from narl.cli.terminal import new_console


def fitted(console, build: Callable[[Sequence[str]], object], columns: Sequence[str], spare: Sequence[str]):
    """The table of as many `columns` as fit; where there is no terminal there is no width to fit.

    Args:
        console: rich's.
        build: names of columns -> rich's table of them.
        spare: which columns go, the first one first.
    """
    kept, table = list(columns), build(columns)
    for column in spare if console.is_terminal else ():
        if _own_width(console, table) <= console.width:
            break
        kept.remove(column)
        table = build(kept)
    return table


def print_fitted(console, table) -> None:
    """At its own width where there is no terminal."""
    if not console.is_terminal:
        console = new_console(file=console.file, width=max(console.width, _own_width(console, table)))
    console.print(table)


def _own_width(console, table) -> int:
    return console.measure(table, options=console.options.update(width=10_000)).maximum
