"""What the front's trained clients would give with other noise: Δ over σ, as read and against every reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from narl.core.sigma_choice import trained_and_used
from narl.figures.front_view import DELTA_LABEL, FrontView
from narl.figures.page.fragment import log_axis
from narl.figures.page.members import lines, members

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CAPTION = (
    "In closed form on validation images. Solid: Δ as the Bayes attacker reads; dotted: what is left of it whoever "
    "reads; the circle is the σ that the trial was measured with."
)


def has_profiles(view: FrontView) -> bool:
    return any(record.measured.sigma_profile for record in members(view))


def sigma_figure(view: FrontView) -> Figure:
    """Draw the profiles of the front's trials; one must have one."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for record, style in lines(view):
        if not (profile := record.measured.sigma_profile):
            continue
        sigmas = [level.sigma for level in profile]
        dotted = {**style, "line": {**style["line"], "width": 1.5, "dash": "dot"}, "showlegend": False}
        figure.add_trace(go.Scatter(x=sigmas, y=[level.delta for level in profile], mode="lines", **style))
        figure.add_trace(
            go.Scatter(
                x=sigmas, y=[level.delta_certified for level in profile], mode="lines", hoverinfo="skip", **dotted
            )
        )
        _, used = trained_and_used(record)
        at = min(profile, key=lambda level: abs(level.sigma - used))
        mark = {"size": 10, "color": style["line"]["color"]}
        only = {"mode": "markers", "marker": mark, "showlegend": False, "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(x=[at.sigma], y=[at.delta], legendgroup=style["legendgroup"], **only))
    return figure.update_layout(
        xaxis={"title": {"text": "σ at inference, units of z"}, **log_axis()}, yaxis={"title": {"text": DELTA_LABEL}}
    )
