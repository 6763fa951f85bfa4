"""Names, units and directions of everything a search can optimise or bound.

The sign of an objective flips in `to_minimise` and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from narl.core.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from narl.core.records import TrialMetrics

# The last is measured on a device (narl/config/measured.py), the others are counted.
COST_NAMES = ("client_gflops", "client_memory_mib", "uplink_kib", "peak_activation_mib", "client_latency_ms")


Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Objective:
    """A number that a search can optimise.

    Attributes:
        direction: `maximize` or `minimize`.
        queries: against an attacker who averages so many answers to each image; None if the name says nothing of it.
    """

    name: str
    direction: Direction
    unit: str
    label: str
    queries: int | None = None

    @property
    def plain(self) -> str:
        """The name without the number of answers."""
        return self.name.partition("_at_queries")[0]


OBJECTIVES = {
    o.name: o
    for o in (
        Objective("delta", "maximize", "pp", "Δ (utility − leakage)"),
        Objective("delta_paper", "maximize", "pp", "Δ as in the paper"),
        Objective("utility", "maximize", "%", "utility accuracy"),
        Objective("leakage", "minimize", "%", "leakage accuracy"),
        Objective("delta_certified", "maximize", "pp", "certified Δ (utility − bound)"),
        Objective("leakage_bound", "minimize", "%", "leakage that nobody exceeds"),
        Objective("identification", "minimize", "%", "identification among 100 images"),
        Objective("client_gflops", "minimize", "GFLOPs", "client compute"),
        Objective("client_memory_mib", "minimize", "MiB", "client memory"),
        Objective("uplink_kib", "minimize", "KiB", "uplink per image"),
        Objective("peak_activation_mib", "minimize", "MiB", "client peak activations"),
        Objective("client_latency_ms", "minimize", "ms", "client latency on the measured device"),
    )
}


# Those that hold for every reader.
CERTIFIED = ("delta_certified", "leakage_bound", "identification")
# Those of one answer: read after each epoch where trials stop early, and again with fresh seeds.
DELTAS = ("delta", "delta_certified")
# Those that averaging answers changes, as in `delta_at_queries(16)`.
_AT_QUERIES = re.compile(r"(delta|leakage|delta_certified|leakage_bound|identification)_at_queries\(([1-9]\d{0,8})\)")


def objective(name: str) -> Objective:
    """Return the objective of that name, be it `delta_at_queries(16)`.

    Raises:
        ConfigError: there is none; names the allowed ones.
    """
    if asked := _AT_QUERIES.fullmatch(name):
        plain, queries = OBJECTIVES[asked[1]], int(asked[2])
        label = f"{plain.label} against {queries} averaged answers"
        return Objective(name, plain.direction, plain.unit, label, queries)
    if name not in OBJECTIVES:
        allowed = (*OBJECTIVES, "delta_at_queries(16)", "leakage_at_queries(16)")
        raise ConfigError(unknown_name("objective", name, allowed))
    return OBJECTIVES[name]


def not_costs(names: Sequence[str]) -> tuple[str, ...]:
    """Return those that nobody knows before a trial has run."""
    return tuple(name for name in names if name not in COST_NAMES)


def is_one_delta(names: Sequence[str]) -> bool:
    """Whether all but one are costs, and that one is a Δ of one answer."""
    found = not_costs(names)
    return len(found) == 1 and found[0] in DELTAS


def queries_of(names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of answers that the named objectives speak of, ascending."""
    return tuple(sorted({asked.queries for name in names if (asked := objective(name)).queries is not None}))


def to_minimise(metrics: TrialMetrics, names: Sequence[str]) -> tuple[float, ...]:
    """Return the named objectives as a row in which smaller is better everywhere.

    Raises:
        ConfigError: an unknown objective, or one that was not measured.
    """
    return tuple(
        -metrics.value(name) if objective(name).direction == "maximize" else metrics.value(name) for name in names
    )


def bound_sign(metric: str) -> str:
    """Tell what a doubt about leakage makes of a metric: a lower bound (`≥`), an upper one (`≤`) or neither."""
    if metric.startswith(CERTIFIED):
        return ""  # no adversary is trained for it
    return {"delta": "≤", "leakage": "≥"}.get(re.split(r"[_(]", metric)[0], "")
