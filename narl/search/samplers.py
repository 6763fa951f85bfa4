"""Samplers by name: narl's own and Optuna's, seeded, ready for several objectives and several trials at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial

from narl.core.objectives import COST_NAMES, objective
from narl.core.records import nothing_of
from narl.sampler.front_sampler import FrontSampler
from narl.search.ledger import Ledger
from narl.search.space import AffordableSpace

# These model conditional parameters themselves; the others want the same parameters in every trial.
CONDITIONAL = frozenset({"front", "tpe", "random", "grid"})

# Complete trials that a sampler is shown (narl/search/memory.py). 600 keep TPE below 50 ms a proposal. Hypervolume of
# the simulated search after 1,500 trials, mean of 3 seeds (which differ by 0.5): all 313.9, 1,000 314.0, 600 313.8.
# Genetic samplers need every generation.
TRIALS_SEEN = {"front": 600, "tpe": 600}


def front_sampler(space: AffordableSpace, ledger: Ledger, seed: int) -> FrontSampler:
    """Make a sampler that models the one objective that is not a cost."""
    objectives = space.space.objectives
    costs: dict[frozenset[tuple[str, Any]], dict[int, float]] = {}

    def known(params: Mapping[str, Any]) -> dict[int, float]:
        """Costs, which σ, λ and weights of losses do not change: those differ from candidate to candidate."""
        key = frozenset(
            item for item in params.items() if not isinstance(space.distributions[item[0]], FloatDistribution)
        )
        if key not in costs:
            cost = space.cost(space.point(params))
            costs[key] = {i: cost.known[name] for i, name in enumerate(objectives) if name in COST_NAMES}
        return costs[key]

    def seconds(trial: FrozenTrial) -> float:
        """Without what it waited for. Optuna's trial may be one that repeats another's result."""
        number = trial.user_attrs.get("trial_id", trial.user_attrs.get("duplicate_of"))
        record = None if number is None else ledger.get(number)
        return (
            1.0
            if record is None or record.metrics is None
            else record.metrics.train_seconds + record.metrics.attack_seconds
        )

    def stopped(trial: FrozenTrial) -> float | None:
        record = ledger.get(trial.user_attrs.get("trial_id", -1))
        return None if record is None or record.stopped is None else record.stopped.expected

    def worst() -> float | None:
        """Δ of a client that sends nothing, which every trial tells."""
        if not any(objective(name).plain in ("delta", "delta_certified") for name in objectives):
            return None
        nothing = nothing_of(ledger.records)
        return None if nothing is None else nothing.delta

    return FrontSampler(
        space.distributions,
        space.draw,
        known=known,
        seconds=seconds,
        stopped=stopped,
        worst=worst,
        startup=_startup(space),
        seed=seed,
    )


def _startup(space: AffordableSpace) -> int:
    """Count the trials before a model is trusted: a quarter of the search, between 5 and 20."""
    return min(20, max(5, space.space.trials // 4))


def _population(space: AffordableSpace) -> int:
    """Choose a population that lets a short search have several generations."""
    return min(50, max(6, space.space.trials // 5))


SAMPLERS: dict[str, Callable[[AffordableSpace, Ledger, int], BaseSampler]] = {
    "front": front_sampler,
    # What every trial has (architecture, σ, λ) is modelled jointly; then the split point of the architecture drawn,
    # on the trials that have it. `group=True` is the same model, but draws every architecture's split point each time.
    "tpe": lambda space, ledger, seed: TPESampler(
        seed=seed, multivariate=True, constant_liar=True, n_startup_trials=_startup(space)
    ),
    "nsga2": lambda space, ledger, seed: NSGAIISampler(seed=seed, population_size=_population(space)),
    "nsga3": lambda space, ledger, seed: NSGAIIISampler(seed=seed, population_size=_population(space)),
    "gp": lambda space, ledger, seed: GPSampler(
        seed=seed, n_startup_trials=_startup(space), warn_independent_sampling=False
    ),
    "random": lambda space, ledger, seed: RandomSampler(seed=seed),
    # Every point once, in random order: the study draws them itself (narl/search/study.py).
    "grid": lambda space, ledger, seed: RandomSampler(seed=seed),
    "qmc": lambda space, ledger, seed: QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
}


def silence_optuna() -> None:
    """Keep Optuna quiet: narl's own view shows the trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
