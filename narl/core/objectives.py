"""Names, units and directions of everything a search can optimise or bound.

The sign of an objective flips in `to_minimise` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from narl.core.errors import ConfigError, unknown_name
from narl.core.records import AT_QUERIES, TrialMetrics


@dataclass(frozen=True)
class Objective:
    """A number that a search can optimise: `direction` is `maximize` or `minimize`."""

    name: str
    direction: str
    unit: str
    label: str


OBJECTIVES = {
    o.name: o
    for o in (
        Objective("delta", "maximize", "pp", "Δ (utility − leakage)"),
        Objective("delta_paper", "maximize", "pp", "Δ as in the paper"),
        Objective("utility", "maximize", "%", "utility accuracy"),
        Objective("leakage", "minimize", "%", "leakage accuracy"),
        Objective("client_gflops", "minimize", "GFLOPs", "client compute"),
        Objective("client_memory_mib", "minimize", "MiB", "client memory"),
        Objective("uplink_kib", "minimize", "KiB", "uplink per image"),
        Objective("peak_activation_mib", "minimize", "MiB", "client peak activations"),
    )
}


def objective(name: str) -> Objective:
    """The objective of that name, be it `delta_at_queries(16)`; `ConfigError` names the allowed ones."""
    if asked := AT_QUERIES.fullmatch(name):
        plain = OBJECTIVES[asked[1]]
        return Objective(name, plain.direction, plain.unit, f"{plain.label} against {asked[2]} averaged answers")
    if name not in OBJECTIVES:
        allowed = (*OBJECTIVES, "delta_at_queries(16)", "leakage_at_queries(16)")
        raise ConfigError(unknown_name("objective", name, allowed))
    return OBJECTIVES[name]


def queries_of(names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of answers that the named objectives speak of, ascending."""
    return tuple(sorted({int(asked[2]) for name in names if (asked := AT_QUERIES.fullmatch(name))}))


def to_minimise(metrics: TrialMetrics, names: Sequence[str]) -> tuple[float, ...]:
    """The named objectives as a row in which smaller is better everywhere.

    Raises:
        ConfigError: an unknown objective, or one that was not measured.
    """
    return tuple(
        -_value(metrics, name) if objective(name).direction == "maximize" else _value(metrics, name) for name in names
    )


def _value(metrics: TrialMetrics, name: str) -> float:
    try:
        return getattr(metrics, name)
    except AttributeError as error:
        raise ConfigError(f"{name} was not measured: the search's attack.queries must list that number") from error
