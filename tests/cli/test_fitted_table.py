from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from narl.cli.fitted_table import fitted, print_fitted

COLUMNS = ("name", "first", "second", "third")


def build(columns) -> Table:
    table = Table(box=None)
    for column in columns:
        table.add_column(column, no_wrap=True)
    table.add_row(*("0123456789" for _ in columns))
    return table


def printed(width: int, terminal: bool) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    print_fitted(console, fitted(console, build, COLUMNS, spare=("third", "first")))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("width", "shown"), [(80, COLUMNS), (40, ("name", "first", "second")), (30, ("name", "second"))]
)
def test_a_narrow_terminal_has_fewer_columns_and_no_number_cut_short(width, shown):
    head, row = printed(width, terminal=True)
    assert tuple(head.split()) == shown
    assert row.split() == ["0123456789"] * len(shown)


def test_without_a_terminal_everything_is_there():
    head, row = printed(10, terminal=False)
    assert tuple(head.split()) == COLUMNS and row.split() == ["0123456789"] * 4
