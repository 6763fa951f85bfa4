"""Optuna's default sampler on narl's space, asked and told as Ray Tune's OptunaSearch does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from narl.core.objectives import objective
from narl.core.point import Point
from narl.core.records import TrialMetrics
from narl.search.samplers import silence_optuna
from narl.search.space import AffordableSpace


class _AsRayAsks:
    def __init__(self, space: AffordableSpace) -> None:
        silence_optuna()
        self._space, self._objectives = space, space.space.objectives
        directions = [objective(name).direction for name in self._objectives]
        sampler = optuna.samplers.TPESampler(seed=space.space.seed)
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._running: dict[int, Any] = {}

    def propose(self) -> tuple[int, Point]:
        trial = self._study.ask()
        point = self._space.propose(trial, conditional=True)
        self._running[trial.number] = trial
        return trial.number, point

    def progress(
        self, trial_id: int, phase: str, epoch: int, detail: str, *, deltas: Mapping[str, float] | None = None
    ) -> bool:
        return True

    def complete(self, trial_id: int, outcome: dict[str, Any]) -> None:
        metrics = TrialMetrics.from_json(outcome["metrics"])
        self._study.tell(self._running.pop(trial_id), [metrics.value(name) for name in self._objectives])


search = _AsRayAsks
