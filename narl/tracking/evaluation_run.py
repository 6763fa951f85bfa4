"""An evaluation as files, and as a run of MLflow."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError, NarlError, without_credentials
from narl.core.records import stable_hash
from narl.figures.averaging import averaging_png
from narl.figures.reconstructions import reconstructions_png
from narl.tracking.mirror import connected, flat

EXPERIMENT = "narl/evaluations"
REPORT, CONFIG, TABLE = "report.json", "config.yaml", "table.txt"
FIGURE, PICTURES = "averaging.png", "reconstructions.png"


def write_evaluation(
    folder: Path, config: TrainConfig, report: dict[str, Any], pictures: Mapping[str, np.ndarray] | None = None
) -> None:
    """report.json, config.yaml, averaging.png if answers were averaged, reconstructions.png if there are `pictures`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = config.model_dump(mode="json", by_alias=True)
    (folder / CONFIG).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    if "leakage_at_queries" in report:
        averaging_png({config.trial.to_record().client: report}, "Leakage against averaging", folder / FIGURE)
    if pictures:
        reconstructions_png(pictures, f"{config.pipeline.name}: rebuilt images", folder / PICTURES)
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def log_evaluation(folder: Path, name: str, config: TrainConfig, report: dict[str, Any]) -> str:
    """Record what `write_evaluation` wrote in MLflow's experiment `narl/evaluations`; where, in words.

    Raises:
        NarlError: MLflow cannot be used; the files are there all the same.
    """
    client, uri = connected()
    from mlflow.entities import Metric, Param

    try:
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        tags = {"mlflow.source.name": "narl", "narl.report_hash": stable_hash(report)}
        if report["flags"]:
            tags["narl.doubts"] = "; ".join(report["flags"])
        run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        trial = config.model_dump(mode="json", by_alias=True)["trial"]
        metrics = dict(report["mean"])
        for name in report["mean"]:
            metrics[f"{name}_low95"], metrics[f"{name}_high95"] = report["interval95"][name]
        metrics["label_floor"] = report["label_floor"]
        if report["snr_db"] is not None:
            metrics["snr_db"] = report["snr_db"]
        for kind in ("leakage", "delta"):
            for n, value in report.get(f"{kind}_at_queries", {}).items():
                metrics[f"{kind}_at_{'infinite' if n == '∞' else n}_queries"] = value
        for column, audited in report.get("audit", {}).items():
            metrics[f"audit_{re.sub(r'[^A-Za-z0-9_.-]', '_', column)}"] = audited["leakage"]
        if "control" in report:
            metrics["control_accuracy"] = report["control"]["accuracy"]
        for attack in ("reconstruction", "inversion"):
            for key, value in report.get(attack, {}).get("rebuilt", {}).items():
                if isinstance(value, float):
                    metrics[f"{attack}_{key}"] = value
        if "reconstruction" in report:
            metrics["reconstruction_read"] = report["reconstruction"]["read_rebuilt"]
        now = int(1000 * time.time())
        client.log_batch(
            run,
            metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
            params=[Param(key, value) for key, value in flat(trial)],
        )
        for file in (REPORT, CONFIG, TABLE, FIGURE, PICTURES):
            if (folder / file).exists():
                client.log_artifact(run, str(folder / file))
        client.set_terminated(run, "FINISHED")
    except Exception as error:
        raise NarlError(f"MLflow at {without_credentials(uri)}: {without_credentials(str(error))[:300]}") from error
    return f"run {run} of experiment {EXPERIMENT} at {without_credentials(uri)}"


def search_and_trial(run_id: str) -> tuple[str, int]:
    """The search and the trial that an MLflow run of the mirror stands for.

    Raises:
        ConfigError: there is no such run, or it is no trial's.
    """
    client, uri = connected()
    try:
        run = client.get_run(run_id)
        parent = client.get_run(run.data.tags["mlflow.parentRunId"])
        trial, search = run.data.tags["narl.trial_id"], parent.data.tags["narl.search"]
    except Exception as error:
        reason = "it is no trial's" if isinstance(error, KeyError) else re.sub(r"\s+", " ", str(error))[:200]
        raise ConfigError(f"MLflow run {run_id} at {without_credentials(uri)}: {reason}") from error
    return search, int(trial)
