"""What an evaluation shows at a glance: utility, and leakage against the number of answers an attacker averages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narl.figures.canvas import new_figure, write_png
from narl.figures.palette import PALETTE

MARKERS = ("o", "s", "^", "D")
# With more reports than this, levels of utility would cross each other.
FEW = 3


def averaging_png(reports: Mapping[str, Mapping[str, Any]], title: str, path: Path | str) -> None:
    """Draw a line of leakage for each report, by name, with its 95 % intervals.

    If there are few, utility is a dotted level, and the area between leakage and a certificate's bound is hatched.

    Args:
        reports: of `narl.evaluation.summary.summarise`, each with the averaging attack.
    """

    figure = new_figure(8, 5)
    axes = figure.subplots()
    for number, (name, report) in enumerate(reports.items()):
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number // len(PALETTE) % len(MARKERS)]
        by_n = report["leakage_at_queries"]
        places = range(len(by_n))
        low, high = zip(*report["interval95"]["leakage_at_queries"].values(), strict=True)
        axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(places, by_n.values(), marker=marker, color=colour, label=name)
        if len(reports) <= FEW:
            axes.axhline(report["mean"]["utility"], color=colour, linestyle=":", linewidth=1.2)
            if bounds := _bounds(report):
                top = [bounds[n] for n in by_n]
                axes.fill_between(
                    places, list(by_n.values()), top, facecolor="none", edgecolor=colour, hatch="////", alpha=0.3
                )
                axes.plot(places, top, color=colour, linewidth=0.8)
        axes.set_xticks(places, by_n)
    floor = next(iter(reports.values()))["label_floor"]
    axes.axhline(floor, color="#1A1A1A", linestyle="--", linewidth=1)
    axes.annotate("label floor", (0, floor), xytext=(0, -12), textcoords="offset points", fontsize=9)
    lines = "\nline: leakage; dotted: utility; hatched: up to what nobody exceeds" if len(reports) <= FEW else ""
    axes.set_xlabel(f"answers to one image that the attacker averages{lines}")
    axes.set_ylabel("accuracy, %" if lines else "leakage, %")
    axes.set_ylim(0, 100)
    axes.set_title(title)
    figure.legend(frameon=False, fontsize=9, loc="outside right center")
    write_png(figure, path)


def _bounds(report: Mapping[str, Any]) -> dict[str, float]:
    """Return what nobody exceeds, by number of answers; empty if a report has no certificate for all of them."""
    certified = report.get("certificate", {}).get("labels", {}).get("private", {})
    bounds = {n: one["bound"] for n, one in certified.items()}
    return bounds if report["leakage_at_queries"].keys() <= bounds.keys() else {}
