"""What of a record follows from other numbers of it, checked: a record that contradicts itself is no measurement."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from narl.core.records import TrialMetrics, TrialRecord

# Sums and differences of percentages differ by no more between two ways to compute them.
ROUNDING = 1e-4


def check_record(record: TrialRecord) -> None:
    """
    Raises:
        ValueError: the record contradicts itself; the message is the first contradiction.
    """
    if record.trial_id < 0:
        raise ValueError(f"trial_id is {record.trial_id}, below 0")
    if (record.status == "failed") != (record.error is not None):
        raise ValueError(f"status is {record.status} and error {record.error!r}")
    if record.metrics is not None:
        for contradiction in contradictions(record.metrics):
            raise ValueError(contradiction)


def contradictions(metrics: TrialMetrics) -> Iterator[str]:
    """What cannot be true of these numbers at once, in words."""
    yield from _ranges(metrics)
    yield from _equations(metrics)
    yield from _brackets(metrics)
    yield from _profile(metrics)


def _ranges(m: TrialMetrics) -> Iterator[str]:
    percentages = {
        name: getattr(m, name)
        for name in ("utility", "leakage", "strongest_adversary", "label_floor", "leakage_bound", "identification")
    }
    percentages |= {name: getattr(m, name) for name in ("utility_bound", "utility_chance", "private_chance")}
    percentages |= {f"adversary {name}": value for name, value in m.adversaries.items()}
    for share in ("leakage", "leakage_bound", "identification"):
        percentages |= _by_queries(share, getattr(m, f"{share}_at_queries"))
    for name, value in percentages.items():
        if value is not None and not -ROUNDING <= value <= 100 + ROUNDING:
            yield f"{name} is {value:g} %, not 0 to 100"
    amounts = {"feature_rms": m.feature_rms, "train_seconds": m.train_seconds, "attack_seconds": m.attack_seconds}
    amounts |= {"sigma_inference": m.sigma_inference or 0, **m.cost.known}
    for name, value in amounts.items():
        if not 0 <= value < math.inf:
            yield f"{name} is {value:g}, not 0 or more"
    if m.num_samples is not None and m.num_samples < 1:
        yield f"num_samples is {m.num_samples}, not 1 or more"


def _equations(m: TrialMetrics) -> Iterator[str]:
    if _differ(m.delta, m.utility - m.leakage):
        yield f"delta is {m.delta:g}, but utility {m.utility:g} less leakage {m.leakage:g} is {m.utility - m.leakage:g}"
    read = m.adversaries.values()
    if read and _differ(m.strongest_adversary, max(read)):
        yield f"strongest_adversary is {m.strongest_adversary:g}, but of adversaries one reads {max(read):g}"
    if read and all(_differ(m.delta_paper, m.utility - value) for value in read):
        yield f"delta_paper is {m.delta_paper:g}, which is utility {m.utility:g} less what no adversary reads"
    bound = 100.0 if m.leakage_bound is None else m.leakage_bound
    leakage = min(max(m.strongest_adversary, m.label_floor), bound)
    if _differ(m.leakage, leakage):
        yield (
            f"leakage is {m.leakage:g}, but of strongest_adversary {m.strongest_adversary:g}, label_floor "
            f"{m.label_floor:g} and leakage_bound {m.leakage_bound} it follows to be {leakage:g}"
        )


def _brackets(m: TrialMetrics) -> Iterator[str]:
    if m.private_chance is not None and m.private_chance > m.label_floor + ROUNDING:
        yield f"private_chance is {m.private_chance:g}, above label_floor {m.label_floor:g}, which names no less"
    bounds = {int(n): bound for n, bound in m.leakage_bound_at_queries.items()}
    for n, leakage in m.leakage_at_queries.items():
        if int(n) < 1:
            yield f"{n} answers are none"
        bound = bounds.get(int(n), 100.0)
        if leakage > bound + ROUNDING:
            yield f"leakage_at_queries of {n} is {leakage:g}, above its bound {bound:g}"
        if leakage < min(m.label_floor, bound) - ROUNDING:
            yield f"leakage_at_queries of {n} is {leakage:g}, below label_floor {m.label_floor:g}"


def _profile(m: TrialMetrics) -> Iterator[str]:
    sigmas = [level.sigma for level in m.sigma_profile]
    if any(sigma < 0 for sigma in sigmas) or sigmas != sorted(set(sigmas)):
        yield "sigma_profile is not of ascending σ from 0"
    for sigma, utility, leakage, bound in m.sigma_profile:
        if not all(0 <= value <= 100 for value in (utility, leakage, bound)) or leakage > bound:
            yield f"sigma_profile at {sigma:g} has utility {utility:g}, leakage {leakage:g} and bound {bound:g}"


def _by_queries(share: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{share}_at_queries of {n}": value for n, value in values.items()}


def _differ(a: float, b: float) -> bool:
    return not abs(a - b) <= ROUNDING
