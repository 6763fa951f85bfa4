"""The Pareto front as an interactive page. Plotly takes tags in every text, so names are escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from narl.core.files import whole_file
from narl.core.printable import printable
from narl.core.records import TrialRecord
from narl.figures.front_view import DELTA_LABEL, axis_label, below, front_view, named
from narl.figures.palette import RIM

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def front_figure(
    records: Sequence[TrialRecord], objectives: Sequence[str], title: str, *, worthless: bool = False
) -> Figure:
    """Draw Δ against client GFLOPs, a point per finished trial; colour and shape tell the client, size the memory.

    Args:
        worthless: see `narl.core.pareto.front_of`.
    """
    import plotly.graph_objects as go

    view = front_view(records, objectives, worthless)
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
                name=_shown(named(series, hollow)),
                text=[_hover(r, front) for r, front in zip(group, on_front, strict=True)],
                hovertemplate="%{text}<extra></extra>",
                marker={
                    "color": colour,
                    "symbol": f"{symbol}-open" if hollow else symbol,
                    "size": [view.marker_size(r) for r in group],
                    "opacity": [1.0 if front else 0.45 for front in on_front],
                    "line": {
                        "color": [RIM if front else plain_rim for front in on_front],
                        "width": [2 if front else 1.5 if hollow else 0.5 for front in on_front],
                    },
                },
            )
        )
    for delta, dash, words in (
        (view.limit, "dash", "limit: 100 − label floor ="),
        (view.nothing, "dot", "send nothing:"),
    ):
        if delta is not None:
            figure.add_hline(
                y=delta,
                line={"dash": dash, "color": "#777777", "width": 1},
                annotation={"text": f"{words} {delta:.1f}", "font": {"color": "#555555"}},
                annotation_position="bottom right",
            )
    caption = "<br>".join(map(_shown, view.caption))
    figure.update_layout(
        title={"text": f"{_shown(title)}<br><sup>{caption}; marker size: client memory</sup>"},
        template="plotly_white",
        font={"size": 14},
        hoverlabel={"align": "left"},
        legend={"title": {"text": ""}, "itemsizing": "constant"},
        margin={"t": 75 + 20 * len(view.caption)},
        # Of the points: where nothing is certified a bar would squeeze them.
        yaxis={"title": {"text": DELTA_LABEL}, "range": view.delta_range},
        xaxis={"title": {"text": axis_label("client_gflops")}, "rangemode": "tozero"},
    )
    if view.is_wide("client_gflops"):
        # Spelled out, since plotly prints the ticks between powers of ten as bare digits.
        ticks = [float(f"{digit}e{power}") for power in range(-9, 10) for digit in (1, 2, 5)]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return figure


def write_html(figure: Figure, path: Path | str) -> None:
    """Write a page that needs nothing else: plotly.js is inside, for offline or sandboxed readers (4.5 MB)."""
    page = figure.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _hover(record: TrialRecord, on_front: bool) -> str:
    config, m = record.config, record.measured
    client = f"{config.arch} split {config.split}" if config.split else config.arch
    if config.method != "narl":
        client = f"{config.method}, {client}"
    numbers = {"σ": config.sigma, "λ": config.lambda_, **config.settings, "seed": config.seed}
    if record.sigma_at_inference is not None:
        numbers["σ at inference"] = record.sigma_at_inference
    return "<br>".join(
        (
            f"<b>trial {record.trial_id}: {_shown(client)}</b>{' (front)' if on_front else ''}",
            _shown(", ".join(f"{name} {value:.4g}" for name, value in numbers.items())),
            f"Δ {record.bound_sign('delta')}{m.delta:.2f} pp = utility {record.shown_utility} % − leakage "
            f"{record.leakage_bracket} %",
            f"label floor {m.label_floor:.2f} %",
            *((f"worthless: {m.why_worthless}",) if m.why_worthless else ()),
            f"{m.cost.client_gflops:.4g} GFLOPs, {m.cost.client_memory_mib:.4g} MiB",
            f"uplink {m.cost.uplink_kib:.4g} KiB, peak activations {m.cost.peak_activation_mib:.4g} MiB",
        )
    )


def _shown(text: str) -> str:
    return escape(printable(text), quote=False)
