"""Whether a search used its cluster: how many trials ran at each moment, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from narl.core.errors import ConfigError
from narl.core.records import TrialRecord
from narl.figures.canvas import new_figure, write_png
from narl.figures.palette import PALETTE

# With more nodes than this, a colour no longer tells which: the last one stands for the rest.
FEW = len(PALETTE)
# The widest unit that leaves at least three of it on the axis.
UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


def concurrency(records: Sequence[TrialRecord]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """List the moments at which a trial began or ended, and how many ran on each node from each moment to the next.

    A trial that was lost and ran again counts from its last start.

    Returns:
        times: seconds since the first trial began, float [T], increasing.
        counts: by node in the order of their first trial, int [T]; a trial over several nodes counts on the first. The
            last of each is 0.
    """
    first = min(record.started_at for record in records)
    ordered = sorted(records, key=lambda record: record.started_at)
    times = np.unique([moment - first for r in records for moment in (r.started_at, r.finished_at)])
    counts = {_node(record): np.zeros(len(times), dtype=int) for record in ordered}
    for record in records:
        begin, end = np.searchsorted(times, (record.started_at - first, record.finished_at - first))
        counts[_node(record)][begin:end] += 1
    return times, counts


def concurrency_png(records: Sequence[TrialRecord], title: str, path: Path | str) -> None:
    """Draw the counts of `concurrency` as stacked areas, a colour for each node.

    Raises:
        ConfigError: no trial has ended yet.
    """
    from matplotlib.ticker import MaxNLocator

    if not records:
        raise ConfigError("there is no finished trial to draw")
    times, counts = concurrency(records)
    unit, seconds = next((u for u in UNITS if times[-1] >= 3 * u[1]), UNITS[-1])
    figure = new_figure(8, 4)
    axes = figure.subplots()
    shown = _few(counts)
    axes.stackplot(times / seconds, *shown.values(), labels=list(shown), colors=PALETTE, step="post", linewidth=0)
    mean = sum(r.seconds for r in records) / max(times[-1], 1e-9)
    axes.set_title(f"{title}: {len(records)} trials on {len(counts)} {'node' if len(counts) == 1 else 'nodes'}, "
                   f"{mean:.1f} at a time on average", fontsize=11)  # fmt: skip
    axes.set_xlabel(f"{unit} since the first trial began")
    axes.set_ylabel("trials running")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, max(times[-1] / seconds, 1e-9))
    if len(counts) > 1:
        figure.legend(frameon=False, fontsize=9, loc="outside right center", reverse=True)
    write_png(figure, path)


def _node(record: TrialRecord) -> str:
    return record.tags.get("node", "").partition(",")[0] or "this machine"


def _few(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep at most `FEW`, the later ones added up."""
    if len(counts) <= FEW:
        return counts
    names = list(counts)
    shown = {name: counts[name] for name in names[: FEW - 1]}
    rest = [counts[name] for name in names[FEW - 1 :]]
    return {**shown, f"{len(rest)} more nodes": np.sum(rest, axis=0)}
