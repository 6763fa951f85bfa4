"""A figure as a part of a page, as wide as the page leaves it, and what figures of a page have in common."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from narl.core.printable import printable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEIGHT = 460  # pixels


def fragment(
    figure: Figure, name: str, *, with_plotly: bool = False, height: int = HEIGHT, margin: dict[str, int] | None = None
) -> str:
    """Write the figure as a `div` of that id.

    Args:
        with_plotly: put plotly.js before it (4.5 MB), which the first figure of a page needs.
        height: pixels.
        margin: pixels, where names need more room than the axes make for them.
    """
    figure.update_layout(
        template="plotly_white",
        font={"size": 13},
        hoverlabel={"align": "left"},
        margin={"t": 10, "r": 10, "b": 10, "l": 10} | (margin or {}),
        legend={"title": {"text": ""}, "orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure.to_html(
        full_html=False,
        include_plotlyjs=with_plotly,
        default_height=f"{height}px",
        config={"displaylogo": False, "displayModeBar": False, "responsive": True},
        div_id=name,
    )


def log_axis() -> dict[str, Any]:
    """Options of an axis for a quantity over decades, its ticks written out: plotly writes bare digits between them."""
    ticks = [float(f"{digit}e{power}") for power in range(-9, 10) for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def shown(text: str) -> str:
    """Let plotly and HTML show a name as it is."""
    return escape(printable(text), quote=False)
