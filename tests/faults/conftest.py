"""What every kind of fault is judged by, and the table of all of them at the end of the run."""

from __future__ import annotations

import dataclasses

import pytest
from bookkeeping import FaultRow

NUMBERS = [field.name for field in dataclasses.fields(FaultRow)][1:]
ROWS = pytest.StashKey[list[FaultRow]]()


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.fixture
def report(request):
    """A function that adds a row to the table."""
    return request.config.stash[ROWS].append


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    write = terminalreporter.write_line
    write("")
    write("| fault | times | trials finished | lost | twice | seconds |")
    write("|---|---|---|---|---|---|")
    for r in [*rows, FaultRow("all", *(sum(getattr(r, f) for r in rows) for f in NUMBERS))]:
        write(f"| {r.kind} | {r.faults} | {r.trials} | {r.lost} | {r.twice} | {r.seconds:.0f} |")
