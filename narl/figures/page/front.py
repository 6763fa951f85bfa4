"""The Pareto front to be pointed at: a point is a trial. Plotly takes tags in every text, so names are escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from narl.core.records import TrialRecord
from narl.figures.front_view import DELTA_LABEL, FrontView, axis_label, below, named
from narl.figures.page.fragment import log_axis, shown
from narl.figures.palette import RIM

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def front_figure(view: FrontView) -> Figure:
    """Draw Δ against client GFLOPs, a point per finished trial; colour and shape tell the client, size the memory."""
    import plotly.graph_objects as go

    figure = go.Figure()
    line = view.step_line("client_gflops")
    figure.add_trace(
        go.Scatter(
            x=[x for x, _ in line],
            y=[y for _, y in line],
            mode="lines",
            name="best Δ within a cost",
            line={"shape": "hv", "color": RIM, "width": 1.5},
            hoverinfo="skip",
        )
    )
    if bars := [record for record in view.front if below(record) > 0]:
        figure.add_trace(
            go.Scatter(
                x=[r.measured.cost.client_gflops for r in bars],
                y=[r.measured.delta for r in bars],
                mode="markers",
                marker={"symbol": "line-ns", "size": 10, "line": {"color": "#8A8A8A", "width": 1.5}},
                name="down to certified Δ",
                error_y={
                    "symmetric": False,
                    "array": [0.0] * len(bars),
                    "arrayminus": [below(r) for r in bars],
                    "color": "#8A8A8A",
                    "thickness": 1.5,
                    "width": 3,
                },
                hoverinfo="skip",
            )
        )
    for series, hollow, group in view.groups():
        colour, (_, symbol) = view.styles[series]
        on_front = [r.trial_id in view.front_ids for r in group]
        plain_rim = colour if hollow else "white"
        figure.add_trace(
            go.Scatter(
                x=[r.measured.cost.client_gflops for r in group],
                y=[r.measured.delta for r in group],
                mode="markers",
                name=shown(named(series, hollow)),
                text=[hover(r, front) for r, front in zip(group, on_front, strict=True)],
                customdata=[r.trial_id for r in group],
                hovertemplate="%{text}<extra></extra>",
                marker={
                    "color": colour,
                    "symbol": f"{symbol}-open" if hollow else symbol,
                    "size": [view.marker_size(r) for r in group],
                    "opacity": [1.0 if front else 0.7 if hollow else 0.45 for front in on_front],
                    "line": {
                        "color": [RIM if front else plain_rim for front in on_front],
                        "width": [2 if front else 1.5 if hollow else 0.5 for front in on_front],
                    },
                },
            )
        )
    for delta, dash, words, place in (
        (view.limit, "dash", "limit: 100 − label floor =", "top left"),
        (view.nothing, "dot", "send nothing:", "top right"),
    ):
        if delta is not None:
            figure.add_hline(
                y=delta,
                line={"dash": dash, "color": "#777777", "width": 1},
                annotation={"text": f"{words} {delta:.1f}", "font": {"color": "#555555"}},
                annotation_position=place,
            )
    figure.update_layout(
        # Of the points: where nothing is certified a bar would squeeze them.
        yaxis={"title": {"text": DELTA_LABEL}, "range": view.delta_range},
        xaxis={"title": {"text": axis_label("client_gflops")}, "rangemode": "tozero"},
        legend={"itemsizing": "constant"},
    )
    if view.is_wide("client_gflops"):
        figure.update_xaxes(**log_axis())
    return figure


def hover(record: TrialRecord, on_front: bool) -> str:
    """Write the numbers of a finished trial, as HTML."""
    config, m = record.config, record.measured
    client = f"{config.arch} split {config.split}" if config.split else config.arch
    if config.method != "narl":
        client = f"{config.method}, {client}"
    numbers = {"σ": config.sigma, "λ": config.lambda_, **config.settings, "seed": config.seed}
    if record.sigma_at_inference is not None:
        numbers["σ at inference"] = record.sigma_at_inference
    return "<br>".join(
        (
            f"<b>trial {record.trial_id}: {shown(client)}</b>{' (front)' if on_front else ''}",
            shown(", ".join(f"{name} {value:.4g}" for name, value in numbers.items())),
            f"Δ {record.bound_sign('delta')}{m.delta:.2f} pp = utility {record.shown_utility} % − leakage "
            f"{record.leakage_bracket} %",
            f"label floor {m.label_floor:.2f} %",
            *((f"does not count: {record.why_not_counted}",) if record.why_not_counted else ()),
            f"{m.cost.client_gflops:.4g} GFLOPs, {m.cost.client_memory_mib:.4g} MiB",
            f"uplink {m.cost.uplink_kib:.4g} KiB, peak activations {m.cost.peak_activation_mib:.4g} MiB",
        )
    )
