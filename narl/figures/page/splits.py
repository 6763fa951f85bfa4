"""Δ by split point, as the paper's Figure 4: a line of the best for each network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from narl.figures.front_view import DELTA_LABEL, FrontView
from narl.figures.page.fragment import shown
from narl.figures.page.front import hover

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CAPTION = (
    "As the paper's Figure 4: every finished trial, and a line of the best Δ at each split point of a network. The "
    "larger it is, the more runs on the device."
)


def splits_figure(view: FrontView) -> Figure:
    """Draw Δ over the split point, of clients that have one."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for series, (colour, (_, symbol)) in view.styles.items():
        trials = [r for r in view.complete if view.series(r) == series and r.config.split]
        if not trials:
            continue
        best: dict[int, float] = {}
        for record in trials:
            best[record.config.split] = max(record.measured.delta, best.get(record.config.split, -100.0))
        splits = sorted(best)
        name = {"name": shown(series), "legendgroup": series}
        figure.add_trace(
            go.Scatter(
                x=[r.config.split for r in trials],
                y=[r.measured.delta for r in trials],
                customdata=[r.trial_id for r in trials],
                text=[hover(r, r.trial_id in view.front_ids) for r in trials],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 7, "opacity": 0.4},
                hovertemplate="%{text}<extra></extra>",
                showlegend=False,
                **name,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=splits,
                y=[best[split] for split in splits],
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"symbol": symbol, "size": 9},
                hoverinfo="skip",
                **name,
            )
        )
    return figure.update_layout(
        xaxis={"title": {"text": "split point"}, "tickformat": "d", "nticks": 10},
        yaxis={"title": {"text": DELTA_LABEL}, "range": view.delta_range},
    )
