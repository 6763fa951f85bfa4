"""Both halves of an export in MLflow's model registry, as `NAME-client` and `NAME-server`, without pickles.

A version holds the graph, what the graph needs to be told, and the bundle's own runtime, which MLflow loads as a module
(`loader_module`): numpy and ONNX Runtime are enough to use it. Its tags say what was measured, on test images, and the
alias `champion` names the best version within the budget that was stated last.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narl.core.addresses import shown
from narl.core.errors import NarlError
from narl.tracking.connection import connected, default_uri, experiment_id, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "narl/exports"
CHAMPION = "champion"
# The module that loads each half, and what of the bundle it needs beside manifest.json and portable.json.
HALVES = {"client": ("narl_client", "client.onnx"), "server": ("narl_server", "server.onnx")}
TAG = "narl."


def register(
    bundle: Path, name: str, metrics: Mapping[str, float], *, worth: Callable[[Mapping[str, float]], float | None]
) -> str:
    """Register both halves of a portable bundle; returns which versions they are, and which is the champion, in words.

    Args:
        name: of the pair in the registry.
        metrics: of the bundle, by name; they become tags of the versions and metrics of a run.
        worth: of a version, from its metrics: the highest is the champion; None: it is beyond the budget.

    Raises:
        NarlError: MLflow cannot be used, or takes no such name.
    """
    uri = default_uri()
    try:
        client, _ = connected(uri)
        from mlflow.entities import Metric

        experiment, tags = experiment_id(client, EXPERIMENT), {"mlflow.source.name": "narl"}
        run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        now = int(1000 * time.time())
        client.log_batch(run, metrics=[Metric(key, value, now, 0) for key, value in metrics.items()])
        numbers = {half: _registered(client, run, bundle, half, f"{name}-{half}", metrics) for half in HALVES}
        client.set_terminated(run, "FINISHED")
        champion = _crowned(client, name, worth)
    except Exception as error:  # MLflow's own, its database's, its server's
        raise NarlError(f"MLflow at {shown(uri)}: {one_line(error, uri)}") from error
    said = " and ".join(f"{name}-{half} version {number}" for half, number in numbers.items())
    if champion is None:
        return f"{said}; no version is within the budget, so there is no champion"
    return f"{said}; champion: version {champion}" + (" (this one)" if champion == numbers["client"] else "")


def _registered(
    client: MlflowClient, run: str, bundle: Path, half: str, name: str, metrics: Mapping[str, float]
) -> str:
    from mlflow.exceptions import RestException

    with tempfile.TemporaryDirectory() as folder:
        _write_model(bundle, half, Path(folder) / half)
        client.log_artifacts(run, str(Path(folder) / half), half)
    if not client.search_registered_models(f"name = '{name}'"):
        try:
            client.create_registered_model(name, description=f"The {half} of a narl export: see its README.")
        except RestException as error:  # another export was quicker
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    tags = {f"{TAG}{key}": repr(float(value)) for key, value in metrics.items()}
    return str(client.create_model_version(name, f"runs:/{run}/{half}", run, tags=tags).version)


def _write_model(bundle: Path, half: str, folder: Path) -> None:
    """As MLflow has models: what to load and how, no pickle."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    module, graph = HALVES[half]
    facts = json.loads((bundle / "portable.json").read_bytes())
    size, sent = facts["image_size"], TensorSpec(np.dtype(np.float32), (-1, *facts["feature_shape"]))
    images = TensorSpec(np.dtype(np.uint8), (-1, size, size, 3))
    shares = TensorSpec(np.dtype(np.float64), (-1, len(facts["utility_classes"])))
    signature = {
        "client": ModelSignature(inputs=Schema([images]), outputs=Schema([sent])),
        "server": ModelSignature(inputs=Schema([sent]), outputs=Schema([shares])),
    }[half]
    with tempfile.TemporaryDirectory() as own:
        needed = Path(own) / "bundle"
        needed.mkdir()
        for name in ("manifest.json", "portable.json", graph):
            shutil.copyfile(bundle / name, needed / name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would have an example of what its signature says
            mlflow.pyfunc.save_model(
                str(folder),
                loader_module=module,
                data_path=str(needed),
                code_paths=[str(bundle / f"{name}.py") for name in dict.fromkeys(("narl_client", module))],
                pip_requirements=[f"{package}=={version(package)}" for package in ("mlflow", "numpy", "onnxruntime")],
                signature=signature,
            )


def _crowned(client: MlflowClient, name: str, worth: Callable[[Mapping[str, float]], float | None]) -> str | None:
    """Give the alias to the best version of which both halves are there; returns its number, if any is within the
    budget."""
    by_run: dict[str, dict[str, Any]] = {}
    for half in HALVES:
        for each in client.search_model_versions(f"name = '{name}-{half}'"):
            by_run.setdefault(str(each.run_id), {})[half] = each
    worths: dict[str, float] = {}
    for run, halves in by_run.items():
        value = worth(_metrics_of(halves["client"].tags)) if halves.keys() == HALVES.keys() else None
        if value is not None:
            worths[run] = value
    best = max(worths, key=worths.__getitem__, default=None)
    for half in HALVES:
        if best is not None:
            client.set_registered_model_alias(f"{name}-{half}", CHAMPION, by_run[best][half].version)
        else:
            client.delete_registered_model_alias(f"{name}-{half}", CHAMPION)
    return None if best is None else str(by_run[best]["client"].version)


def _metrics_of(tags: Mapping[str, str]) -> dict[str, float]:
    found = {}
    for key, value in tags.items():
        try:
            found[key.removeprefix(TAG)] = float(value)
        except ValueError:  # somebody's own tag
            continue
    return found
