"""How the trials of the front learned: a curve at a time, a line for each trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from narl.figures.front_view import FrontView
from narl.figures.page.fragment import shown
from narl.figures.page.members import lines, members

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CAPTION = "Choose the curve above the figure: losses of training, or the accuracy of each network that attacks."


def curve_names(view: FrontView) -> list[str]:
    """List the curves that any of the drawn trials has, what is read of Δ first."""
    names = dict.fromkeys(name for record in members(view) for name, curve in record.curves.items() if curve)
    return sorted(names, key=lambda name: not name.endswith("_in_training"))


def learning_figure(view: FrontView) -> Figure:
    """Draw the curves, of which one is shown at a time; there must be one."""
    import plotly.graph_objects as go

    names = curve_names(view)
    figure = go.Figure()
    of: list[str] = []
    for name in names:
        for record, style in lines(view):
            if curve := record.curves.get(name):
                figure.add_trace(_line(curve, style, visible=name == names[0]))
                of.append(name)
    buttons = [
        {
            "label": _words(name),
            "method": "update",
            "args": [{"visible": [each == name for each in of]}, {"yaxis.title.text": _words(name)}],
        }
        for name in names
    ]
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "showactive": True}
    return figure.update_layout(
        updatemenus=[{"buttons": buttons, **place}] if len(names) > 1 else [],
        xaxis={"title": {"text": "epoch"}},
        yaxis={"title": {"text": _words(names[0])}},
    )


def _line(curve: list[float], style: dict, *, visible: bool):
    import plotly.graph_objects as go

    return go.Scatter(
        x=list(range(1, len(curve) + 1)), y=curve, mode="lines+markers", marker={"size": 5}, visible=visible, **style
    )


def _words(name: str) -> str:
    return shown(name.replace("_", " "))
