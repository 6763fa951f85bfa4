"""Syne Tune's MO-ASHA: random proposals; after 1 and 3 epochs the best third by non-dominated sorting goes on.

Its default priority returns the sorted trials where the scheduler expects a rank for each (0.16.0): it is given ranks.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, loguniform
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

from benchmarks.peers.flat_space import FlatSpace
from narl.core.point import Point
from narl.search.space import AffordableSpace

_TIME = "epoch"


class _Ranks(NonDominatedPriority):
    def priority_unsafe(self, objectives: np.ndarray) -> np.ndarray:
        return np.argsort(super().priority_unsafe(objectives))


class _MOASHA:
    def __init__(self, space: AffordableSpace) -> None:
        self._flat = flat = FlatSpace(space)
        np.random.seed(flat.seed)  # from which it draws
        self._scheduler = MOASHA(
            {
                "client": choice(list(range(len(flat.clients)))),
                "sigma": loguniform(*flat.range("sigma")),
                "lambda_": loguniform(*flat.range("lambda")),
            },
            metrics=list(flat.objectives),
            time_attr=_TIME,
            multiobjective_priority=_Ranks(),
            max_t=flat.epochs,
            random_seed=flat.seed,
        )
        self._numbers = itertools.count()
        self._running: dict[int, tuple[Trial, Point]] = {}

    def propose(self) -> tuple[int, Point]:
        config = self._scheduler.suggest().config
        trial = Trial(next(self._numbers), config, datetime.datetime.now())
        self._scheduler.on_trial_add(trial)
        point = self._flat.point(**config)
        self._running[trial.trial_id] = trial, point
        return trial.trial_id, point

    def progress(
        self, trial_id: int, phase: str, epoch: int, detail: str, *, deltas: Mapping[str, float] | None = None
    ) -> bool:
        if deltas is None:
            return True
        trial, point = self._running[trial_id]
        losses = self._flat.losses(point, deltas[self._flat.objectives[0]])
        goes_on = self._scheduler.on_trial_result(trial, self._result(epoch + 1, losses)) != SchedulerDecision.STOP
        if not goes_on:
            self._scheduler.on_trial_remove(trial)
            del self._running[trial_id]
        return goes_on

    def complete(self, trial_id: int, outcome: dict[str, Any]) -> None:
        trial, point = self._running.pop(trial_id)
        losses = self._flat.final_losses(point, outcome)
        self._scheduler.on_trial_complete(trial, self._result(self._flat.epochs, losses))

    def _result(self, epochs: int, losses: list[float]) -> dict[str, float]:
        return {_TIME: epochs, **dict(zip(self._flat.objectives, losses, strict=True))}


search = _MOASHA
