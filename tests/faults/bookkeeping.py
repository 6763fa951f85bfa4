"""Ledger, study and MLflow of one search, compared: every finished trial once in each."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path

import optuna
from mlflow import MlflowClient
from optuna.trial import TrialState

from narl.search.folder import SearchFolder
from narl.search.ledger import read_ledger
from narl.search.study import told_values


@dataclass(frozen=True)
class FaultRow:
    """One kind of fault: how many there were and what became of the trials."""

    kind: str
    faults: int
    trials: int
    lost: int
    twice: int
    seconds: float


@dataclass(frozen=True)
class Books:
    """Trial ids in each; what had been seen to finish at some time, in `seen`."""

    ledger: list[int]
    study: list[int]
    mlflow: list[int]
    seen: set[int]

    @property
    def lost(self) -> int:
        """Trials that had finished, or are in one of the three, and are not in all."""
        everywhere = set(self.ledger) & set(self.study) & set(self.mlflow)
        return len((self.seen | set(self.ledger) | set(self.study) | set(self.mlflow)) - everywhere)

    @property
    def twice(self) -> int:
        return sum(n - 1 for book in (self.ledger, self.study, self.mlflow) for n in collections.Counter(book).values())


def books(folder: Path, mlflow_uri: str, seen: set[int] = frozenset(), *, study_url: str | None = None) -> Books:
    """What the three hold of the search in `folder`; states and numbers must agree as well."""
    search = SearchFolder(folder)
    space = search.load_space()
    records = {r.trial_id: r for r in read_ledger(search.ledger_path)}
    study = optuna.load_study(
        study_name=f"{space.name}-{space.content_hash}", storage=study_url or search.study_url
    ).get_trials()
    told = [t for t in study if "trial_id" in t.user_attrs and t.state == TrialState.COMPLETE]
    # Of a failed or interrupted trial the study keeps every attempt.
    failed = {t.user_attrs["trial_id"] for t in study if t.state == TrialState.FAIL} & {
        i for i, r in records.items() if r.metrics is None
    }
    for trial in told:
        record = records[trial.user_attrs["trial_id"]]
        assert trial.values == told_values(record, space.objectives)
    client = MlflowClient(mlflow_uri)
    runs = client.search_runs([client.get_experiment_by_name(f"narl/{space.name}").experiment_id], max_results=5000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = [run for run in runs if run not in parents]
    for run in children:
        metrics = records[int(run.data.tags["narl.trial_id"])].metrics
        assert run.info.status == ("FINISHED" if metrics else "FAILED")
        assert metrics is None or run.data.metrics["delta"] == metrics.delta
    return Books(
        ledger=list(records),
        study=[t.user_attrs["trial_id"] for t in told] + sorted(failed),
        mlflow=[int(run.data.tags["narl.trial_id"]) for run in children],
        seen=set(seen),
    )


def finished_in(folder: Path) -> set[int]:
    """Trials of whole ledger lines, while a driver writes on."""
    return {record.trial_id for record in read_ledger(folder / "ledger.jsonl")}
