"""A grid of σ and λ at a glance: a map for each client and metric, from a search over lists of values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from narl.core.errors import ConfigError
from narl.core.objectives import objective
from narl.core.plural import are
from narl.core.records import TrialRecord, nothing_of
from narl.figures.canvas import new_figure, write_png

# More columns or rows than this are not a grid but a scatter over a continuous range.
MOST_VALUES = 12
# The least span from the lightest to the darkest cell, in points: smaller differences are within those of seeds.
LEAST_SPAN = 5.0


def heatmap_png(records: Sequence[TrialRecord], title: str, path: Path | str) -> None:
    """Draw utility, leakage, Δ and leakage by averaged answers over σ and λ, a column per client; cells hold means.

    Raises:
        ConfigError: nothing to draw, or σ or λ have too many values for a map.
    """

    complete = [record for record in records if record.metrics is not None]
    if not complete:
        raise ConfigError("there is no finished trial to draw")
    sigmas = sorted({record.config.sigma for record in complete})
    lambdas = sorted({record.config.lambda_ for record in complete})
    for name, values in (("σ", sigmas), ("λ", lambdas)):
        if len(values) > MOST_VALUES:
            raise ConfigError(f"{len(values)} values of {name} make no map: search a list of at most {MOST_VALUES}")
    clients = list(
        dict.fromkeys(r.config.client for r in sorted(complete, key=lambda r: r.measured.cost.client_gflops))
    )
    averaged = [f"leakage_at_queries({n})" for n in complete[0].measured.leakage_at_queries]
    metrics = ["utility", "leakage", *averaged, "delta"]
    width = max(0.62 * len(sigmas), 0.1 * max(map(len, clients))) + 0.25
    height = max(0.42 * len(lambdas), 1.35) + 0.35  # room for the name of the metric, upright
    size = (1.8 + len(clients) * width, 1.1 + len(metrics) * height)
    figure = new_figure(*size)
    panels = figure.subplots(len(metrics), len(clients), squeeze=False, sharex=True, sharey=True)
    for row, metric in zip(panels, metrics, strict=True):
        maps = [_means(complete, client, metric, sigmas, lambdas) for client in clients]
        low, high = np.nanmin(maps), np.nanmax(maps)
        high = max(high, low + LEAST_SPAN)
        for axes, means in zip(row, maps, strict=True):
            # Dark is good: high for what is maximised, low for what is minimised.
            colours = "viridis_r" if objective(metric).direction == "maximize" else "viridis"
            axes.imshow(means, cmap=colours, vmin=low, vmax=high, aspect="auto", origin="lower")
            _write_cells(axes, means, low, high, dark_is_high=colours.endswith("_r"))
            axes.set_xticks(range(len(sigmas)), [f"{sigma:g}" for sigma in sigmas], fontsize=9)
            axes.set_yticks(range(len(lambdas)), [f"{lambda_:g}" for lambda_ in lambdas], fontsize=9)
            axes.tick_params(length=0)
        row[0].set_ylabel(f"{_short(metric)}\nλ", fontsize=10)
    for axes, client in zip(panels[0], clients, strict=True):
        axes.set_title(client, fontsize=11)
    for axes in panels[-1]:
        axes.set_xlabel("σ", fontsize=10)
    doubtful = sum(record.leakage_is_lower_bound for record in complete)
    bound = f"; in {doubtful} more may leak than was read: leakage ≥, Δ ≤" if doubtful else ""
    if (nothing := nothing_of(complete)) is not None:
        bound += f"\nsending nothing: Δ {nothing.delta:.0f}"
        if worthless := sum(bool(record.measured.why_worthless) for record in complete):
            bound += f"; {worthless} {are(worthless)} worth no more"
    figure.suptitle(f"{title}: {len(complete)} trials, dark is better{bound}", fontsize=12)
    write_png(figure, path)


def _means(records: Sequence[TrialRecord], client: str, metric: str, sigmas: list, lambdas: list) -> np.ndarray:
    """Average to [λ, σ]; NaN where nothing was measured."""
    cells: dict[tuple[int, int], list[float]] = {}
    for record in records:
        if record.config.client == client:
            place = lambdas.index(record.config.lambda_), sigmas.index(record.config.sigma)
            cells.setdefault(place, []).append(record.measured.value(metric))
    values = np.full((len(lambdas), len(sigmas)), np.nan)
    for place, each in cells.items():
        values[place] = np.mean(each)
    return values


def _write_cells(axes, values: np.ndarray, low: float, high: float, *, dark_is_high: bool) -> None:
    for (y, x), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        darkness = (value - low) / (high - low) if high > low else 0.0
        darkness = darkness if dark_is_high else 1 - darkness
        axes.text(
            x, y, f"{value:.0f}", ha="center", va="center", fontsize=9, color="white" if darkness > 0.4 else "black"
        )


def _short(metric: str) -> str:
    names = {"utility": "utility, %", "leakage": "leakage, %", "delta": "Δ, points"}
    return names.get(metric) or f"leakage at\n{metric.partition('(')[2].rstrip(')')} answers, %"
