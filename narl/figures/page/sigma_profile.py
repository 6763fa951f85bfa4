"""How one trained client would do with other noise: what is read over σ, and Δ below it; to be pointed at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from narl.core.records import SigmaLevel
from narl.figures.page.fragment import log_axis
from narl.figures.palette import PALETTE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEIGHT_OF_TWO = 600  # pixels, of both panels
_GREY = "#777777"  # is seen on light and dark


def profile_figure(
    profile: Sequence[SigmaLevel], *, trained: float, used: float, label_floor: float, nothing: float | None
) -> Figure:
    """Draw what `narl.figures.sigma_profile.sigma_profile_png` draws, of the same arguments."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    sigmas = [level.sigma for level in profile]
    blue, orange, green = PALETTE[:3]

    def curve(row: int, name: str, values: Sequence[float], colour: str, **options: Any) -> None:
        line = {"color": colour, "width": options.pop("width", 2), "dash": options.pop("dash", "solid")}
        trace = go.Scatter(x=sigmas, y=values, name=name, line=line, hovertemplate="σ %{x:.3g}: %{y:.1f}", **options)
        figure.add_trace(trace, row=row, col=1)

    dots = {"mode": "lines+markers", "marker": {"size": 5}}
    most = {"mode": "lines", "dash": "dot", "width": 1.5, "fill": "tonexty"}
    curve(1, "useful", [level.utility for level in profile], blue, **dots)
    curve(1, "attacker reads", [level.leakage for level in profile], orange, **dots)
    curve(1, "nobody above", [level.bound for level in profile], orange, fillcolor="rgba(213, 94, 0, 0.2)", **most)
    curve(2, "Δ", [level.delta for level in profile], green, **dots)
    certified = [level.delta_certified for level in profile]
    curve(2, "Δ certain", certified, green, fillcolor="rgba(0, 158, 115, 0.2)", **most)
    levels = ((1, label_floor, "dash", "label floor"), (2, nothing, "dot", "send nothing"))
    for row, value, dash, words in levels:
        if value is not None:
            line = {"dash": dash, "color": _GREY, "width": 1}
            place = {"annotation_text": f"{words} {value:.1f}", "annotation_position": "bottom left"}
            figure.add_hline(y=value, line=line, row=row, col=1, **place)
    marks = {used: f"in use: σ {used:.3g}", trained: f"in training: σ {trained:.3g}"}
    if used == trained:
        marks = {used: f"in training and use: σ {used:.3g}"}
    for sigma, words in marks.items():
        line = {"dash": "solid" if sigma == used else "dot", "color": _GREY, "width": 1.5}
        for row in (1, 2):
            figure.add_vline(x=sigma, line=line, row=row, col=1)
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", line=line, name=words), row=1, col=1)
    figure.update_xaxes(**log_axis())
    figure.update_xaxes(title={"text": "σ at inference, units of z"}, row=2)
    figure.update_yaxes(title={"text": "read, %"}, range=[0, 103], row=1)
    figure.update_yaxes(title={"text": "Δ, points"}, row=2)
    return figure.update_layout(legend={"traceorder": "normal"})
