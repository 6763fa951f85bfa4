"""The Pareto front as a table, an interactive page and a picture.

Δ is drawn against what a client pays. A trial on the front of the search's objectives has a dark rim; the step line is
the highest Δ that any finished trial reaches at or below a cost, so a rim off the line is a trial that earns its place
by another objective. A bar leads from its Δ down to what holds against every reader.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narl.core.files import whole_file
from narl.core.objectives import OBJECTIVES
from narl.core.pareto import candidates, front_of
from narl.core.point import Point
from narl.core.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow that vanishes on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5D5D5D")
# Ten architectures outnumber the colours, so each has a shape too: (matplotlib, plotly).
SHAPES = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("p", "pentagon"),
    ("*", "star"),
)
RIM = "#1A1A1A"
DELTA_LABEL = f"{OBJECTIVES['delta'].label}, {OBJECTIVES['delta'].unit}"


def front_table(
    records: Sequence[TrialRecord], objectives: Sequence[str], *, guesses: bool = False
) -> list[dict[str, Any]]:
    """One flat row a trial on the front, cheapest first: accuracies in %, Δ in points, costs in the unit they name.

    Args:
        guesses: see `narl.core.pareto.front_of`.
    """
    rows = []
    for record in front_of(records, objectives, guesses=guesses):
        config, m = record.config, record.metrics
        rows.append(
            {
                "trial": record.trial_id,
                "method": config.method,
                "arch": config.arch,
                "split": config.split,
                "sigma": _significant(config.sigma),
                "sigma_inference": _significant(at_inference)
                if (at_inference := record.sigma_at_inference) is not None
                else None,
                "lambda": _significant(config.lambda_),
                "settings": " ".join(_settings(config)),
                "delta": round(m.delta, 2),
                "utility": round(m.utility, 2),
                "utility_is_a_guess": m.utility_is_a_guess,
                "leakage": round(m.leakage, 2),
                "leakage_bound": None if m.leakage_bound is None else round(m.leakage_bound, 2),
                "delta_is_upper_bound": record.leakage_is_lower_bound,
                "label_floor": round(m.label_floor, 2),
                **{f"delta_at_queries({n})": round(m.utility - value, 2) for n, value in m.leakage_at_queries.items()},
                "client_gflops": m.cost.client_gflops,
                "client_memory_mib": m.cost.client_memory_mib,
                "uplink_kib": m.cost.uplink_kib,
                "peak_activation_mib": m.cost.peak_activation_mib,
            }
        )
    for key in ("settings", "leakage_bound", "sigma_inference", "utility_is_a_guess"):
        if all(row[key] in ("", None, False) for row in rows):
            for row in rows:
                del row[key]
    return rows


def nothing_row(records: Sequence[TrialRecord]) -> dict[str, Any] | None:
    """What a client that sends nothing would have in `front_table`; None where that was not recorded."""
    m = next((r.metrics for r in records if r.metrics is not None and r.metrics.delta_of_nothing is not None), None)
    if m is None:
        return None
    utility, delta = m.utility_chance, m.delta_of_nothing
    return {"delta": round(delta, 2), "utility": round(utility, 2), "leakage": round(utility - delta, 2)}


def _settings(config: Point) -> Iterator[str]:
    """The method's own numbers, and what its features and noise have of their own."""
    yield from (f"{name}={value:.4g}" for name, value in config.settings.items())
    if config.bound != "none":
        yield f"bound={config.bound}"
    if config.noise != "fresh":
        yield f"noise={config.noise}"


def front_figure(
    records: Sequence[TrialRecord], objectives: Sequence[str], title: str, *, guesses: bool = False
) -> Figure:
    """Δ against client GFLOPs, one point a finished trial; colour and shape tell the client, size the memory.

    Args:
        guesses: see `narl.core.pareto.front_of`.
    """
    import plotly.graph_objects as go

    view = _view(records, objectives, guesses)
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
    for series, guess, group in view.groups():
        colour, (_, symbol) = view.styles[series]
        on_front = [r.trial_id in view.front_ids for r in group]
        plain_rim = colour if guess else "white"
        figure.add_trace(
            go.Scatter(
                x=[r.metrics.cost.client_gflops for r in group],
                y=[r.metrics.delta for r in group],
                mode="markers",
                name=_named(series, guess),
                text=[_hover(r, front) for r, front in zip(group, on_front, strict=True)],
                hovertemplate="%{text}<extra></extra>",
                error_y={
                    "symmetric": False,
                    "array": [0.0] * len(group),
                    "arrayminus": [_bar(r) if front else 0.0 for r, front in zip(group, on_front, strict=True)],
                    "thickness": 1.2,
                    "width": 3,
                },
                marker={
                    "color": colour,
                    "symbol": f"{symbol}-open" if guess else symbol,
                    "size": [view.marker_size(r) for r in group],
                    "opacity": [1.0 if front else 0.45 for front in on_front],
                    "line": {
                        "color": [RIM if front else plain_rim for front in on_front],
                        "width": [2 if front else 0.5 for front in on_front],
                    },
                },
            )
        )
    if view.limit is not None:
        figure.add_hline(
            y=view.limit,
            line={"dash": "dash", "color": "#777777", "width": 1},
            annotation={"text": f"limit: 100 − label floor = {view.limit:.1f}", "font": {"color": "#555555"}},
            annotation_position="bottom right",
        )
    if view.nothing is not None:
        figure.add_hline(
            y=view.nothing,
            line={"dash": "dot", "color": "#777777", "width": 1},
            annotation={"text": f"send nothing: {view.nothing:.1f}", "font": {"color": "#555555"}},
            annotation_position="bottom right",
        )
    figure.update_layout(
        title={"text": f"{title}<br><sup>{view.caption}; marker size: client memory</sup>"},
        template="plotly_white",
        font={"size": 14},
        hoverlabel={"align": "left"},
        legend={"title": {"text": ""}, "itemsizing": "constant"},
        margin={"t": 90},
        # Of the points: where nothing is certified a bar would squeeze them.
        yaxis={"title": {"text": DELTA_LABEL}, "range": view.delta_range},
        xaxis={"title": {"text": _axis_label("client_gflops")}, "rangemode": "tozero"},
    )
    if view.is_wide("client_gflops"):
        # Spelled out, since plotly prints the ticks between powers of ten as bare digits.
        ticks = [float(f"{digit}e{power}") for power in range(-9, 10) for digit in (1, 2, 5)]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return figure


def write_html(figure: Figure, path: Path | str) -> None:
    """A page that needs nothing else: plotly.js is inside it, for readers that are offline or sandboxed (4.5 MB)."""
    page = figure.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False})
    _replace(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def front_png(
    records: Sequence[TrialRecord], objectives: Sequence[str], title: str, path: Path | str, *, guesses: bool = False
) -> None:
    """Two panels, Δ against client GFLOPs and against client memory, 2,000 pixels wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    view = _view(records, objectives, guesses)
    # No pyplot: its global state is unsafe outside the main thread.
    figure = Figure(figsize=(12.5, 5.8), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, cost in zip(panels, ("client_gflops", "client_memory_mib"), strict=True):
        _draw_panel(axes, view, cost)
    panels[0].set_ylabel(DELTA_LABEL, fontsize=12)
    figure.suptitle(f"{title}\n", fontsize=15)
    figure.text(0.5, 0.925, view.caption, ha="center", va="center", fontsize=11, color="#444444")
    handles, labels = panels[0].get_legend_handles_labels()
    legend: dict[str, Any] = {}
    for label, handle in zip(labels, handles, strict=True):
        legend.setdefault(label, handle)  # hollow only where all of a series are
    columns = math.ceil(len(legend) / math.ceil(len(legend) / 6)) if legend else 1
    figure.legend(legend.values(), legend, loc="outside lower center", ncols=columns, fontsize=11, frameon=False)
    # The labels' places depend on the layout, which settles here, once.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, cost in zip(panels, ("client_gflops", "client_memory_mib"), strict=True):
        _label_front(axes, view, cost)
    _replace(path, lambda temporary: figure.savefig(temporary, format="png"))


@dataclass(frozen=True)
class _View:
    """What both figures share.

    Attributes:
        complete: every finished trial.
        counted: those that may be on the front.
        limit, nothing: Δ that none exceeds, and of a client that sends nothing.
    """

    complete: list[TrialRecord]
    counted: list[TrialRecord]
    front: list[TrialRecord]
    styles: dict[str, tuple[str, tuple[str, str]]]
    limit: float | None
    nothing: float | None
    caption: str
    several_methods: bool

    def series(self, record: TrialRecord) -> str:
        """Which entry of the legend a trial belongs to."""
        return _series(record, self.several_methods)

    def groups(self) -> Iterator[tuple[str, bool, list[TrialRecord]]]:
        """Series, whether utility is a guess, and the finished trials of which both are true, if any."""
        for series in self.styles:
            for guess in (False, True):
                group = [r for r in self.complete if r.metrics.utility_is_a_guess == guess]
                if group := [r for r in group if self.series(r) == series]:
                    yield series, guess, group

    @property
    def delta_range(self) -> tuple[float, float] | None:
        """From below the least Δ to above the most and the lines; None if there are none."""
        shown = [r.metrics.delta for r in self.complete]
        shown += [line for line in (self.limit, self.nothing) if line is not None]
        if not shown:
            return None
        low, high = min(shown), max(shown)
        space = 0.1 * max(high - low, 1.0)
        return low - space, high + space

    @property
    def front_ids(self) -> set[int]:
        return {record.trial_id for record in self.front}

    def ends(self, cost: str) -> tuple[float, float]:
        values = [r.metrics.value(cost) for r in self.complete]
        return min(values), max(values)

    def is_wide(self, cost: str) -> bool:
        """True if a linear axis would squeeze the cheap half together."""
        if not self.complete:
            return False
        low, high = self.ends(cost)
        return low > 0 and high / low > 5

    def step_line(self, cost: str) -> list[tuple[float, float]]:
        """Corners of the highest Δ of any finished trial that costs no more, to the dearest trial."""
        corners: list[tuple[float, float]] = []
        for record in sorted(self.counted, key=lambda r: (r.metrics.value(cost), -r.metrics.delta)):
            if not corners or record.metrics.delta > corners[-1][1]:
                corners.append((record.metrics.value(cost), record.metrics.delta))
        if corners:
            corners.append((self.ends(cost)[1], corners[-1][1]))
        return corners

    def marker_size(self, record: TrialRecord) -> float:
        """Pixels, 9 to 24, by the logarithm of client memory."""
        low, high = (math.log1p(v) for v in self.ends("client_memory_mib"))
        return 9 + 15 * (math.log1p(record.metrics.cost.client_memory_mib) - low) / (high - low) if high > low else 12


def _view(records: Sequence[TrialRecord], objectives: Sequence[str], guesses: bool) -> _View:
    complete, counted = candidates(records, guesses=True), candidates(records, guesses=guesses)
    nothing = nothing_row(complete)
    several_methods = len({r.config.method for r in complete}) > 1
    series = dict.fromkeys(_series(r, several_methods) for r in sorted(complete, key=lambda r: r.trial_id))
    front = front_of(records, objectives, guesses=guesses)
    counts = f"{len(complete)} finished trials, {len(front)} on the front of {', '.join(objectives)}"
    if doubtful := sum(record.leakage_is_lower_bound for record in complete):
        counts += f"; Δ of {doubtful} is an upper bound (≤): more may leak than was read"
    if guessing := sum(r.metrics.utility_is_a_guess for r in complete):
        counts += f"; utility of {guessing} is a guess (hollow)"
    return _View(
        complete=complete,
        counted=counted,
        front=front,
        styles={name: (PALETTE[i % len(PALETTE)], SHAPES[i % len(SHAPES)]) for i, name in enumerate(series)},
        limit=100 - min(r.metrics.label_floor for r in complete) if complete else None,
        nothing=None if nothing is None else nothing["delta"],
        caption=f"{counts}; validation data",
        several_methods=several_methods,
    )


def _series(record: TrialRecord, several_methods: bool) -> str:
    return f"{record.config.method}, {record.config.arch}" if several_methods else record.config.arch


def _bar(record: TrialRecord) -> float:
    """Points from Δ down to what is left of it against every reader; 0 where that was not measured."""
    certified = record.measured.delta_certified
    return 0.0 if certified is None else max(0.0, record.measured.delta - certified)


def _named(series: str, guess: bool) -> str:
    return f"{series}, a guess" if guess else series


def _hover(record: TrialRecord, on_front: bool) -> str:
    config, m = record.config, record.metrics
    client = f"{config.arch} split {config.split}" if config.split else config.arch
    if config.method != "narl":
        client = f"{config.method}, {client}"
    numbers = {"σ": config.sigma, "λ": config.lambda_, **config.settings, "seed": config.seed}
    if record.sigma_at_inference is not None:
        numbers["σ at inference"] = record.sigma_at_inference
    return "<br>".join(
        (
            f"<b>trial {record.trial_id}: {client}</b>{' (front)' if on_front else ''}",
            ", ".join(f"{name} {value:.4g}" for name, value in numbers.items()),
            f"Δ {record.bound_sign('delta')}{m.delta:.2f} pp = utility {record.shown_utility} % − leakage "
            f"{record.leakage_bracket} %",
            f"label floor {m.label_floor:.2f} %",
            f"{m.cost.client_gflops:.4g} GFLOPs, {m.cost.client_memory_mib:.4g} MiB",
            f"uplink {m.cost.uplink_kib:.4g} KiB, peak activations {m.cost.peak_activation_mib:.4g} MiB",
        )
    )


def _draw_panel(axes: Axes, view: _View, cost: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_axisbelow(True)
    axes.grid(True, color="#E6E6E6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11)
    axes.set_xlabel(_axis_label(cost), fontsize=12)
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
    for series, guess, group in view.groups():
        colour, (marker, _) = view.styles[series]
        for on_front in (False, True):
            some = [r for r in group if (r.trial_id in view.front_ids) == on_front]
            axes.scatter(
                [r.metrics.value(cost) for r in some],
                [r.metrics.delta for r in some],
                s=70 if on_front else 40,
                marker=marker,
                facecolors="none" if guess else colour,
                alpha=1.0 if on_front else 0.45,
                edgecolors=RIM if on_front else colour if guess else "white",
                linewidths=1.3 if on_front else 1.0 if guess else 0.4,
                zorder=4 if on_front else 3,
                label=series if on_front else None,
            )
    axes.margins(x=0.08, y=0.1)
    low, high = axes.get_ylim()
    bars = [r for r in view.front if _bar(r) > 0]
    axes.errorbar(
        [r.metrics.value(cost) for r in bars],
        [r.metrics.delta for r in bars],
        [[_bar(r) for r in bars], [0.0] * len(bars)],
        fmt="none",
        ecolor="#8A8A8A",
        elinewidth=3,
        capsize=4,
        zorder=1.5,
        label="down to certified Δ" if bars else None,
    )
    axes.set_ylim(low, high)  # where nothing is certified a bar would squeeze the points


def _label_front(axes: Axes, view: _View, cost: str) -> None:
    """Write "arch/split" beside its best trial on the front, where it hides neither a point nor another label.

    A place that the lines cross too is taken only for want of a better one; a label without any place is left out.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    renderer = axes.figure.canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    pixel = axes.figure.dpi / 72
    points = [axes.transData.transform((r.metrics.value(cost), r.metrics.delta)) for r in view.complete]
    taken = [Bbox.from_bounds(x - 4 * pixel, y - 4 * pixel, 8 * pixel, 8 * pixel) for x, y in points]
    corners = [axes.transData.transform(corner) for corner in view.step_line(cost)]
    lines = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        lines += [Bbox([[x0, y0 - pixel], [x1, y0 + pixel]]), Bbox([[x1 - pixel, y0], [x1 + pixel, y1]])]
    if view.limit is not None:
        y = axes.transData.transform((1, view.limit))[1]
        lines.append(Bbox([[inside.x0, y - pixel], [inside.x1, y + pixel]]))

    best: dict[str, TrialRecord] = {}
    for record in sorted(view.front, key=lambda r: -r.metrics.delta):
        best.setdefault(record.config.client, record)
    for name, record in best.items():
        point = (record.metrics.value(cost), record.metrics.delta)
        text = axes.annotate(
            f"{record.bound_sign('delta')} {name}".strip(), point, xytext=(0, 0), textcoords="offset points"
        )
        text.set(fontsize=9.5, color="#222222", zorder=5, path_effects=[withStroke(linewidth=2.5, foreground="white")])
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


def _axis_label(cost: str) -> str:
    return f"{OBJECTIVES[cost].label}, {OBJECTIVES[cost].unit}"


def _significant(value: float) -> float:
    """`value` to four significant digits."""
    return float(f"{value:.4g}")


def _replace(path: Path | str, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file and move it to `path`, so that a reader never sees half a figure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        write(temporary)
