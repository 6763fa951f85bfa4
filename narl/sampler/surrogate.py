"""What is expected of a configuration that has not been tried: a Gaussian process over its encoded parameters.

scikit-learn's, with a Matérn kernel of one length scale a feature; its hyperparameters are fitted anew when there are a
fifth more trials than at the last fit, on at most `FITTED_ON` of them.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from narl.sampler.expected_gain import Array

FITTED_ON = 120


class Encoding:
    """Parameters as numbers from 0 to 1: a column each, one a choice for words; 0 for what a configuration lacks.

    Args:
        distributions: of every parameter that there can be.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._columns = [(name, *_encoder(distribution)) for name, distribution in sorted(distributions.items())]

    def __call__(self, params: Mapping[str, Any]) -> list[float]:
        encoded: list[float] = []
        for name, encode, width in self._columns:
            encoded += encode(params[name]) if name in params else width * [0.0]
        return encoded


def _encoder(distribution: BaseDistribution) -> tuple[Callable[[Any], Sequence[float]], int]:
    """How a value of a parameter is encoded, and in how many columns."""
    match distribution:
        case CategoricalDistribution(choices=choices) if all(isinstance(choice, int | float) for choice in choices):
            ordered = np.sort(np.array(choices, dtype=float)).tolist()  # a list of σ has an order
            ranks = {choice: [i / max(1, len(choices) - 1)] for i, choice in enumerate(ordered)}
            return ranks.__getitem__, 1
        case CategoricalDistribution(choices=choices):
            one_hot = dict(zip(choices, np.eye(len(choices)).tolist(), strict=True))
            return one_hot.__getitem__, len(choices)
        case FloatDistribution() | IntDistribution():
            return functools.partial(_unit, distribution=distribution), 1
    raise ValueError(f"unknown distribution {distribution}")


def _unit(value: float, distribution: FloatDistribution | IntDistribution) -> list[float]:
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return [(value - low) / (high - low) if high > low else 0.5]


class Surrogate:
    """Mean and standard deviation of a value, from those that were seen."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kernel: Any = None
        self._fitted_on = 0

    def fit(self, rows: Array, values: Array) -> None:
        """Take in what was seen: rows [N, D] and values [N], N >= 2."""
        self._shift, self._scale = values.mean(), values.std() or 1.0
        scaled = (values - self._shift) / self._scale
        if self._kernel is None or len(rows) >= 1.2 * self._fitted_on:
            chosen = np.random.default_rng(self._seed).permutation(len(rows))[:FITTED_ON]
            self._kernel = self._tuned(rows[chosen], scaled[chosen])
            self._fitted_on = len(rows)
        self._process = GaussianProcessRegressor(self._kernel, optimizer=None).fit(rows, scaled)

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement about what is expected, as fitted."""
        return math.sqrt(self._kernel.k2.noise_level) * float(self._scale)

    def add(self, rows: Array) -> Surrogate:
        """Return a copy that takes rows [N, D] for seen, each with the value that is expected of it."""
        other = Surrogate(self._seed)
        other._kernel, other._fitted_on = self._kernel, self._fitted_on
        other._shift, other._scale = self._shift, self._scale
        seen, values = self._process.X_train_, self._process.y_train_
        believed = self._process.predict(rows)
        process = GaussianProcessRegressor(self._kernel, optimizer=None)
        other._process = process.fit(np.concatenate([seen, rows]), np.concatenate([values, believed]))
        return other

    def expect(self, rows: Array) -> Array:
        """Predict the mean alone, [N]: much less work."""
        return np.asarray(self._process.predict(rows) * self._scale + self._shift)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Predict mean and standard deviation of the value without its own scatter, [N] each."""
        mean, std = self._process.predict(rows, return_std=True)
        noise = self._kernel.k2.noise_level
        without = np.sqrt(np.maximum(std**2 - noise, 1e-8))
        return mean * self._scale + self._shift, without * self._scale

    def _tuned(self, rows: Array, values: Array) -> Any:
        # Starting values and ranges for inputs in [0, 1] and standardised values.
        kernel = self._kernel or ConstantKernel(1.0, (0.05, 20.0)) * Matern(
            [1.0] * rows.shape[1], (0.1, 20.0), nu=2.5
        ) + WhiteKernel(0.1, (1e-3, 1.0))
        process = GaussianProcessRegressor(kernel, random_state=self._seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound says: of no matter
            return process.fit(rows, values).kernel_
