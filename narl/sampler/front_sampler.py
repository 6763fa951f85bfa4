"""An Optuna sampler for several objectives of which all but one are known before a trial runs.

Costs of a client follow from its architecture, so only Δ is modelled, and what a trial is expected to add to the front
is exact (narl/sampler/expected_gain.py). It is divided by the seconds that the trial is expected to take: those that
trials of the same costs took. Conditional spaces need no special treatment: candidates are drawn by the caller's own function. Where trials have
constraints (`optuna.Trial.set_constraint`), those that miss one are on no front, and the gain is multiplied by the
probability that each is met (Gardner et al., Bayesian optimization with inequality constraints, ICML 2014). It works in
any Optuna study:

    sampler = FrontSampler(distributions, draw, known=lambda params: {1: gflops(params)}, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from narl.core.pareto import non_dominated
from narl.sampler.configurations import Configuration, Configurations, Costs, Params, as_rows
from narl.sampler.expected_gain import Array, Steps
from narl.sampler.feasibility import Feasibility, is_feasible
from narl.sampler.outlook import Outlook, outlook
from narl.sampler.surrogate import Surrogate

CANDIDATES = 400
# Candidates near the best of the first, and how near, in units of a parameter's range.
NEAR, NEARNESS = 100, (0.02, 0.1)
# Complete trials that the model knows: the front and the latest of the others.
KNOWN_TRIALS = 400
# Running trials that lessen the model's doubt: the latest. All of them count as members of the front that is expected.
KNOWN_RUNNING = 100
# Costs are compared by their logarithm, scaled to [0, 1] over all candidates; the dearest client gains a little, too.
REFERENCE = 1.1
# Values this far below the middle half, in its widths, are taken for that far: a failure must not bend the model.
OUTLIER = 1.5


class FrontSampler(BaseSampler):
    """Proposes what enlarges the front most per second.

    Args:
        distributions: of every parameter that a trial can have.
        draw: draws the parameters of one legal configuration at random; see `drawn_from` for a space without conditions.
        known: values of the objectives that are known before, by their position, >= 0. All but one.
        seconds: that a complete trial took, above 0; None: all take the same.
        stopped: value that a pruned trial was expected to reach; None: pruned trials say nothing.
        worst: value at which nothing is gained, once it is known; until then, or without it, the worst that was seen.
        startup: so many trials are spread over the clients before the model is trusted.
        seed: of all draws.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        draw: Callable[[np.random.Generator], Params],
        *,
        known: Callable[[Params], Mapping[int, float]],
        seconds: Callable[[FrozenTrial], float] | None = None,
        stopped: Callable[[FrozenTrial], float | None] = lambda trial: None,
        worst: Callable[[], float | None] = lambda: None,
        startup: int = 8,
        seed: int = 0,
    ) -> None:
        self._distributions, self._draw, self._seconds_of = dict(distributions), draw, seconds
        self._stopped, self._worst = stopped, worst
        self._startup, self._random = startup, np.random.default_rng(seed)
        self._surrogate = Surrogate(seed)
        self._feasibility = Feasibility(seed)
        self.outlook: Outlook | None = None
        """For the latest proposal; None if it was made without a model."""
        self._independent = RandomSampler(seed=seed)
        some = [draw(self._random) for _ in range(CANDIDATES)]
        self._known_positions = set(known(some[0]))
        self._configurations = Configurations(distributions, known, some)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self.outlook = None
        if "fixed_params" in trial.system_attrs:
            return {}  # it is known what it will be
        told = self._with_values(study)
        asked = [t.params for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if t.params]
        tried = self._configurations.tried([*(t.params for t, _ in told), *asked])
        seen, running = tried[: len(told)], tried[len(told) :]
        candidates = self._unseen()
        if len(tried) < self._startup or len(seen) < 2:
            return dict(self._spread(tried, candidates).params)
        sign = 1.0 if study.directions[self._position(study)] == StudyDirection.MAXIMIZE else -1.0
        values = _without_outliers(np.array([sign * value for _, value in told]))
        members, model = self._learn(seen, values, [t.constraints for t, _ in told], running)
        worst = self._worst()
        front = members, float(values.min()) if worst is None else sign * worst
        complete = [(each.costs, t) for each, (t, _) in zip(seen, told, strict=True) if t.state == TrialState.COMPLETE]
        seconds = self._seconds(complete)
        gains = self._gain(candidates, front, model)
        best = candidates[self._soonest(candidates, gains, seconds)]
        moved = (self._moved(best.params, scale) for scale in NEARNESS for _ in range(NEAR // len(NEARNESS)))
        near = [best, *map(self._configurations.describe, moved)]
        near_gains = self._gain(near, front, model)
        self.outlook = self._outlook([*candidates, *near], np.concatenate([gains, near_gains]), front)
        return dict(near[self._soonest(near, near_gains, seconds)].params)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._random = np.random.default_rng()
        self._independent.reseed_rng()

    def _unseen(self) -> list[Configuration]:
        """Draw candidates, those that were tried left out unless there are no others."""
        candidates = [self._draw(self._random) for _ in range(CANDIDATES)]
        unseen = [each for each in candidates if not self._configurations.was_tried(each)] or candidates
        return list(map(self._configurations.describe, unseen))

    def _with_values(self, study: Study) -> list[tuple[FrozenTrial, float]]:
        """Trials that tell something, with their value of the unknown objective."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        position = self._position(study)
        values = [t.values[position] if t.state == TrialState.COMPLETE else self._stopped(t) for t in ended]
        return [(t, value) for t, value in zip(ended, values, strict=True) if value is not None]

    def _position(self, study: Study) -> int:
        """Of the one objective that is not known before."""
        unknown = set(range(len(study.directions))) - self._known_positions
        if len(unknown) != 1:
            raise ValueError(f"all objectives but one must be known before a trial runs; {len(unknown)} are not")
        return unknown.pop()

    def _learn(
        self,
        seen: Sequence[Configuration],
        values: Array,
        excess: Sequence[Mapping[str, float]],
        running: Sequence[Configuration],
    ) -> tuple[list[tuple[Costs, float]], Surrogate]:
        """Costs and value of each member of the front, and a model; both count what still runs.

        Args:
            excess: by how much each trial misses constraints.
        """
        on_front = _on_front(
            [each.costs for each in seen], values, [i for i, each in enumerate(excess) if is_feasible(each)]
        )
        members = set(on_front)
        latest = [i for i in range(len(seen) - 1, -1, -1) if i not in members]
        kept = sorted([*on_front, *latest][:KNOWN_TRIALS])
        rows = as_rows([seen[i] for i in kept])
        self._surrogate.fit(rows, values[kept])
        self._feasibility.fit(rows, [excess[i] for i in kept])
        front = [(seen[i].costs, float(values[i])) for i in on_front]
        if not running:
            return front, self._surrogate
        rows = as_rows(running)
        expected, likely = self._surrogate.expect(rows), self._feasibility.probability(rows) > 0.5
        front += [(running[i].costs, float(expected[i])) for i in np.flatnonzero(likely).tolist()]
        joined = _on_front([costs for costs, _ in front], np.array([value for _, value in front]), range(len(front)))
        return [front[i] for i in joined], self._surrogate.add(rows[-KNOWN_RUNNING:])

    def _seconds(self, complete: Sequence[tuple[Costs, FrozenTrial]]) -> Callable[[Costs], float]:
        """The geometric mean of the trials of the same costs, or of all trials; to the nearest power of two, so that
        a clock that is a little faster or slower changes nothing."""
        if self._seconds_of is None:
            return lambda costs: 1.0
        logs: dict[Costs, list[float]] = {}
        for costs, trial in complete:
            logs.setdefault(costs, []).append(math.log2(max(self._seconds_of(trial), 1e-3)))
        every = [log for own in logs.values() for log in own] or [0.0]
        typical = {costs: 2.0 ** round(np.mean(own)) for costs, own in logs.items()}
        otherwise = 2.0 ** round(np.mean(every))
        return lambda costs: typical.get(costs, otherwise)

    def _gain(
        self,
        candidates: Sequence[Configuration],
        front: tuple[list[tuple[Costs, float]], float],
        model: Surrogate,
    ) -> Array:
        """Of each candidate."""
        members, worst = front
        rows, costs = as_rows(candidates), [each.costs for each in candidates]
        mean, std = model.predict(rows)
        gain = np.empty(len(candidates))
        for cost in set(costs):
            same = np.array([each == cost for each in costs])
            steps = Steps(cost, members, [REFERENCE] * len(cost), worst)
            gain[same] = steps.expected(mean[same], std[same])
        return gain * self._feasibility.probability(rows)

    def _soonest(self, candidates: Sequence[Configuration], gains: Array, seconds: Callable[[Costs], float]) -> int:
        """Which candidate gains most per second."""
        return int((gains / [seconds(each.costs) for each in candidates]).argmax())

    def _outlook(
        self, candidates: Sequence[Configuration], gains: Array, front: tuple[list[tuple[Costs, float]], float]
    ) -> Outlook:
        members, worst = front
        most = int(gains.argmax())
        return outlook(
            candidates[most].costs,
            float(gains[most]),
            members,
            worst=worst,
            reference=REFERENCE,
            noise=self._surrogate.noise,
        )

    def _spread(self, tried: Sequence[Configuration], candidates: Sequence[Configuration]) -> Configuration:
        """Choose a candidate of the costs that were tried least, far from what was tried."""
        times = Counter(each.costs for each in tried)
        least = min(times[each.costs] for each in candidates)
        rare = [each for each in candidates if times[each.costs] == least]
        if not tried:
            return rare[0]
        own, others = (np.array([each.encoded for each in some]) for some in (rare, tried))
        distances = np.linalg.norm(own[:, None] - others[None], axis=2).min(1)
        return rare[int(distances.argmax())]

    def _moved(self, params: Params, scale: float) -> Params:
        """Move continuous parameters a little."""
        moved = dict(params)
        for name, value in params.items():
            distribution = self._distributions[name]
            if isinstance(distribution, FloatDistribution):
                low, high = distribution.low, distribution.high
                if distribution.log:
                    factor = (high / low) ** (scale * self._random.standard_normal())
                    moved[name] = float(np.clip(value * factor, low, high))
                else:
                    moved[name] = float(
                        np.clip(value + (high - low) * scale * self._random.standard_normal(), low, high)
                    )
        return moved


def drawn_from(distributions: Mapping[str, BaseDistribution]) -> Callable[[np.random.Generator], Params]:
    """Make a `draw` for a space in which every trial has every parameter."""
    return lambda random: {name: drawn(distribution, random) for name, distribution in distributions.items()}


def drawn(distribution: BaseDistribution, random: np.random.Generator) -> Any:
    """Draw a value, uniformly or by its logarithm."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices[random.integers(len(choices))]
        case IntDistribution(low=low, high=high, log=log) if not log:
            return int(random.integers(low, high + 1))
        case IntDistribution(low=low, high=high):
            return int(np.clip(np.rint(np.exp(random.uniform(np.log(low), np.log(high)))), low, high))
        case FloatDistribution(low=low, high=high, log=log):
            value = np.exp(random.uniform(np.log(low), np.log(high))) if log else random.uniform(low, high)
            return float(np.clip(value, low, high))
    raise ValueError(f"unknown distribution {distribution}")


def _on_front(costs: Sequence[Costs], values: Array, among: Iterable[int]) -> list[int]:
    """Find those that no other one beats, ascending; one of those that are alike. Few clients differ in costs."""
    best: dict[Costs, int] = {}
    for i in among:
        if costs[i] not in best or values[i] > values[best[costs[i]]]:
            best[costs[i]] = i
    chosen = sorted(best.values())
    return [chosen[i] for i in non_dominated([(*costs[i], -values[i]) for i in chosen])]


def _without_outliers(values: Array) -> Array:
    low, high = np.quantile(values, [0.25, 0.75])
    return np.maximum(values, low - OUTLIER * max(high - low, 1e-9))
