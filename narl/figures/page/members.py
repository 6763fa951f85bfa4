"""The trials of a front that a figure with a line for each can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from narl.core.records import TrialRecord
from narl.figures.front_view import FrontView
from narl.figures.page.fragment import shown
from narl.figures.palette import PALETTE

# More lines than colours would be a guess.
MOST_LINES = len(PALETTE)


def members(view: FrontView) -> list[TrialRecord]:
    """List the front's trials of highest Δ, that one first."""
    return sorted(view.front, key=lambda record: -record.measured.delta)[:MOST_LINES]


def lines(view: FrontView) -> Iterator[tuple[TrialRecord, dict[str, Any]]]:
    """Yield each with what a trace of it has in every figure."""
    for record, colour in zip(members(view), PALETTE, strict=False):
        name = shown(f"{record.config.client} ({record.trial_id})")
        yield record, {"name": name, "legendgroup": name, "line": {"color": colour, "width": 2}}


def which(view: FrontView) -> str:
    """Say in a caption which trials are drawn."""
    if len(view.front) <= MOST_LINES:
        return "A line for each trial on the front."
    return f"The {MOST_LINES} trials of highest Δ of the {len(view.front)} on the front."
