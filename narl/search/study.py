"""A search's Optuna study: proposals out, results in, nothing left RUNNING, nothing run twice.

The ledger is the truth and the study follows it: a study is brought into line with the ledger when it is opened,
so a driver killed at any moment costs at most the trials that were running. The study exists twice: proposals are made
from a copy in memory, and each trial is written to the database when it starts and when it ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from narl.core.errors import ConfigError
from narl.core.objectives import Direction, objective
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.core.seeds import derive_seed
from narl.sampler.outlook import Outlook
from narl.search.database import StudyDatabase
from narl.search.ledger import Ledger, superseded
from narl.search.memory import WindowedStorage
from narl.search.samplers import CONDITIONAL, SAMPLERS, TRIALS_SEEN, silence_optuna
from narl.search.space import AffordableSpace

# After so many proposals already seen in a row, an unseen point is drawn at random instead.
MAX_DUPLICATES_IN_A_ROW = 20
# If none of so many draws from a range is unseen, the range has no more numbers.
MAX_DRAWS = 1000


class SearchStudy:
    """Ask and tell, in terms of `Point` and `TrialRecord`.

    Args:
        url: any Optuna storage URL. One driver at a time may use a study.
        ledger: what has finished so far; appended to by `tell`.
        inherited: trials that ran elsewhere, by number: unfinished ones are the first to be asked for.
        first: configurations of the space that a new search begins with.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        space: AffordableSpace,
        ledger: Ledger,
        inherited: Mapping[int, Point] | None = None,
        first: Sequence[Point] = (),
    ):
        silence_optuna()
        self._name = name
        self._space = space
        self._ledger = ledger
        self._objectives = space.space.objectives
        self.constraints = space.space.constraints
        """Of the search."""
        self._conditional = space.space.sampler in CONDITIONAL
        self._running: dict[int, tuple[optuna.Trial, Point]] = {}
        self._retries: dict[int, int] = {}  # trial id -> the failed trial that it repeats
        self._outlook: Outlook | None = None
        self._to_retry: set[int] = set()  # failed trials that shall be repeated and have not been
        self._finished = {record.config.content_hash: record for record in ledger.records}
        self._inherited = {
            number: config
            for number, config in (inherited or {}).items()
            if ledger.get(number) is None and config.content_hash not in self._finished
        }
        numbers = [*self._inherited, *(record.trial_id for record in ledger.records)]
        self._next_id = 1 + max(numbers, default=-1)
        directions = [objective(name).direction for name in self._objectives]
        self._database = StudyDatabase(name=name, url=url, directions=directions)
        with self._database.in_one_line():  # what is stored there may be anything
            begins = first if first and not len(ledger) and not self._database.trials() else ()
            self._follow_ledger()
            for config in begins:
                self._database.add(_waiting(self._space.parameters(config, conditional=self._conditional), {}))
            self._study = self._in_memory(directions)

    def ask(self) -> tuple[int, Point] | None:
        """Return a trial id and a configuration never run before, or None if the space is exhausted."""
        self._outlook = None
        for _ in range(MAX_DUPLICATES_IN_A_ROW):
            if self._exhausted():
                return None
            if self._space.space.sampler == "grid":
                self._enqueue_unseen()
            asked = self._ask_once()
            if asked is not None:
                return asked
        return self._ask_once() if self._enqueue_unseen() else None

    def retry_failed(self) -> int:
        """Queue every failed configuration to run once more, under a new number; returns how many there are."""
        repeated = superseded(self._ledger.records)
        failed = [r for r in self._ledger.records if r.status == "failed" and r.trial_id not in repeated]
        self._to_retry = {record.trial_id for record in failed}
        for record in failed:
            self._finished.pop(record.config.content_hash, None)
            params = self._space.parameters(record.config, conditional=self._conditional)
            self._study.enqueue_trial(params, user_attrs={"retry_of": record.trial_id})
        return len(failed)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Of the search."""
        return self._objectives

    def latency_ms(self, config: Point) -> float | None:
        """Of a configuration's client on the device that the search measured, if it did."""
        return self._space.latency_ms(config)

    @property
    def outlook(self) -> Outlook | None:
        """What the sampler expected when it was last asked, if it has a model."""
        return self._outlook

    @property
    def num_to_retry(self) -> int:
        """How many failed trials shall be repeated and have not been."""
        return len(self._to_retry)

    @property
    def unfinished(self) -> dict[int, Point]:
        """List the trials that are in no ledger, by number, except repetitions, which are asked for anew."""
        running = {i: config for i, (_, config) in list(self._running.items()) if i not in self._retries}
        return {**self._inherited, **running}

    def retry_of(self, trial_id: int) -> int | None:
        """Return the failed trial that a trial repeats, if it repeats one."""
        return self._retries.get(trial_id)

    def tell(self, record: TrialRecord) -> None:
        """Tell the ledger first, then the study: the next start mends a crash between the two."""
        trial, config = self._running.pop(record.trial_id)
        self._ledger.append(record)
        self._finished[config.content_hash] = record
        self._to_retry.discard(self._retries.get(record.trial_id, -1))
        self._tell(trial, record)

    def _ask_once(self) -> tuple[int, Point] | None:
        """One proposal, or None if it repeats a known configuration, whose result is then told again."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask()
            config = self._space.propose(trial, conditional=self._conditional)
        self._outlook = getattr(self._study.sampler, "outlook", None) or self._outlook
        known = self._finished.get(config.content_hash)
        if known is not None:
            trial.set_user_attr("duplicate_of", known.trial_id)
            self._tell(trial, known)
            return None
        if any(config == running for _, running in self._running.values()):
            trial.set_user_attr("duplicate_of_running", True)
            self._database.write(self._study.tell(trial, state=TrialState.FAIL))
            return None
        trial_id = trial.user_attrs.get("trial_id")
        if trial_id is None:
            trial_id, self._next_id = self._next_id, self._next_id + 1
            trial.set_user_attr("trial_id", trial_id)
        self._database.write(self._memory.get_trial(trial._trial_id))
        self._running[trial_id] = (trial, config)
        self._inherited.pop(trial_id, None)
        if "retry_of" in trial.user_attrs:
            self._retries[trial_id] = trial.user_attrs["retry_of"]
        return trial_id, config

    def _exhausted(self) -> bool:
        return len(self._finished) + len(self._running) >= self._space.num_points

    def _enqueue_unseen(self) -> bool:
        parameters = self._unseen_parameters()
        if parameters is not None:
            self._study.enqueue_trial(parameters)
        return parameters is not None

    def _unseen_parameters(self) -> dict[str, object] | None:
        """Of a configuration drawn at random; None if there is none, as far as draws can tell."""
        seen = set(self._finished) | {config.content_hash for _, config in self._running.values()}
        random = np.random.default_rng(derive_seed(self._space.space.seed, "unseen", len(seen)))
        chosen: Point | None
        if np.isfinite(self._space.num_points):
            unseen = [point for point in self._space.points() if point.content_hash not in seen]
            chosen = unseen[random.integers(len(unseen))]
        else:
            drawn = (self._space.point(self._space.draw(random)) for _ in range(MAX_DRAWS))
            chosen = next((point for point in drawn if point.content_hash not in seen), None)
        return None if chosen is None else self._space.parameters(chosen, conditional=self._conditional)

    def _tell(self, trial: optuna.Trial, record: TrialRecord) -> None:
        for key, excess in self._excess(record).items():
            trial.set_constraint(key, excess)
        self._database.write(self._study.tell(trial, told_values(record, self._objectives), state=_state(record)))

    def _follow_ledger(self) -> None:
        """Give every trial of the database the state that the ledger gives it, and run orphans again."""
        known, present = set(), set()
        for trial in self._database.trials():
            trial_id = trial.user_attrs.get("trial_id")
            present.add(trial_id)
            record = self._ledger.get(trial_id) if trial_id is not None else None
            if trial_id is not None:
                self._next_id = max(self._next_id, trial_id + 1)
                if trial.state.is_finished() or trial.state == TrialState.RUNNING:
                    known.add(trial_id)
            if trial.state == TrialState.COMPLETE and trial_id is not None and record is None:
                raise ConfigError(
                    f"study {self._name!r} has results that {self._ledger.path} does not have: "
                    "it belongs to another search; give another `name` or `study`"
                )
            if trial.state == TrialState.RUNNING:
                if record is not None:
                    values = told_values(record, self._objectives)
                    self._database.end(trial.number, _state(record), values, self._excess(record))
                    continue
                if trial_id is not None:  # else nobody has seen its configuration
                    self._database.add(_rerun(trial))
                self._database.end(trial.number, TrialState.FAIL)
        for record in self._ledger.records:
            if record.trial_id not in known:
                self._database.add(self._as_trial(record))
        for number in sorted(self._inherited.keys() - present):
            params = self._space.parameters(self._inherited[number], conditional=self._conditional)
            self._database.add(_waiting(params, {"trial_id": number}))

    def _in_memory(self, directions: Sequence[Direction]) -> optuna.Study:
        """A copy of the database's study, to propose from."""
        space, trials = self._space.space, self._database.trials()
        limit = TRIALS_SEEN.get(space.sampler)
        self._memory = optuna.storages.InMemoryStorage() if limit is None else WindowedStorage(limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                study_name=self._name,
                storage=self._memory,
                # A resumed search goes on, rather than repeating its first random proposals.
                sampler=SAMPLERS[space.sampler](
                    self._space, self._ledger, derive_seed(space.seed, "sampler", len(trials)) % 2**32
                ),
                directions=directions,
            )
        study.add_trials(trials)
        return study

    def _as_trial(self, record: TrialRecord) -> FrozenTrial:
        """A ledger record for a study that has lost it."""
        params = self._space.parameters(record.config, conditional=self._conditional)
        return create_trial(
            state=_state(record),
            values=told_values(record, self._objectives),
            params=params,
            distributions={name: self._space.distributions[name] for name in params},
            user_attrs={"trial_id": record.trial_id},
            constraints=self._excess(record),
        )

    def _excess(self, record: TrialRecord) -> dict[str, float]:
        """Points by which a complete trial misses the constraints, in the terms of Optuna: more than 0 is infeasible."""
        return {} if record.metrics is None else self.constraints.excess(record.metrics)


def told_values(record: TrialRecord, objectives: Sequence[str]) -> list[float] | None:
    """Give what a study is told of a trial: a client that leaks nothing because it sends nothing is no aim.

    Of one whose Δ is below that of sending nothing, Δ itself says so.
    """
    metrics = record.metrics
    if metrics is None:
        return None
    if metrics.utility_is_a_guess:
        metrics = metrics.hiding_nothing()
    return [metrics.value(name) for name in objectives]


def _state(record: TrialRecord) -> TrialState:
    return {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}[record.status]


def _rerun(orphan: FrozenTrial) -> FrozenTrial:
    """A waiting trial with the parameters and the trial id of one that was running when its driver died."""
    return _waiting(orphan.params, {**orphan.user_attrs, "resume_of": orphan.number})


def _waiting(params: Mapping[str, object], user_attrs: Mapping[str, object]) -> FrozenTrial:
    return create_trial(
        state=TrialState.WAITING, system_attrs={"fixed_params": dict(params)}, user_attrs=dict(user_attrs)
    )
