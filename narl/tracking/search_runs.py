"""Which runs of MLflow stand for a search: one parent, and a child for each trial.

A parent with a child that the ledger does not hold belongs to another search of the same name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from narl.core.addresses import shown
from narl.core.errors import ConfigError, NarlError
from narl.core.hashing import stable_hash
from narl.core.records import TrialRecord
from narl.storage.databases import sqlite_path
from narl.tracking.connection import connected, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

PAGE = 1000  # runs a query


def experiment_of(name: str) -> str:
    """Name the experiment of a search: `$MLFLOW_EXPERIMENT_NAME`, else `narl/<name>`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"narl/{name}"


def parent_of(uri: str, name: str, records: Sequence[TrialRecord]) -> tuple[Experiment, Run]:
    """Find the experiment and the parent of a search that was sent to the MLflow at `uri`.

    Args:
        records: everything in the ledger.

    Raises:
        ConfigError: the search is not there.
        NarlError: MLflow cannot be used.
    """
    missing = ConfigError(f"MLflow at {shown(uri)} has no run of the search {name!r}: narl sync sends it")
    database = sqlite_path(uri)
    if database is not None and not database.exists():  # connecting would make it
        raise missing
    try:
        client, _ = connected(uri)
        experiment = client.get_experiment_by_name(experiment_of(name))
        found = None if experiment is None else find_runs(client, experiment.experiment_id, name, records)
    except Exception as error:
        raise NarlError(f"MLflow at {shown(uri)}: {one_line(error, uri)}") from error
    if experiment is None or found is None:
        raise missing
    return experiment, found[0]


def find_runs(
    client: MlflowClient, experiment_id: str, name: str, records: Sequence[TrialRecord]
) -> tuple[Run, list[Run]] | None:
    """Find the parent of the search of that name, and its children, newest first; None if there is no parent.

    Args:
        records: everything in the ledger.
    """
    hashes = {r.trial_id: record_hash(r) for r in records}
    fitting = []
    for parent in _runs(client, experiment_id, f"tags.`narl.search` = '{name}'"):
        children = _runs(client, experiment_id, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
        if all(hashes.get(trial_id(run)) == run.data.tags.get("narl.record_hash") for run in children):
            fitting.append((parent, children))
    # Among parents that fit, one with trials is surer than one without.
    return max(fitting, key=lambda pair: len(pair[1]), default=None)


def record_hash(record: TrialRecord) -> str:
    return stable_hash(record.to_json())


def trial_id(run: Run) -> int:
    """Read which trial a child stands for; -1 if it does not say."""
    return int(run.data.tags.get("narl.trial_id", -1))


def _runs(client: MlflowClient, experiment_id: str, condition: str) -> list[Run]:
    """List every run of the experiment that meets the condition, newest first."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment_id], condition, max_results=PAGE, page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs
