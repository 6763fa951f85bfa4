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

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from narl.core.pareto import non_dominated
from narl.sampler.expected_gain import Array, Steps
from narl.sampler.feasibility import Feasibility, is_feasible
from narl.sampler.outlook import Costs, Outlook, outlook
from narl.sampler.surrogate import Encoding, Surrogate

Params = Mapping[str, Any]

CANDIDATES = 400
# Candidates near the best of the first, and how near, in units of a parameter's range.
NEAR, NEARNESS = 100, (0.02, 0.1)
# Complete trials that the model knows: the front and the latest of the others.
KNOWN_TRIALS = 400
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
        self._distributions, self._draw, self._known, self._seconds_of = dict(distributions), draw, known, seconds
        self._stopped, self._worst = stopped, worst
        self._startup, self._random = startup, np.random.default_rng(seed)
        self._encode, self._surrogate = Encoding(distributions), Surrogate(seed)
        self._feasibility = Feasibility(seed)
        self.outlook: Outlook | None = None
        """For the latest proposal; None if it was made without a model."""
        self._independent = RandomSampler(seed=seed)
        drawn_ones = [draw(self._random) for _ in range(CANDIDATES)]
        self._known_positions = set(known(drawn_ones[0]))
        some = np.array([self._costs(each) for each in drawn_ones])
        # The logarithm of nothing: as if it were half the least of all others.
        self._least = np.array([min(column[column > 0], default=1.0) / 2 for column in some.T])
        logs = np.log(np.maximum(some, self._least))
        self._low, self._span = logs.min(0), np.maximum(logs.max(0) - logs.min(0), 1e-12)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self.outlook = None
        if "fixed_params" in trial.system_attrs:
            return {}  # it is known what it will be
        seen = self._with_values(study)
        running = [t.params for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if t.params]
        params = [t.params for t, _ in seen]
        candidates = self._unseen([*params, *running])
        if len(seen) + len(running) < self._startup or len(seen) < 2:
            return dict(self._spread([*params, *running], candidates))
        sign = 1.0 if study.directions[self._position(study)] == StudyDirection.MAXIMIZE else -1.0
        values = _without_outliers(np.array([sign * value for _, value in seen]))
        members, model = self._learn(params, values, [t.constraints for t, _ in seen], running)
        worst = self._worst()
        front = members, float(values.min()) if worst is None else sign * worst
        seconds = self._seconds([t for t, _ in seen if t.state == TrialState.COMPLETE])
        gains = self._gain(candidates, front, model)
        best = candidates[self._soonest(candidates, gains, seconds)]
        near = [best, *(self._moved(best, scale) for scale in NEARNESS for _ in range(NEAR // len(NEARNESS)))]
        near_gains = self._gain(near, front, model)
        self.outlook = self._outlook([*candidates, *near], np.concatenate([gains, near_gains]), front)
        return dict(near[self._soonest(near, near_gains, seconds)])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._random = np.random.default_rng()
        self._independent.reseed_rng()

    def _unseen(self, seen: Sequence[Params]) -> list[Params]:
        """Draw candidates, those that were tried left out unless there are no others."""
        tried = {_key(params) for params in seen}
        candidates = [self._draw(self._random) for _ in range(CANDIDATES)]
        return [each for each in candidates if _key(each) not in tried] or candidates

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
        params: Sequence[Params],
        values: Array,
        excess: Sequence[Mapping[str, float]],
        running: Sequence[Params],
    ) -> tuple[list[tuple[Costs, float]], Surrogate]:
        """Costs and value of each member of the front, and a model; both count what still runs.

        Args:
            excess: by how much each trial misses constraints.
        """
        costs = [self._scaled(each) for each in params]
        admitted = [i for i, each in enumerate(excess) if is_feasible(each)]
        on_front = [admitted[i] for i in non_dominated([(*costs[i], -values[i]) for i in admitted])]
        members = set(on_front)
        latest = [i for i in range(len(params) - 1, -1, -1) if i not in members]
        kept = sorted([*on_front, *latest][:KNOWN_TRIALS])
        rows = self._rows([params[i] for i in kept], [costs[i] for i in kept])
        self._surrogate.fit(rows, values[kept])
        self._feasibility.fit(rows, [excess[i] for i in kept])
        front = [(costs[i], float(values[i])) for i in on_front]
        model = self._surrogate
        if running:
            running_costs = [self._scaled(each) for each in running]
            rows = self._rows(running, running_costs)
            expected, likely = model.predict(rows)[0], self._feasibility.probability(rows) > 0.5
            front += [(running_costs[i], float(expected[i])) for i in np.flatnonzero(likely)]
            model = model.add(rows)
        return front, model

    def _seconds(self, complete: Sequence[FrozenTrial]) -> Callable[[Costs], float]:
        """The geometric mean of the trials of the same costs, or of all trials; to the nearest power of two, so that
        a clock that is a little faster or slower changes nothing."""
        if self._seconds_of is None:
            return lambda costs: 1.0
        logs: dict[Costs, list[float]] = {}
        for trial in complete:
            log = float(np.log2(max(self._seconds_of(trial), 1e-3)))
            logs.setdefault(self._scaled(trial.params), []).append(log)
        every = [log for own in logs.values() for log in own] or [0.0]
        return lambda costs: 2.0 ** round(np.mean(logs.get(costs) or every))

    def _gain(
        self,
        candidates: Sequence[Params],
        front: tuple[list[tuple[Costs, float]], float],
        model: Surrogate,
    ) -> Array:
        """Of each candidate."""
        members, worst = front
        costs = [self._scaled(each) for each in candidates]
        rows = self._rows(candidates, costs)
        mean, std = model.predict(rows)
        gain = np.empty(len(candidates))
        for cost in set(costs):
            same = np.array([each == cost for each in costs])
            steps = Steps(cost, members, [REFERENCE] * len(cost), worst)
            gain[same] = steps.expected(mean[same], std[same])
        return gain * self._feasibility.probability(rows)

    def _soonest(self, candidates: Sequence[Params], gains: Array, seconds: Callable[[Costs], float]) -> int:
        """Which candidate gains most per second."""
        return int((gains / [seconds(self._scaled(each)) for each in candidates]).argmax())

    def _outlook(
        self, candidates: Sequence[Params], gains: Array, front: tuple[list[tuple[Costs, float]], float]
    ) -> Outlook:
        members, worst = front
        most = int(gains.argmax())
        return outlook(
            self._scaled(candidates[most]),
            float(gains[most]),
            members,
            worst=worst,
            reference=REFERENCE,
            noise=self._surrogate.noise,
        )

    def _spread(self, seen: Sequence[Params], candidates: Sequence[Params]) -> Params:
        """Choose a candidate of the costs that were tried least, far from what was tried."""
        tried = Counter(self._scaled(each) for each in seen)
        least = min(tried[self._scaled(each)] for each in candidates)
        rare = [each for each in candidates if tried[self._scaled(each)] == least]
        if not seen:
            return rare[0]
        distances = np.linalg.norm(self._encode(rare)[:, None] - self._encode(seen)[None], axis=2).min(1)
        return rare[int(distances.argmax())]

    def _rows(self, params: Sequence[Params], costs: Sequence[Costs]) -> Array:
        """Encode parameters, and their scaled costs beside them: what is alike in cost is alike in Δ."""
        return np.concatenate([self._encode(params), np.array(costs)], axis=1)

    def _costs(self, params: Params) -> Costs:
        return tuple(value for _, value in sorted(self._known(params).items()))

    def _scaled(self, params: Params) -> Costs:
        logs = np.log(np.maximum(self._costs(params), self._least))
        return tuple(((logs - self._low) / self._span).round(9).tolist())

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


def _key(params: Params) -> frozenset[tuple[str, Any]]:
    return frozenset(params.items())


def _without_outliers(values: Array) -> Array:
    low, high = np.quantile(values, [0.25, 0.75])
    return np.maximum(values, low - OUTLIER * max(high - low, 1e-9))
