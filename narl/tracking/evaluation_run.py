"""An evaluation as a run of MLflow, and a trial behind one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from narl.config.trial import TrainConfig
from narl.core.addresses import shown, without_credentials
from narl.core.errors import ConfigError, NarlError
from narl.tracking.connection import connected, default_uri, experiment_id
from narl.tracking.mirror import flat

EXPERIMENT = "narl/evaluations"


def log_evaluation(
    name: str,
    config: TrainConfig,
    *,
    metrics: Mapping[str, float],
    doubts: Sequence[str],
    report_hash: str,
    files: Iterable[Path],
) -> str:
    """Record an evaluation in MLflow's experiment `narl/evaluations`; returns where, in words.

    Args:
        name: of the run.
        report_hash: of the report, see `narl.core.hashing.stable_hash`.
        files: kept as artifacts.

    Raises:
        NarlError: MLflow cannot be used.
    """
    uri = default_uri()
    try:
        client, _ = connected(uri)
        from mlflow.entities import Metric, Param

        experiment = experiment_id(client, EXPERIMENT)
        tags = {"mlflow.source.name": "narl", "narl.report_hash": report_hash}
        if doubts:
            tags["narl.doubts"] = "; ".join(doubts)
        run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        trial = config.model_dump(mode="json", by_alias=True)["trial"]
        now = int(1000 * time.time())
        client.log_batch(
            run,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            params=[Param(key, value) for key, value in flat(trial)],
        )
        for file in files:
            client.log_artifact(run, str(file))
        client.set_terminated(run, "FINISHED")
    except Exception as error:
        raise NarlError(f"MLflow at {shown(uri)}: {without_credentials(str(error), uri)[:300]}") from error
    return f"run {run} of experiment {EXPERIMENT} at {shown(uri)}"


def search_and_trial(run_id: str) -> tuple[str, int]:
    """Find the search and the trial that an MLflow run of the mirror stands for.

    Raises:
        ConfigError: there is no such run, or it is not a trial's.
    """
    uri = default_uri()
    try:
        client, _ = connected(uri)
        run = client.get_run(run_id)
        parent = client.get_run(run.data.tags["mlflow.parentRunId"])
        trial, search = run.data.tags["narl.trial_id"], parent.data.tags["narl.search"]
    except Exception as error:
        reason = (
            "it is no trial's"
            if isinstance(error, KeyError)
            else " ".join(without_credentials(str(error), uri).split())[:200]
        )
        raise ConfigError(f"MLflow run {run_id} at {shown(uri)}: {reason}") from error
    return search, int(trial)
