"""What a search has found, and asks for, when a trial starts: it can show that the trial will not be on the front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from narl.core.constraints import Constraints
from narl.core.objectives import to_minimise
from narl.core.pareto import Row, dominates
from narl.core.records import TrialMetrics


@dataclass(frozen=True)
class FrontSoFar:
    """The front of the trials that have finished.

    What it excludes is on no later front either: a member leaves it only for one that dominates the member.

    Attributes:
        objectives: of the search.
        rows: of its members, smaller is better, as `narl.core.objectives.to_minimise` gives them.
        constraints: of the search.
        latency_ms: of the client whose trial starts, on the device that was measured; its worker does not know it.
    """

    objectives: Sequence[str]
    rows: Sequence[Row]
    constraints: Constraints = Constraints()
    latency_ms: float | None = None

    def excludes(self, at_best: TrialMetrics) -> bool:
        """Whether a trial can be no member, of which further adversaries are still to be heard: a member dominates it,
        or it is worthless (narl/core/worth.py) or misses a constraint, as Δ only falls and leakage only rises.

        Args:
            at_best: measured by the Bayes attacker alone. More adversaries can raise leakage, at any number of answers,
                and so lower each Δ; they change no bound, no utility and no cost. Nothing is known of the one adversary
                whom `delta_paper` takes as it is: it may read nothing.
        """
        if at_best.why_worthless or self.constraints.why_missed(at_best):
            return True
        at_best = replace(at_best.with_latency(self.latency_ms), delta_paper=at_best.utility)
        row = to_minimise(at_best, self.objectives)
        return any(dominates(member, row) for member in self.rows)

    def to_json(self) -> dict[str, Any]:
        return {
            "objectives": list(self.objectives),
            "rows": [list(row) for row in self.rows],
            "constraints": self.constraints.model_dump(),
            "latency_ms": self.latency_ms,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FrontSoFar:
        return cls(content["objectives"], content["rows"], Constraints(**content["constraints"]), content["latency_ms"])
