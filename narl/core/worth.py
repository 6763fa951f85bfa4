"""Whether a client is worth more than one that sends nothing: this decides, for every front, figure and answer.

From nothing the server reads its label's largest class, and an attacker the private label's.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from narl.core.chance import most_by_luck


class Measured(Protocol):
    """What of a trial's or an evaluation's numbers this needs; see `narl.core.records.TrialMetrics`."""

    @property
    def utility(self) -> float: ...
    @property
    def delta(self) -> float: ...
    @property
    def label_floor(self) -> float: ...
    @property
    def leakage_bound(self) -> float | None: ...
    @property
    def utility_bound(self) -> float | None: ...
    @property
    def num_samples(self) -> int | None: ...
    @property
    def utility_chance(self) -> float | None: ...
    @property
    def private_chance(self) -> float | None: ...


class Nothing(NamedTuple):
    """What is read of a client that sends nothing, percent."""

    utility: float
    leakage: float

    @property
    def delta(self) -> float:
        return self.utility - self.leakage


def sending_nothing(measured: Measured) -> Nothing | None:
    """Tell what sending nothing would give on the same images; None where that was not recorded.

    Where no bound tells that z is needed to reach the label floor, leakage is the floor.
    """
    if measured.utility_chance is None or measured.private_chance is None:
        return None
    leakage = measured.label_floor if measured.leakage_bound is None else measured.private_chance
    return Nothing(measured.utility_chance, leakage)


def is_a_guess(measured: Measured) -> bool:
    """Tell whether the server reads no more than its label's largest class, but for luck, or nobody could (see
    `narl.core.chance`). False where that was not recorded."""
    if measured.utility_chance is None or measured.num_samples is None:
        return False
    bound = 100.0 if measured.utility_bound is None else measured.utility_bound
    return min(measured.utility, bound) <= most_by_luck(measured.utility_chance, measured.num_samples)


def why_worthless(measured: Measured) -> str:
    """Say why a client is no better than one that sends nothing; empty if it is better, or if nobody recorded that."""
    if is_a_guess(measured):
        share = f"naming the largest class, without z, scores {measured.utility_chance:.2f} %"
        if measured.utility_bound is not None and measured.utility_bound < measured.utility:
            return f"utility is a guess: nobody reads more than {measured.utility_bound:.2f} %, and {share}"
        return f"utility is a guess: {share}"
    nothing = sending_nothing(measured)
    if nothing is not None and measured.delta <= nothing.delta:
        return f"Δ {measured.delta:.2f} is no more than that of sending nothing, {nothing.delta:.2f}"
    return ""
