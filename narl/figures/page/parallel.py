"""Every finished trial as a line through its settings, its costs and its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from narl.figures.front_view import FrontView
from narl.figures.page.fragment import shown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CAPTION = (
    "Every finished trial is a line, those on the front are orange. Drag along an axis to keep the trials that pass "
    "there; drag a name to move its axis."
)
MARGIN = {"t": 50, "r": 40, "b": 20, "l": 150}  # names of clients stand before the first axis
# Blue and orange are told apart by every reader, and on light and dark.
_REST, _FRONT = "#6C8EAD", "#D55E00"


def parallel_figure(view: FrontView) -> Figure:
    """Draw parallel coordinates; at least one trial must have finished. Axes on which all are equal are left out."""
    import plotly.graph_objects as go

    records = [*(r for r in view.complete if r.trial_id not in view.front_ids), *view.front]  # the front on top
    clients = sorted({view.series(r) for r in records})
    dimensions = [_categories("client", [clients.index(view.series(r)) for r in records], clients)]
    axes: dict[str, list[float]] = {
        "split": [r.config.split for r in records],
        "σ": [r.measured.sigma_inference or r.config.sigma for r in records],
        "λ": [r.config.lambda_ for r in records],
        "GFLOPs": [r.measured.cost.client_gflops for r in records],
        "MiB": [r.measured.cost.client_memory_mib for r in records],
        **(
            {"ms": [r.measured.value("client_latency_ms") for r in records]}
            if "client_latency_ms" in view.costs
            else {}
        ),
        "utility, %": [r.measured.utility for r in records],
        "leakage, %": [r.measured.leakage for r in records],
        "Δ": [r.measured.delta for r in records],
    }
    dimensions += [_numbers(name, values) for name, values in axes.items() if len(set(values)) > 1]
    on_front = [int(r.trial_id in view.front_ids) for r in records]
    line = {"color": on_front, "colorscale": [[0, _REST], [1, _FRONT]], "cmin": 0, "cmax": 1}
    return go.Figure(go.Parcoords(dimensions=dimensions, line=line, labelside="top"))


def _categories(name: str, places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    return {"label": name, "values": places, "tickvals": list(range(len(names))), "ticktext": list(map(shown, names))}


def _numbers(name: str, values: Sequence[float]) -> dict[str, Any]:
    """Make an axis, by decades where values span more than one."""
    low, high = min(values), max(values)
    if low <= 0 or high / low < 10:
        return {"label": name, "values": list(values)}
    ticks = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    ticks = ticks[:: 1 + len(ticks) // 8]
    return {
        "label": name,
        "values": np.log10(values).tolist(),
        "tickvals": np.log10(ticks).tolist(),
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
