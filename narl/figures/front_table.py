"""The Pareto front as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from narl.core.pareto import front_of
from narl.core.point import Point
from narl.core.records import TrialRecord


def front_table(
    records: Sequence[TrialRecord], objectives: Sequence[str], *, worthless: bool = False
) -> list[dict[str, Any]]:
    """List a flat row per trial on the front, cheapest first: accuracies in %, Δ in points, costs in the named unit.

    Args:
        worthless: see `narl.core.pareto.front_of`.
    """
    rows = []
    for record in front_of(records, objectives, worthless=worthless):
        config, m = record.config, record.measured
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
                "leakage": round(m.leakage, 2),
                "leakage_bound": None if m.leakage_bound is None else round(m.leakage_bound, 2),
                "delta_is_upper_bound": record.leakage_is_lower_bound,
                "label_floor": round(m.label_floor, 2),
                "delta_of_nothing": None if m.nothing is None else round(m.nothing.delta, 2),
                "worthless": record.why_not_counted,
                **{f"delta_at_queries({n})": round(m.utility - value, 2) for n, value in m.leakage_at_queries.items()},
                "client_gflops": m.cost.client_gflops,
                "client_memory_mib": m.cost.client_memory_mib,
                "uplink_kib": m.cost.uplink_kib,
                "peak_activation_mib": m.cost.peak_activation_mib,
                "client_latency_ms": m.cost.client_latency_ms,
            }
        )
    for key in ("settings", "leakage_bound", "sigma_inference", "delta_of_nothing", "worthless", "client_latency_ms"):
        if all(row[key] in ("", None) for row in rows):
            for row in rows:
                del row[key]
    return rows


def _settings(config: Point) -> Iterator[str]:
    """Yield the method's own settings, and those of its features and noise."""
    yield from (f"{name}={value:.4g}" for name, value in config.settings.items())
    if config.bound != "none":
        yield f"bound={config.bound}"
    if config.noise != "fresh":
        yield f"noise={config.noise}"


def _significant(value: float) -> float:
    """Round `value` to four significant digits."""
    return float(f"{value:.4g}")
