"""Methods side by side: utility, and leakage as a bracket, from what was read to what nobody exceeds, by answers averaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narl.figures.canvas import new_figure, write_png
from narl.figures.palette import PALETTE, RIM

# Numbers of answers that a row can show beside each other.
MOST = 3


def brackets_png(reports: Mapping[str, Mapping[str, Any]], title: str, path: Path | str) -> None:
    """Draw a row for each report, by name, and in it a line for one, for some and for most answers.

    A thin line to 100 % says that there is no certificate: the client adds no noise, or none that hides anything from
    so many answers.

    Args:
        reports: of `narl.evaluation.summary.summarise`, each with the averaging attack.
    """
    figure = new_figure(8, 1.6 + 0.55 * len(reports))
    axes = figure.subplots()
    shown = _answers(reports)
    for row, report in enumerate(reports.values()):
        bounds = report.get("leakage_bound_at_queries", {})
        for number, n in enumerate(shown):
            place, colour = row + 0.22 * (number - (len(shown) - 1) / 2), PALETTE[number]
            read, most = report["leakage_at_queries"][n], bounds.get(n, 100.0)
            known = most < 100
            axes.plot([read, most], [place, place], color=colour, linewidth=3 if known else 0.8, solid_capstyle="butt")
            low, high = report["interval95"]["leakage_at_queries"][n]
            axes.plot([low, high], [place, place], color=colour, alpha=0.3, linewidth=7, solid_capstyle="butt")
            label = f"{n} answer{'' if n == '1' else 's'}" if row == 0 else None
            axes.plot(read, place, marker="o", color=colour, markersize=5, linestyle="", label=label)
        utility = report["mean"]["utility"]
        axes.plot(
            utility, row, marker="|", color=RIM, markersize=14, linestyle="", label="utility" if row == 0 else None
        )
    floor = next(iter(reports.values()))["label_floor"]
    axes.axvline(floor, color=RIM, linestyle="--", linewidth=1, label="label floor")
    axes.set_yticks(range(len(reports)), list(reports))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(
        "%; dot: leakage that was read, broad: its 95 % interval,\nline: up to what nobody exceeds; thin: no certificate"
    )
    axes.set_title(title)
    figure.legend(frameon=False, fontsize=9, loc="outside right center")
    write_png(figure, path)


def _answers(reports: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Choose the first, a middle and the last number of answers that all reports have."""
    each = [report["leakage_at_queries"] for report in reports.values()]
    common = [n for n in each[0] if all(n in other for other in each)]
    return common if len(common) <= MOST else [common[0], common[len(common) // 2], common[-1]]
