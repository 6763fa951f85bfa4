"""The affordable, legal part of a search space, and a proposal of Optuna's as one point of it.

A cost depends on method, architecture, split point, image size and some of the method's settings alone, so what exceeds
a budget at the largest values of those settings is cut out of the space before the first proposal and can never be
trained. Each method is a space of its own; Optuna's names for its parameters begin with `METHOD.` if there are several.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from narl.config.search_space import SearchSpace
from narl.core.errors import ConfigError
from narl.core.method_options import METHODS
from narl.core.point import Point
from narl.core.records import ClientCost
from narl.methods.catalogue import halves_of
from narl.models.zoo import architecture, check_split
from narl.search.distributions import (
    Distribution,
    all_values,
    count,
    distribution_of_values,
    first_value,
    largest_value,
)
from narl.search.method_part import MethodPart

# Choices that change what the client runs.
_WORDS = ("bound", "noise")


@dataclass(frozen=True)
class AffordableSpace:
    """The methods that have a client within every budget."""

    space: SearchSpace
    parts: dict[str, MethodPart]

    @property
    def num_points(self) -> float:
        """How many distinct configurations there are; infinite if a value is continuous."""
        return sum(part.num_points for part in self.parts.values())

    def points(self) -> Iterator[Point]:
        """Every configuration, if they are finitely many."""
        return itertools.chain.from_iterable(part.points() for part in self.parts.values())

    @functools.cached_property
    def distributions(self) -> dict[str, Distribution]:
        """Of `method` and of each method's own parameters: those with more than one value."""
        every: dict[str, Distribution] = {"method": CategoricalDistribution(tuple(self.parts))}
        for method, part in self.parts.items():
            every |= {self._named(method, name): distribution for name, distribution in part.distributions.items()}
        return {name: distribution for name, distribution in every.items() if not distribution.single()}

    def propose(self, trial: optuna.trial.BaseTrial, *, conditional: bool) -> Point:
        """Draw one configuration from `trial`.

        Args:
            conditional: ask only for what the chosen method and architecture have. Samplers that need one fixed set of
                parameters get all of them asked for every time; those of the others have no effect.
        """
        chosen = self._draw(trial, "method", next(iter(self.parts)))
        proposals = {
            method: part.propose(self._drawing(trial, part), conditional=conditional)
            for method, part in self.parts.items()
            if method == chosen or not conditional
        }
        return proposals[chosen]

    def draw(self, random: np.random.Generator) -> dict[str, Any]:
        """Draw the Optuna parameters of one configuration: method, architecture and split point evenly, then values."""
        method = tuple(self.parts)[random.integers(len(self.parts))]
        values: dict[str, Any] = {"method": method}
        for name, value in self.parts[method].draw(random).items():
            values[self._named(method, name)] = value
        return {name: value for name, value in values.items() if name in self.distributions}

    def point(self, parameters: Mapping[str, Any]) -> Point:
        """Return the configuration that a trial with these Optuna parameters is about."""
        return self.propose(optuna.trial.FixedTrial(dict(parameters)), conditional=True)

    def parameters(self, config: Point, *, conditional: bool) -> dict[str, object]:
        """Return the Optuna parameters that make `propose` return `config`: what to enqueue to run it again."""
        values: dict[str, object] = {"method": config.method}
        for method, part in self.parts.items():
            if method == config.method or not conditional:
                own = part.parameters(config if method == config.method else None, conditional=conditional)
                values |= {self._named(method, name): value for name, value in own.items()}
        return {name: value for name, value in values.items() if name in self.distributions}

    def cost(self, config: Point) -> ClientCost:
        """Count what one image costs the client of `config`, which need not be within the budgets."""
        return _cost(config, self.space)

    def latency_ms(self, config: Point) -> float | None:
        """Look up what the client of `config` takes on the device that was measured; None if none was."""
        return _latency_ms(config, self.space)

    def _named(self, method: str, name: str) -> str:
        return f"{method}.{name}" if len(self.parts) > 1 else name

    def _drawing(self, trial: optuna.trial.BaseTrial, part: MethodPart) -> Callable[[str], Any]:
        """A value of `trial`'s for each parameter of one method, by the name that the method knows it by."""
        return lambda name: self._draw(trial, self._named(part.method, name), first_value(part.distributions[name]))

    def _draw(self, trial: optuna.trial.BaseTrial, name: str, only: Any) -> Any:
        """A value of `trial`'s for a parameter, or the `only` one there is."""
        match self.distributions.get(name):
            case None:
                return only
            case IntDistribution(low=low, high=high, log=log):
                return trial.suggest_int(name, low, high, log=log)
            case FloatDistribution(low=low, high=high, log=log):
                return trial.suggest_float(name, low, high, log=log)
            case CategoricalDistribution(choices=choices):
                return trial.suggest_categorical(name, choices)


def affordable(space: SearchSpace) -> AffordableSpace:
    """Check the architectures and split points of `space` and drop what its budgets exclude.

    Raises:
        ConfigError: an unknown architecture or split point, images too small for a network, a client that `measured`
            lacks, or nothing left within the budgets (the cheapest client is named).
    """
    whole = [_part(space, method) for method in space.method]
    if space.measured is not None:
        clients = itertools.chain.from_iterable(map(_clients, whole))
        space.measured.refuse_lacking(clients, space.pipeline.image.size)
    if space.sampler == "grid":
        _refuse_ranges(whole)
    costs = {client: _cost(client, space) for part in whole for client in _dearest(space, part)}
    within = {(client.method, client.arch, client.split) for client in costs} - {
        (client.method, client.arch, client.split)
        for client, cost in costs.items()
        if any(cost.known[budget] > limit for budget, limit in space.budgets.items())
    }
    if not within:
        budget = max(space.budgets, key=lambda b: min(c.known[b] for c in costs.values()) / space.budgets[b])
        client, cost = min(costs.items(), key=lambda item: item[1].known[budget])
        raise ConfigError(
            f"no client of the space is within its budgets {space.budgets}: the least {budget} is "
            f"{cost.known[budget]:.4g} ({client.method}, {client.arch} split {client.split})"
        )
    parts = {}
    for part in whole:
        kept = {
            arch: tuple(split for split in sorted(splits) if (part.method, arch, split) in within)
            for arch, splits in part.split_points.items()
        }
        if any(kept.values()):
            parts[part.method] = replace(part, split_points={arch: splits for arch, splits in kept.items() if splits})
    return AffordableSpace(space, parts)


def _refuse_ranges(parts: list[MethodPart]) -> None:
    for part in parts:
        for name, distribution in part.values.items():
            if not math.isfinite(count(distribution)):
                raise ConfigError(
                    f"sampler grid tries every value, and {name} of method {part.method} is a range: list its values"
                )


def _part(space: SearchSpace, method: str) -> MethodPart:
    """Build one method's part before any budget."""
    searched, options = space.of_method(method), METHODS[method]
    assert searched.architectures and searched.sigma and searched.lambda_  # `of_method` leaves none out
    split_points: dict[str, tuple[int, ...]] = {}
    for name, chosen in searched.architectures.items():
        every = architecture(name).split_points if chosen.split_points == "all" else chosen.split_points
        for split in every:
            check_split(name, split)
        split_points[name] = every if options.uses_split else (0,)
    values = {"sigma": distribution_of_values(searched.sigma), "lambda": distribution_of_values(searched.lambda_)}
    values |= {name: CategoricalDistribution(words) for name, words in searched.words.items()}
    for name, setting in searched.settings.items():
        values[name] = distribution_of_values(setting, whole=options.settings[name].whole)
    chosen_later = space.sigma_inference == "best" and options.noise_on_features
    best: Literal["best"] | None = "best" if chosen_later else None
    return MethodPart(method, split_points, values, space.seed, searched.clip_rms or 1.0, best)


def _dearest(space: SearchSpace, part: MethodPart) -> list[Point]:
    """Each client of a method, its settings at their largest values: no cost falls as a setting grows."""
    return list(_each_client(part, [name for name in part.values if name in _WORDS]))


def _clients(part: MethodPart) -> Iterator[Point]:
    """Each client of a method in each of its sizes."""
    sizes = [name for name, setting in METHODS[part.method].settings.items() if setting.whole]
    return _each_client(part, [name for name in part.values if name in (*_WORDS, *sizes)])


def _each_client(part: MethodPart, varied: Sequence[str]) -> Iterator[Point]:
    """Each client of a method with every value of what is `varied`, and the largest of the rest."""
    largest = {name: largest_value(distribution) for name, distribution in part.values.items()}
    choices = [all_values(part.values[name]) for name in varied]
    for arch, splits in part.split_points.items():
        for split, *values in itertools.product(splits, *choices):
            yield part.config(arch, split, largest | dict(zip(varied, values, strict=True)))


def _cost(config: Point, space: SearchSpace) -> ClientCost:
    # Noise and weights of losses cost nothing, so that trials which differ in no more share an entry of the cache. Of a
    # method's settings only sizes cost, which are whole numbers.
    known = METHODS[config.method].settings
    settings = {name: value if known[name].whole else known[name].default for name, value in config.settings.items()}
    same = {"sigma": 0.0, "lambda_": 0.0, "seed": 0, "sigma_inference": None, "settings": settings}
    client = config.model_copy(update=same)
    cost = _cost_of_client(client, space.pipeline.image.size, space.uplink_dtype)
    return replace(cost, client_latency_ms=_latency_ms(config, space))


def _latency_ms(config: Point, space: SearchSpace) -> float | None:
    return None if space.measured is None else space.measured.latency_ms(config, space.pipeline.image.size)


@functools.lru_cache(maxsize=4096)
def _cost_of_client(client: Point, size: int, uplink_dtype: str) -> ClientCost:
    return halves_of(client, size).cost(uplink_dtype)
