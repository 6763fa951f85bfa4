"""A search's study as it is kept: in an Optuna storage, where a resumed search and other programs find it.

Proposals never read it (narl/search/memory.py): it is read once, when a search begins, and then written a trial at a
time, in one transaction when the trial starts and one when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import optuna
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState

from narl.core.addresses import shown
from narl.core.errors import ConfigError, NarlError
from narl.core.objectives import Direction
from narl.storage.databases import cannot_open, engine_options, reason_of, with_driver, with_remedy


def _in_one_line(use: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method, so that `StudyDatabase.in_one_line` reports its errors."""

    @wraps(use)
    def guarded(self: StudyDatabase, *args: Any) -> Any:
        with self.in_one_line():
            return use(self, *args)

    return guarded


def _storage(url: str) -> optuna.storages.BaseStorage:
    options = engine_options(url)
    made = optuna.storages.RDBStorage(url, engine_kwargs=options) if options else url
    return optuna.storages.get_storage(made)


class StudyDatabase:
    """The study `name` at `url`, made if there is none.

    Args:
        url: any Optuna storage URL. One driver at a time may use a study.
        directions: of the objectives, `maximize` or `minimize`.

    Raises:
        ConfigError: it cannot be opened; the message holds no password.
    """

    def __init__(self, *, name: str, url: str, directions: Sequence[Direction]):
        self._url = url
        try:
            self._storage = _storage(with_driver(url))
            self._study = optuna.create_study(
                study_name=name,
                storage=self._storage,
                sampler=optuna.samplers.RandomSampler(),  # never asked
                directions=directions,
                load_if_exists=True,
            )
        except ConfigError:
            raise
        except Exception as error:  # each database driver has errors of its own
            raise cannot_open(url, error) from error
        self._num_trials = len(self.trials())

    @contextmanager
    def in_one_line(self) -> Iterator[None]:
        """Turn errors of the database, and of what is stored there, into a `NarlError` that says what to do.

        Optuna and SQLAlchemy have no error of their own for some of them.
        """
        try:
            yield
        except NarlError:
            raise
        except Exception as error:
            reason = with_remedy(self._url, reason_of(error, self._url, opened=True))
            raise NarlError(
                f"the study at {shown(self._url)!r} cannot be used: {reason}; finished trials are in the "
                "ledger, and `resume` continues"
            ) from error

    @_in_one_line
    def trials(self) -> list[FrozenTrial]:
        """Read every trial, by number from 0."""
        return self._study.get_trials(deepcopy=False)

    @_in_one_line
    def add(self, trial: FrozenTrial) -> None:
        """Append a trial, which gets the next number."""
        self._study.add_trial(trial)
        self._num_trials += 1

    @_in_one_line
    def end(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """Give a trial its final state."""
        for key, excess in (constraints or {}).items():
            # As `optuna.Trial.set_constraint` stores it, which only the trial that was asked for has.
            self._storage.set_trial_system_attr(self._id(number), f"{_CONSTRAINTS_KEY}:{key}", excess)
        self._storage.set_trial_state_values(self._id(number), state, values)

    @_in_one_line
    def write(self, trial: FrozenTrial) -> None:
        """Bring the trial of that number to `trial`'s state. The numbers of new trials follow one another."""
        if trial.number == self._num_trials:
            self.add(trial)
        elif trial.state.is_finished():
            self.end(trial.number, trial.state, trial.values, trial.constraints)
        else:
            self._start_waiting(trial)

    def _start_waiting(self, trial: FrozenTrial) -> None:
        """An enqueued trial begins: it was written without its parameters."""
        trial_id = self._id(trial.number)
        self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        for name, distribution in trial.distributions.items():
            internal = distribution.to_internal_repr(trial.params[name])
            self._storage.set_trial_param(trial_id, name, internal, distribution)
        for key, value in trial.user_attrs.items():
            self._storage.set_trial_user_attr(trial_id, key, value)

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
