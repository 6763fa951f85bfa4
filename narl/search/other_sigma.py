"""A trial's client with the noise of another σ than it was measured with: what the σ profile of its record tells.

A profile has, in closed form, what is read of the client at each of some σ. So a client that leaks too much as it was
measured may be good for the question with more noise, and one whose utility is too low with less.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from narl.core.chance import most_by_luck
from narl.core.constraints import Constraints
from narl.core.records import NETWORKS_TAG, TrialMetrics, TrialRecord
from narl.core.sigma_choice import best_sigma

IN_CLOSED_FORM = "at this σ in closed form, from the profile of the trial; no network has attacked"


def meeting(record: TrialRecord, asked: Constraints) -> TrialRecord:
    """Give the client the best σ at which it meets bounds that it misses; as it is if it meets them, or none does.

    The profile's numbers are of the images that the trial was measured on. As networks read a little otherwise, a level
    has to meet a bound by a standard error of its accuracy (`Constraints.excess_in_closed_form`).

    Args:
        asked: bounds of utility and leakage; of identification the profile says nothing.
    """
    m = record.metrics
    if m is None or m.num_samples is None or not m.sigma_profile or not asked.why_missed(m):
        return record
    missed = partial(asked.excess_in_closed_form, images=m.num_samples)
    fitting = [level for level in m.sigma_profile if missed(level) == 0]
    if not fitting:
        return record
    guess = 0.0 if m.utility_chance is None else most_by_luck(m.utility_chance, m.num_samples)
    sigma = best_sigma(fitting, guess)
    (level,) = (level for level in fitting if level.sigma == sigma)
    return replace(
        record,
        config=record.config.at_inference(sigma),
        metrics=_at(m, level.sigma, level.utility, level.leakage, level.bound),
        tags={**{name: tag for name, tag in record.tags.items() if name != NETWORKS_TAG}, "doubts": IN_CLOSED_FORM},
    )


def is_in_closed_form(record: TrialRecord) -> bool:
    """Whether its numbers are those of `meeting`."""
    return record.tags.get("doubts") == IN_CLOSED_FORM


def _at(m: TrialMetrics, sigma: float, utility: float, leakage: float, bound: float) -> TrialMetrics:
    """What is known at that σ; nothing else is said of it."""
    return replace(
        m,
        sigma_inference=sigma,
        utility=utility,
        leakage=leakage,
        leakage_bound=bound,
        strongest_adversary=leakage,
        adversaries={"bayes": leakage},
        delta=utility - leakage,
        delta_paper=utility - leakage,
        snr_db=None,
        utility_bound=None,
        identification=None,
        leakage_at_queries={},
        leakage_bound_at_queries={},
        identification_at_queries={},
    )
