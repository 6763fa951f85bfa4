"""What samplers are shown of a long search."""

from __future__ import annotations

import optuna
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from narl.core.pareto import non_dominated
from narl.search.memory import WindowedStorage

LIMIT = 8
outcomes = st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 3)))


@given(st.lists(outcomes, max_size=40))
def test_running_trials_the_front_and_the_latest_others_are_seen(results):
    study = optuna.create_study(storage=WindowedStorage(LIMIT), directions=["maximize", "minimize"])
    running = study.ask().number
    complete, rows = [], {}
    for values in results:
        trial = study.ask()
        if values is None:
            study.tell(trial, state=TrialState.FAIL)
            continue
        study.tell(trial, values)
        complete.append(trial.number)
        rows[trial.number] = (-values[0], values[1])
        seen = {t.number for t in study.get_trials(states=[TrialState.COMPLETE])}
        front = {complete[i] for i in non_dominated([rows[number] for number in complete])}
        assert len(seen) == min(LIMIT, len(complete))
        assert complete[-1] in seen or len(front) >= LIMIT  # a front that fills the window leaves no room
        if len(seen | front) <= LIMIT:
            assert front <= seen
    seen = study.get_trials(deepcopy=False)
    assert [t.number for t in seen] == sorted(t.number for t in seen)
    assert running in {t.number for t in seen} and TrialState.FAIL not in {t.state for t in seen}


def test_a_front_larger_than_the_window_loses_its_oldest():
    study = optuna.create_study(storage=WindowedStorage(3), directions=["minimize", "minimize"])
    for i in range(5):
        study.tell(study.ask(), (i, -i))
    assert [t.number for t in study.get_trials()] == [2, 3, 4]


def test_short_searches_are_seen_whole_so_proposals_are_those_of_a_plain_study():
    proposals = []
    for storage in (optuna.storages.InMemoryStorage(), WindowedStorage(30)):
        sampler = optuna.samplers.TPESampler(seed=0, multivariate=True, constant_liar=True)
        study = optuna.create_study(storage=storage, sampler=sampler, directions=["maximize", "minimize"])
        for _ in range(30):
            trial = study.ask()
            x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 0, 9)
            study.tell(trial, (x * n, n))
        proposals.append([trial.params for trial in study.get_trials()])
    assert proposals[0] == proposals[1]
