"""Reports that narl 0.2 and earlier wrote, in today's words.

0.2 called doubts `flags` in some reports, and `narl train` had a format of its own: `interval95_over_seeds`, fewer
numbers per seed, intervals for each seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def current_seed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert one seed's report; a current one is returned as it is.

    Raises:
        KeyError: it is not a report.
    """
    row = _renamed(row, {"flags": "doubts"})
    adversaries = row["adversaries"]
    strongest = max(adversaries, key=adversaries.__getitem__)
    row.setdefault("strongest_adversary", adversaries[strongest])
    row.setdefault("paper_adversary", next((name for name in adversaries if name in ("rest", "rest_0")), strongest))
    row.setdefault("advantage", row["leakage"] - row["label_floor"])
    return {name: value for name, value in row.items() if name not in ("utility_interval95", "leakage_interval95")}


def current_summary(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a report over seeds; a current one is returned as it is.

    Raises:
        KeyError: it is not a report.
    """
    row = _renamed(row, {"flags": "doubts", "interval95_over_seeds": "interval95"})
    row["interval95"] = {name: interval for name, interval in row["interval95"].items() if interval is not None}
    row["by_seed"] = {
        seed: current_seed({"num_samples": row["num_samples"], **one}) for seed, one in row["by_seed"].items()
    }
    first, *_ = each = list(row["by_seed"].values())
    row.setdefault("client", "trained afresh with each seed")
    row.setdefault("label_floor", first["label_floor"])
    row.setdefault("cost", first["cost"])
    noisy = [one["snr_db"] for one in each if one["snr_db"] is not None]
    row.setdefault("snr_db", sum(noisy) / len(noisy) if noisy else None)
    if "doubts" not in row:
        row["doubts"] = [f"{doubt} (seed {seed})" for seed, one in row["by_seed"].items() for doubt in one["doubts"]]
    return row


def _renamed(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in row.items()}
