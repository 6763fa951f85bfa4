"""The Pareto front to be pointed at: a point is a trial. Plotly takes tags in every text, so names are escaped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from narl.core.records import TrialRecord
from narl.figures.front_view import DELTA_LABEL, FrontView, axis_label, below, named
from narl.figures.page.fragment import log_axis, shown
from narl.figures.palette import RIM

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def front_figure(view: FrontView) -> Figure:
    """Draw Δ against the first cost, a point per finished trial; a menu has the others.

    Colour and shape tell the client, size the memory.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            mode="lines",
            name="best Δ within a cost",
            line={"shape": "hv", "color": RIM, "width": 1.5},
            hoverinfo="skip",
        )
    )
    if bars := _bars(view):
        figure.add_trace(
            go.Scatter(
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
    for trace, (x, y) in zip(figure.data, _places(view, view.costs[0]), strict=True):
        trace.update(x=x, y=y)
    return figure.update_layout(
        # Of the points: where nothing is certified a bar would squeeze them.
        yaxis={"title": {"text": DELTA_LABEL}, "range": view.delta_range},
        xaxis={"rangemode": "tozero", **_axis(view, view.costs[0])},
        legend={"itemsizing": "constant"},
        updatemenus=[_menu(view)] if view.complete else [],
    )


def _bars(view: FrontView) -> list[TrialRecord]:
    return [record for record in view.front if below(record) > 0]


def _places(view: FrontView, cost: str) -> Iterator[tuple[list[float], list[float]]]:
    """Yield where the line lies over that cost, the bars, and each series, in the order of the traces."""
    line = view.step_line(cost)
    yield [x for x, _ in line], [y for _, y in line]
    for trials in (_bars(view), *(group for _, _, group in view.groups())):
        if trials:
            yield [r.measured.value(cost) for r in trials], [r.measured.delta for r in trials]


def _axis(view: FrontView, cost: str) -> dict[str, Any]:
    scale = log_axis() if view.is_wide(cost) else {"type": "linear"}
    return {"title": {"text": axis_label(cost)}, "tickmode": "array" if view.is_wide(cost) else "auto", **scale}


def _menu(view: FrontView) -> dict[str, Any]:
    """What Δ may be drawn against, to choose from."""
    buttons = []
    for cost in view.costs:
        xs, ys = map(list, zip(*_places(view, cost), strict=True))
        args = [{"x": xs, "y": ys}, {"xaxis": {"rangemode": "tozero", "autorange": True, **_axis(view, cost)}}]
        buttons.append({"label": axis_label(cost), "method": "update", "args": args})
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "showactive": True}


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
            f"{m.cost.client_gflops:.4g} GFLOPs, {m.cost.client_memory_mib:.4g} MiB"
            + ("" if m.cost.client_latency_ms is None else f", {m.cost.client_latency_ms:.4g} ms"),
            f"uplink {m.cost.uplink_kib:.4g} KiB, peak activations {m.cost.peak_activation_mib:.4g} MiB",
        )
    )
