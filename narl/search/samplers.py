"""Optuna's samplers by name, seeded, ready for several objectives and several trials at once."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    # What every trial has (architecture, σ, λ) is modelled jointly; then the split point of the architecture drawn,
    # on the trials that have it. `group=True` is the same model, but draws every architecture's split point each time.
    "tpe": lambda seed, trials: TPESampler(
        seed=seed, multivariate=True, constant_liar=True, n_startup_trials=_startup(trials)
    ),
    "nsga2": lambda seed, trials: NSGAIISampler(seed=seed, population_size=_population(trials)),
    "nsga3": lambda seed, trials: NSGAIIISampler(seed=seed, population_size=_population(trials)),
    "gp": lambda seed, trials: GPSampler(seed=seed, n_startup_trials=_startup(trials), warn_independent_sampling=False),
    "random": lambda seed, trials: RandomSampler(seed=seed),
    # Every point once, in random order: the study draws them itself (narl/search/study.py).
    "grid": lambda seed, trials: RandomSampler(seed=seed),
    "qmc": lambda seed, trials: QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
}

# These model conditional parameters themselves; the others want the same parameters in every trial.
CONDITIONAL = frozenset({"tpe", "random", "grid"})

# Complete trials that a sampler is shown (narl/search/memory.py). 600 keep TPE below 50 ms a proposal. Hypervolume of
# the simulated search after 1,500 trials, mean of 3 seeds (which differ by 0.5): all 313.9, 1,000 314.0, 600 313.8.
# Genetic samplers need every generation.
TRIALS_SEEN = {"tpe": 600}


def make_sampler(name: str, *, seed: int, trials: int) -> BaseSampler:
    """Make the sampler of that name for a search of about `trials` trials."""
    return SAMPLERS[name](seed, trials)


def _startup(trials: int) -> int:
    """Random trials before a model is trusted: a quarter of the search, between 5 and 20."""
    return min(20, max(5, trials // 4))


def _population(trials: int) -> int:
    """A population that lets a short search have several generations."""
    return min(50, max(6, trials // 5))


def silence_optuna() -> None:
    """Keep Optuna quiet: narl's own view shows the trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
