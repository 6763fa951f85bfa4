"""Tables of evaluations on a terminal: the columns of the paper's Table 3, each row's 95 % intervals below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from narl.cli.terminal import new_console

COLUMNS = {"mse": "MSE", "l1": "L1", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "psnr": "PSNR", "lpips": "LPIPS"}
_DECIMALS = {"mse": 1, "l1": 2, "ssim": 4, "ms_ssim": 4, "psnr": 2, "lpips": 4, "read_rebuilt": 2}


@dataclass(frozen=True)
class RebuiltRow:
    """One row of the table.

    Attributes:
        metrics: by name, see `narl.attacks.image_metrics.ImageMetrics.to_json`.
        intervals: of metrics and of `read_rebuilt`, by name, where there are any.
        read: what a network that knows clean images reads, percent, if it looked at these.
        least_mse: what no decoder of these answers undercuts, if that was measured.
    """

    name: str
    metrics: Mapping[str, Any]
    intervals: Mapping[str, Sequence[float] | None] = field(default_factory=dict)
    read: float | None = None
    least_mse: float | None = None


def rebuilt_rows(name: str, findings: Mapping[str, Any]) -> Iterator[RebuiltRow]:
    """What attacks rebuilt, of the findings in a `narl.evaluation.report.Summary`."""
    if one := findings.get("reconstruction"):
        yield RebuiltRow(name, one["rebuilt"], one["interval95"], one["read_rebuilt"], one.get("least_mse"))
    if one := findings.get("inversion"):
        yield RebuiltRow(f"{name}, inversion of {one['images']}", one["rebuilt"], one["interval95"])


def control_rows(findings: Mapping[str, Any]) -> Iterator[RebuiltRow]:
    """What needs no answer of any client: the mean image in place of each, and clean images."""
    if one := findings.get("inversion"):
        yield RebuiltRow(f"mean image of {one['images']}", one["mean_image"])
    if one := findings.get("reconstruction"):
        yield RebuiltRow("mean image", one["mean_image"])
        yield RebuiltRow("clean images", {}, read=one["read_clean"])


def print_rebuilt(console, rows: Iterable[RebuiltRow]) -> None:
    """Each row, and under it its intervals."""
    table = plain_table("rebuilt images", *COLUMNS.values(), "read, %", "least MSE", no_wrap=True)
    notes: dict[str, None] = {}
    for row in rows:
        numbers = {key: row.metrics.get(key) for key in COLUMNS}
        shown = ("–" if number is None else f"{number:.{_DECIMALS[key]}f}" for key, number in numbers.items())
        least = "" if row.least_mse is None else f"{row.least_mse:.1f}"
        table.add_row(row.name, *shown, "" if row.read is None else f"{row.read:.2f}", least)
        if row.intervals:
            ranges = (as_range(row.intervals.get(key), decimals - 1) for key, decimals in _DECIMALS.items())
            table.add_row("  95 %", *ranges, style="dim")
        if "ms_ssim_scales" in row.metrics:
            notes[f"MS-SSIM of {row.metrics['ms_ssim_scales']} scales"] = None
        if "lpips_unavailable" in row.metrics:
            notes[f"no LPIPS: {row.metrics['lpips_unavailable']}"] = None
    console.print(table)
    console.print(
        "MSE and L1 on the 0 to 255 scale, PSNR in dB; read: the private label, by a network that knows clean images; "
        "least MSE: of these images, whatever decoder; " + "; ".join(notes),
    )


def plain_table(head: str, *columns: str, no_wrap: bool = False):
    """An empty table without lines: names at the left, numbers at the right."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column(head, no_wrap=no_wrap)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=no_wrap)
    return table


def recording_console():
    """A console that remembers what it prints, wide enough for the tables of an evaluation."""
    return new_console(width=max(120, new_console().width), record=True)


def as_bracket(leakage: float, bound: float | None) -> str:
    """What was read and what nobody exceeds, percent: `24.0 – 24.6`; `24.0` without a bound; a bound of 100 has a `†`."""
    read = f"{leakage:.1f}"
    if bound is None:
        return read
    if bound == 100:
        return f"{read} – 100 †"
    return read if read == f"{bound:.1f}" else f"{read} – {bound:.1f}"


NO_CERTIFICATE = "† no certificate (bound 100 %): the client adds no noise, or none that hides anything"


def as_range(interval: Sequence[float] | None, decimals: int = 2) -> str:
    """`[1.00, 2.00]`, or nothing."""
    return "" if interval is None else "[" + ", ".join(f"{end:.{decimals}f}" for end in interval) + "]"
