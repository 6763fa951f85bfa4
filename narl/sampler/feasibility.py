"""How likely it is that a configuration that has not been tried meets every constraint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from narl.sampler.expected_gain import Array
from narl.sampler.surrogate import Surrogate

Excess = Mapping[str, float]


def is_feasible(excess: Excess) -> bool:
    """Tell whether every constraint is met, in Optuna's terms: by how much each is missed, 0 or less if it is met."""
    return all(by <= 0 for by in excess.values())


class Feasibility:
    """A Gaussian process for each constraint, over by how much it was met or missed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._models: dict[str, Surrogate] = {}

    def fit(self, rows: Array, excess: Sequence[Excess]) -> None:
        """Take in rows [N, D] and, of each, by how much constraints were missed; a row that tells nothing is left out."""
        for key in sorted({key for each in excess for key in each}):
            told = [i for i, each in enumerate(excess) if key in each]
            if len(told) >= 2:
                model = self._models.setdefault(key, Surrogate(self._seed))
                model.fit(rows[told], np.array([excess[i][key] for i in told]))

    def probability(self, rows: Array) -> Array:
        """Compute the probability that rows [N, D] meet all constraints, [N]; 1 where there are none."""
        met = np.ones(len(rows))
        for model in self._models.values():
            excess, std = model.predict(rows)
            met *= norm.cdf(-excess / std)
        return met
