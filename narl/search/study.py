"""A search's Optuna study: proposals out, results in, nothing left RUNNING, nothing run twice.

The ledger is the truth and the study follows it: a study is brought into line with the ledger when it is opened,
so a driver killed at any moment costs at most the trials that were running.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from narl.errors import ConfigError, without_credentials
from narl.ledger import Ledger
from narl.objectives import objective
from narl.records import TrialConfig, TrialRecord
from narl.search.samplers import CONDITIONAL, make_sampler, silence_optuna
from narl.search.space import AffordableSpace
from narl.seeds import derive_seed

# After so many proposals already seen in a row, an unseen point is drawn at random instead.
MAX_DUPLICATES_IN_A_ROW = 20


class SearchStudy:
    """Ask and tell, in terms of `TrialConfig` and `TrialRecord`.

    Args:
        url: any Optuna storage URL. One driver at a time may use a study.
        ledger: what has finished so far; appended to by `tell`.
    """

    def __init__(self, *, name: str, url: str, space: AffordableSpace, ledger: Ledger):
        silence_optuna()
        self._space = space
        self._ledger = ledger
        self._objectives = space.space.objectives
        self._conditional = space.space.sampler in CONDITIONAL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(
                study_name=name,
                storage=_storage(url),
                # A resumed search goes on, rather than repeating its first random proposals.
                sampler=make_sampler(
                    space.space.sampler,
                    seed=derive_seed(space.space.seed, "sampler", len(ledger)) % 2**32,
                    trials=space.space.trials,
                ),
                directions=[objective(name).direction for name in self._objectives],
                load_if_exists=True,
            )
        self._running: dict[int, tuple[optuna.Trial, TrialConfig]] = {}
        self._finished = {record.config.content_hash: record for record in ledger.records}
        self._next_id = 1 + max((record.trial_id for record in ledger.records), default=-1)
        self._follow_ledger()

    def ask(self) -> tuple[int, TrialConfig] | None:
        """A trial id and a configuration never run before, or None if the space is exhausted."""
        for _ in range(MAX_DUPLICATES_IN_A_ROW):
            if self._exhausted():
                return None
            asked = self._ask_once()
            if asked is not None:
                return asked
        if not np.isfinite(self._space.num_points):
            return None
        self._study.enqueue_trial(self._unseen_parameters())
        return self._ask_once()

    def tell(self, record: TrialRecord) -> None:
        """Ledger first, then study: a crash between the two is mended by the next start."""
        trial, config = self._running.pop(record.trial_id)
        self._ledger.append(record)
        self._finished[config.content_hash] = record
        self._tell(trial.number, record)

    def _ask_once(self) -> tuple[int, TrialConfig] | None:
        """One proposal, or None if it repeats a known configuration, whose result is then told again."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask()
            config = self._space.propose(trial, conditional=self._conditional)
        known = self._finished.get(config.content_hash)
        if known is not None:
            trial.set_user_attr("duplicate_of", known.trial_id)
            self._tell(trial.number, known)
            return None
        if any(config == running for _, running in self._running.values()):
            trial.set_user_attr("duplicate_of_running", True)
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        trial_id = trial.user_attrs.get("trial_id")
        if trial_id is None:
            trial_id, self._next_id = self._next_id, self._next_id + 1
            trial.set_user_attr("trial_id", trial_id)
        trial.set_user_attr("config", config.to_json())
        self._running[trial_id] = (trial, config)
        return trial_id, config

    def _exhausted(self) -> bool:
        return len(self._finished) + len(self._running) >= self._space.num_points

    def _unseen_parameters(self) -> dict[str, object]:
        space = self._space.space
        seen = set(self._finished) | {config.content_hash for _, config in self._running.values()}
        points = [
            TrialConfig(arch, split, sigma, lambda_, seed=space.seed, method=space.method)
            for arch, splits in self._space.split_points.items()
            for split, sigma, lambda_ in itertools.product(splits, space.sigma.choices, space.lambda_.choices)
        ]
        unseen = [point for point in points if point.content_hash not in seen]
        chosen = np.random.default_rng(derive_seed(space.seed, "unseen", len(seen))).integers(len(unseen))
        return self._space.parameters(unseen[chosen], conditional=self._conditional)

    def _tell(self, number: int, record: TrialRecord) -> None:
        if record.metrics is None:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, [getattr(record.metrics, name) for name in self._objectives])

    def _follow_ledger(self) -> None:
        """Give every trial of the study the state that the ledger gives it, and orphans another run."""
        trials = self._study.get_trials(deepcopy=False)
        known = set()
        for trial in trials:
            trial_id = trial.user_attrs.get("trial_id")
            if trial_id is not None:
                self._next_id = max(self._next_id, trial_id + 1)
            if trial.state == TrialState.COMPLETE and trial_id is not None and self._ledger.get(trial_id) is None:
                raise ConfigError(
                    f"study {self._study.study_name!r} has results that {self._ledger.path} lacks: "
                    "it belongs to another search; use --name or another --study"
                )
            if trial.state == TrialState.RUNNING:
                record = self._ledger.get(trial_id) if trial_id is not None else None
                if record is not None:
                    self._tell(trial.number, record)
                else:
                    self._run_again(trial, trial_id)
                    self._study.tell(trial.number, state=TrialState.FAIL)
            if trial_id is not None and trial.state.is_finished() or trial.state == TrialState.RUNNING:
                known.add(trial_id)
        for record in self._ledger.records:
            if record.trial_id not in known:
                self._study.add_trial(self._as_trial(record))

    def _run_again(self, trial: FrozenTrial, trial_id: int | None) -> None:
        if trial_id is None:
            return  # killed between ask and the first attribute: nobody has seen its configuration
        self._study.enqueue_trial(trial.params, user_attrs={"trial_id": trial_id, "resume_of": trial.number})

    def _as_trial(self, record: TrialRecord) -> FrozenTrial:
        """A ledger record for a study that has lost it."""
        params = self._space.parameters(record.config, conditional=self._conditional)
        return create_trial(
            state=TrialState.COMPLETE if record.metrics else TrialState.FAIL,
            values=[getattr(record.metrics, n) for n in self._objectives] if record.metrics else None,
            params=params,
            distributions={name: self._space.distributions[name] for name in params},
            user_attrs={"trial_id": record.trial_id, "config": record.config.to_json()},
        )


def _storage(url: str) -> optuna.storages.BaseStorage:
    """The database at `url`.

    Raises:
        ConfigError: it cannot be opened; the message holds no password.
    """
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # each database driver has errors of its own
        raise ConfigError(f"cannot open the study at {without_credentials(url)!r}: {type(error).__name__}") from error
