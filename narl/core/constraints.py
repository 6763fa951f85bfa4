"""What a search asks of a client beside a high Δ and low costs: a trial that misses it is no result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from narl.core.strict import Strict

if TYPE_CHECKING:
    from narl.core.records import SigmaLevel, TrialMetrics

Percent = Annotated[float, Field(ge=0, le=100)]


class Constraints(Strict):
    """Bounds on what is measured of a trial, on validation images; null: no bound.

    Attributes:
        min_utility: least utility accuracy, percent.
        max_leakage: most leakage accuracy, percent.
        max_identification: most answers for which anybody can tell which of 100 images they are about, percent.
    """

    min_utility: Percent | None = None
    max_leakage: Percent | None = None
    max_identification: Percent | None = None

    def __bool__(self) -> bool:
        return any(bound is not None for _, bound in self)

    def excess(self, measured: TrialMetrics) -> dict[str, float]:
        """Compute the points by which each bound is missed, by its key; 0 or less where it is met."""
        # Where identification was not measured, nobody can say that it is low.
        identification = 100.0 if measured.identification is None else measured.identification
        return self._excess(measured.utility, measured.leakage, identification)

    def excess_in_closed_form(self, level: SigmaLevel, images: int) -> float:
        """Sum the points by which a client with noise of that σ may miss bounds; of identification nothing is known.

        Args:
            images: that were read. Utility may be a standard error less than on them, and leakage as much more: the
                networks that are trained next read a little otherwise.
        """
        utility = level.utility - _standard_error(level.utility, images)
        leakage = level.leakage + _standard_error(level.leakage, images)
        return sum(max(0.0, by) for by in self._excess(utility, leakage, 0.0).values())

    def why_missed(self, measured: TrialMetrics) -> str:
        """Say which bound is missed most, and by what; empty if all are met."""
        missed = {key: by for key, by in self.excess(measured).items() if by > 0}
        if not missed:
            return ""
        key = max(missed, key=lambda each: missed[each])
        kind, _, name = key.partition("_")
        value = getattr(measured, name)
        given = "not measured" if value is None else f"{value:.2f} %"
        return f"{name} is {given}, and at {'least' if kind == 'min' else 'most'} {getattr(self, key):g} % is asked for"

    def _excess(self, utility: float, leakage: float, identification: float) -> dict[str, float]:
        by = {}
        if self.min_utility is not None:
            by["min_utility"] = self.min_utility - utility
        if self.max_leakage is not None:
            by["max_leakage"] = leakage - self.max_leakage
        if self.max_identification is not None:
            by["max_identification"] = identification - self.max_identification
        return by


def _standard_error(percent: float, images: int) -> float:
    """Of an accuracy on so many images, in points."""
    return math.sqrt(percent * (100 - percent) / images)
