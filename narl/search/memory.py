"""The study that proposals are made from: in memory, and of bounded size however long the search is."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence

from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from narl.core.pareto import Front


class WindowedStorage(InMemoryStorage):
    """One study; samplers see at most `limit` of its complete and pruned trials: the front, and the latest others.

    TPE's cost grows faster than the number of trials that it sees. Those that are hidden matter least to it: they are
    dominated, so they would be modelled with the worse nine tenths, where it weighs the older ones less anyway.
    Failed trials are hidden too: no sampler asks for them.
    """

    def __init__(self, limit: int):
        super().__init__()
        self._limit = limit
        self._seen: dict[int, None] = {}  # ids, in order
        self._ended: dict[int, None] = {}  # those of `_seen` that are complete or pruned
        self._front: Front[int] = Front()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = super().create_new_trial(study_id, template_trial)
        self._seen[trial_id] = None
        self._settle(study_id, trial_id)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        done = super().set_trial_state_values(trial_id, state, values)
        study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
        self._settle(study_id, trial_id)
        return done

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = [self.get_trial(trial_id) for trial_id in self._seen]
        chosen = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _settle(self, study_id: int, trial_id: int) -> None:
        """Hide what a trial that has just ended pushes out."""
        trial = self.get_trial(trial_id)
        if trial.state == TrialState.COMPLETE and all(excess <= 0 for excess in trial.constraints.values()):
            directions = self.get_study_directions(study_id)
            signs = [-1 if direction == StudyDirection.MAXIMIZE else 1 for direction in directions]
            self._front.add([sign * value for sign, value in zip(signs, trial.values, strict=True)], trial_id)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self._ended[trial_id] = None
            if len(self._ended) > self._limit:
                oldest = next((i for i in self._ended if i not in self._front), next(iter(self._ended)))
                del self._ended[oldest], self._seen[oldest]
        elif trial.state.is_finished():
            del self._seen[trial_id]
