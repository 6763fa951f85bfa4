"""Names, units and directions of everything a search can optimise or bound.

The sign of an objective flips in `to_minimise` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from narl.errors import ConfigError, unknown_name
from narl.records import TrialMetrics


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
        Objective("delta_paper", "maximize", "pp", "Δ without the label floor"),
        Objective("utility", "maximize", "%", "utility accuracy"),
        Objective("leakage", "minimize", "%", "leakage accuracy"),
        Objective("client_gflops", "minimize", "GFLOPs", "client compute"),
        Objective("client_memory_mib", "minimize", "MiB", "client memory"),
        Objective("uplink_kib", "minimize", "KiB", "uplink per image"),
        Objective("peak_activation_mib", "minimize", "MiB", "client peak activations"),
    )
}


def objective(name: str) -> Objective:
    """The objective of that name; `ConfigError` names the allowed ones."""
    if name not in OBJECTIVES:
        raise ConfigError(unknown_name("objective", name, OBJECTIVES))
    return OBJECTIVES[name]


def to_minimise(metrics: TrialMetrics, names: Sequence[str]) -> tuple[float, ...]:
    """The named objectives as a row in which smaller is better everywhere."""
    return tuple(
        -getattr(metrics, name) if objective(name).direction == "maximize" else getattr(metrics, name) for name in names
    )
