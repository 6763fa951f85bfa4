"""A search as the command line and notebooks start it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from narl.config.load import loaded
from narl.config.search_space import SearchSpace
from narl.core.addresses import shown
from narl.core.errors import ConfigError
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.search.folder import named_search
from narl.search.ledger import read_ledger
from narl.storage.databases import check_study
from narl.storage.s3 import is_url

if TYPE_CHECKING:
    from narl.search.run import SearchResult
    from narl.search.session import SearchObserver


def search(
    space: SearchSpace | Path | str,
    *,
    trials: int | None = None,
    time_budget_minutes: float | None = None,
    seed: int | None = None,
    sampler: str | None = None,
    early_stopping: bool | None = None,
    name: str | None = None,
    from_search: Path | str | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    runs: Path | str | None = None,
    study: str | None = None,
    storage: str | None = None,
    ray_address: str | None = None,
    on_trial: Callable[[TrialRecord], object] = lambda record: None,
    observers: Sequence[SearchObserver] = (),
) -> SearchResult:
    """Search a design space until its trials are done or its time budget is spent; every trial is recorded as it ends.

    If it is interrupted or killed, `resume` continues it. MLflow gets its trials (`$MLFLOW_TRACKING_URI`, `mlflow.db`
    by default).

    Args:
        space: a search space, or its YAML file.
        trials, time_budget_minutes, seed, sampler, early_stopping, name: in place of the space's own.
        from_search: another search, its name or its folder: a new search first tries what is on that one's front, as
            far as the space has it, with at most a fifth of its trials.
        resume: continue the search of that name, if there is one.
        retry_failed: with `resume`: run failed configurations once more.
        runs: folder of searches; None: `$NARL_RUNS` or `narl-runs`.
        study: URL of an Optuna storage; None: SQLite in the search's folder.
        storage: a shared folder or `s3://bucket/prefix` that outlives this host, for ledger and checkpoints.
        ray_address: of a Ray cluster (`auto` on one of its nodes); None: this machine.
        on_trial: sees each trial's record as it ends; `print` will do.
        observers: see everything that happens.

    The time that `confirm_share` keeps is left for `narl.confirm`, which the command line calls by itself.

    Raises:
        ConfigError: an illegal space, a search of that name that may not be resumed, another driver at work.
        DataError: the images cannot be loaded.
    """
    if retry_failed and not resume:
        raise ConfigError("`retry_failed` needs `resume`: it repeats trials of an earlier session")
    if runs is not None and is_url(str(runs)):
        where = shown(str(runs))
        raise ConfigError(
            f"a search runs in a folder, not at {where}: give that as `storage` to keep its results there"
        )
    space = loaded(SearchSpace, space).changed(
        trials=trials,
        time_budget_minutes=time_budget_minutes,
        seed=seed,
        sampler=sampler,
        early_stopping=early_stopping,
        name=name,
    )
    found = () if from_search is None else read_ledger(named_search(from_search, runs).ledger_path)
    if study is not None:  # before seconds of imports
        check_study(study)

    from narl.search.run import run_search

    return run_search(
        space,
        runs=None if runs is None else Path(runs),
        resume=resume,
        retry_failed=retry_failed,
        study_url=study,
        ray_address=ray_address,
        storage=storage,
        found=found,
        observers=(OnTrial(on_trial), *observers),
    )


class OnTrial:
    """Observes a search; tells of each trial that ends."""

    def __init__(self, on_trial: Callable[[TrialRecord], object]) -> None:
        self._on_trial = on_trial

    def resumed(self, records: Sequence[TrialRecord]) -> None:
        pass

    def started(self, trial_id: int, config: Point) -> None:
        pass

    def progressed(self, trial_id: int, phase: str, epoch: int, detail: str) -> None:
        pass

    def finished(self, record: TrialRecord) -> None:
        self._on_trial(record)

    def noticed(self, text: str, *, ended: int | None = None) -> None:
        pass
