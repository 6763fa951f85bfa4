"""How far the front had come after how much work: the hypervolume over the time of all trials together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from narl.core.objectives import COST_NAMES, objective, to_minimise
from narl.core.pareto import Front, candidates, hypervolume
from narl.core.records import TrialRecord
from narl.figures.palette import PALETTE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CAPTION = (
    "The share of what could be reached that the front dominates: of the box from the best to the worst of each "
    "objective among the finished trials, a tenth wider, costs by their logarithm."
)
# Slicing the box takes long for many members in many dimensions; between these moments the curve is a step.
MOMENTS = 60
REFERENCE = 1.1  # where 0 is the best and 1 the worst of all trials


def hypervolume_curve(
    records: Sequence[TrialRecord], objectives: Sequence[str], *, worthless: bool = False
) -> tuple[list[float], list[float]]:
    """Compute seconds of all trials together, failed and stopped ones included, and the share dominated after them.

    Returns:
        seconds, shares: [M] each, at most `MOMENTS` of those at which a trial ended; shares in [0, 1], rising.
    """
    counted = candidates(records, worthless=worthless)
    rows = dict(zip((r.trial_id for r in counted), _scaled(counted, objectives), strict=True))
    ended = sorted(records, key=lambda r: (r.finished_at, r.trial_id))
    moments = set(np.linspace(len(ended) - 1, 0, min(MOMENTS, len(ended))).astype(int).tolist())
    front: Front[int] = Front()
    spent, seconds, shares = 0.0, [], []
    for number, record in enumerate(ended):
        spent += record.seconds
        if record.trial_id in rows:
            front.add(rows[record.trial_id], record.trial_id)
        if number in moments:
            seconds.append(spent)
            shares.append(hypervolume(front.rows, [REFERENCE] * len(objectives)) / REFERENCE ** len(objectives))
    return seconds, shares


def hypervolume_figure(records: Sequence[TrialRecord], objectives: Sequence[str], *, worthless: bool = False) -> Figure:
    """Draw `hypervolume_curve`; at least one trial must have ended."""
    import plotly.graph_objects as go

    seconds, shares = hypervolume_curve(records, objectives, worthless=worthless)
    unit, length = ("hours", 3600) if seconds[-1] >= 7200 else ("minutes", 60)
    figure = go.Figure(
        go.Scatter(
            x=[each / length for each in seconds],
            y=[100 * share for share in shares],
            mode="lines",
            line={"shape": "hv", "color": PALETTE[0], "width": 2},
            hovertemplate=f"%{{y:.1f}} % after %{{x:.1f}} {unit}<extra></extra>",
        )
    )
    return figure.update_layout(
        xaxis={"title": {"text": f"{unit} of all trials together"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "hypervolume, %"}, "rangemode": "tozero"},
    )


def _scaled(records: Sequence[TrialRecord], objectives: Sequence[str]) -> list[tuple[float, ...]]:
    """Scale each objective to 0 at the best and 1 at the worst of the records, smaller is better."""
    columns = []
    for name in objectives:
        values = [to_minimise(record.measured, (name,))[0] for record in records]
        if objective(name).name in COST_NAMES and all(value > 0 for value in values):
            values = [math.log(value) for value in values]
        low, high = (min(values), max(values)) if values else (0.0, 0.0)
        columns.append([(value - low) / (high - low) if high > low else 0.0 for value in values])
    return list(zip(*columns, strict=True))
