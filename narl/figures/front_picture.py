"""The Pareto front as a picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narl.core.printable import printable
from narl.core.records import TrialRecord
from narl.figures.canvas import new_figure, take_literally, write_png
from narl.figures.front_view import DELTA_LABEL, FrontView, axis_label, below, front_view
from narl.figures.palette import RIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def front_png(
    records: Sequence[TrialRecord],
    objectives: Sequence[str],
    title: str,
    path: Path | str,
    *,
    worthless: bool = False,
    x: str | None = None,
) -> None:
    """Draw two panels, 2,000 pixels wide: Δ against the first two costs, GFLOPs and memory unless the objectives say else.

    Args:
        worthless, x: see `narl.figures.front_view.front_view`.
    """
    view = front_view(records, objectives, worthless, x)
    costs = view.costs[:2]
    figure = new_figure(12.5, 5.8)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, cost in zip(panels, costs, strict=True):
        _draw_panel(axes, view, cost)
    panels[0].set_ylabel(DELTA_LABEL, fontsize=12)
    figure.suptitle(title + "\n" * len(view.caption), fontsize=15)
    figure.text(0.5, 0.94, "\n".join(view.caption), ha="center", va="top", fontsize=11, color="#444444")
    handles, labels = panels[0].get_legend_handles_labels()
    legend: dict[str, Any] = {}
    for label, handle in zip(labels, handles, strict=True):
        legend.setdefault(label, handle)  # hollow only where all of a series are
    columns = math.ceil(len(legend) / math.ceil(len(legend) / 6)) if legend else 1
    figure.legend(legend.values(), legend, loc="outside lower center", ncols=columns, fontsize=11, frameon=False)
    # The labels' places depend on the layout, which settles here, once.
    take_literally(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, cost in zip(panels, costs, strict=True):
        _label_front(axes, view, cost)
    write_png(figure, path)


def _draw_panel(axes: Axes, view: FrontView, cost: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_axisbelow(True)
    axes.grid(True, color="#E6E6E6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11)
    axes.set_xlabel(axis_label(cost), fontsize=12)
    if view.is_wide(cost):
        low, high = view.ends(cost)
        axes.set_xscale("log")
        # Under a decade and a half the powers of ten alone are too few ticks; over three, more would collide.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if view.limit is not None:
        axes.axhline(view.limit, color="#777777", linestyle="--", linewidth=1.2, label="limit: 100 − label floor")
    if view.nothing is not None:
        axes.axhline(view.nothing, color="#777777", linestyle=":", linewidth=1.2, label="send nothing")
    line = view.step_line(cost)
    if line:
        axes.plot(
            *zip(*line, strict=True), drawstyle="steps-post", color=RIM, linewidth=1.4, label="best Δ within a cost"
        )
    for series, hollow, group in view.groups():
        colour, (marker, _) = view.styles[series]
        for on_front in (False, True):
            some = [r for r in group if (r.trial_id in view.front_ids) == on_front]
            axes.scatter(
                [r.measured.value(cost) for r in some],
                [r.measured.delta for r in some],
                s=70 if on_front else 40,
                marker=marker,
                facecolors="none" if hollow else colour,
                alpha=1.0 if on_front else 0.45,
                edgecolors=RIM if on_front else colour if hollow else "white",
                linewidths=1.3 if on_front else 1.0 if hollow else 0.4,
                zorder=4 if on_front else 3,
                label=series if on_front else None,
            )
    axes.margins(x=0.08, y=0.1)
    low, high = axes.get_ylim()
    bars = [r for r in view.front if below(r) > 0]
    axes.errorbar(
        [r.measured.value(cost) for r in bars],
        [r.measured.delta for r in bars],
        [[below(r) for r in bars], [0.0] * len(bars)],
        fmt="none",
        ecolor="#8A8A8A",
        elinewidth=3,
        capsize=4,
        zorder=1.5,
        label="down to certified Δ" if bars else None,
    )
    axes.set_ylim(low, high)  # where nothing is certified a bar would squeeze the points


def _label_front(axes: Axes, view: FrontView, cost: str) -> None:
    """Write "arch/split" beside its best trial on the front, where it hides neither a point nor another label.

    A place that lines cross is taken only if there is no better one; a label without any place is left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    pixel = axes.figure.dpi / 72
    points = [axes.transData.transform((r.measured.value(cost), r.measured.delta)) for r in view.complete]
    taken = [Bbox.from_bounds(x - 4 * pixel, y - 4 * pixel, 8 * pixel, 8 * pixel) for x, y in points]
    corners = [axes.transData.transform(corner) for corner in view.step_line(cost)]
    lines = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        lines += [Bbox([[x0, y0 - pixel], [x1, y0 + pixel]]), Bbox([[x1 - pixel, y0], [x1 + pixel, y1]])]
    if view.limit is not None:
        y = axes.transData.transform((1, view.limit))[1]
        lines.append(Bbox([[inside.x0, y - pixel], [inside.x1, y + pixel]]))

    best: dict[str, TrialRecord] = {}
    for record in sorted(view.front, key=lambda r: -r.measured.delta):
        best.setdefault(record.config.client, record)
    for name, record in best.items():
        point = (record.measured.value(cost), record.measured.delta)
        text = axes.annotate(
            printable(f"{record.bound_sign('delta')} {name}".strip()), point, xytext=(0, 0), textcoords="offset points"
        )
        text.set(
            fontsize=9.5,
            color="#222222",
            zorder=5,
            parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
        for obstacles, (offset, ha, va) in [(o, place) for o in (taken + lines, taken) for place in _PLACES]:
            text.set(position=offset, ha=ha, va=va)
            box = text.get_window_extent(renderer)
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if fits and not any(box.overlaps(other) for other in obstacles):
                taken.append(box)
                break
        else:
            text.remove()


# Offsets in points and the corner of the text they lead to, nearest first.
_PLACES = tuple(
    ((dx * d, dy * d), {-1: "right", 0: "center", 1: "left"}[dx], {-1: "top", 0: "center", 1: "bottom"}[dy])
    for d in (6, 11, 17)
    for dx, dy in ((-1, 1), (0, 1), (1, -1), (1, 0), (1, 1), (0, -1), (-1, 0), (-1, -1))
)
