"""The columns of the paper's Table 3 on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

COLUMNS = {"mse": "MSE", "l1": "L1", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "psnr": "PSNR", "lpips": "LPIPS"}
_DECIMALS = {"mse": 1, "l1": 2, "ssim": 4, "ms_ssim": 4, "psnr": 2, "lpips": 4}


def print_rebuilt(console, rows: Iterable[tuple[str, dict[str, Any], float | None]]) -> None:
    """One line a row.

    Args:
        rows: its name, its metrics by name (see `narl.attacks.image_metrics.ImageMetrics.to_json`), and the reader's
            accuracy on its images in percent, if it looked at them.
    """
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("rebuilt images", *COLUMNS.values(), "read, %"):
        table.add_column(column, justify="left" if column == "rebuilt images" else "right", no_wrap=True)
    notes = {}
    for name, metrics, read in rows:
        numbers = (metrics.get(key) for key in COLUMNS)
        shown = (
            "–" if number is None else f"{number:.{_DECIMALS[key]}f}"
            for key, number in zip(COLUMNS, numbers, strict=True)
        )
        table.add_row(name, *shown, "" if read is None else f"{read:.2f}")
        if "ms_ssim_scales" in metrics:
            notes[f"MS-SSIM of {metrics['ms_ssim_scales']} scales"] = None
        if "lpips_unavailable" in metrics:
            notes[f"no LPIPS: {metrics['lpips_unavailable']}"] = None
    console.print(table)
    console.print(
        "MSE and L1 on the 0 to 255 scale, PSNR in dB; read: the private label, by a network that knows clean images; "
        + "; ".join(notes),
        highlight=False,
        markup=False,
    )
