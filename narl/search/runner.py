"""A search session run by Ray Tune, on this machine or on a cluster."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Tune's own CSV, JSON and TensorBoard loggers cost more than a trial's proposal; the ledger replaces them.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune

from narl.config.search_space import Resources, SearchSpace
from narl.errors import ConfigError
from narl.search.searcher import StudySearcher
from narl.search.session import SearchSession
from narl.search.trainable import TrialActor


def run_session(session: SearchSession, space: SearchSpace, resources: dict[str, float]) -> None:
    """Run trials until the session hands out no more. A Ray runtime must be up (see `ray_runtime`).

    Args:
        resources: of one trial, from `trial_resources`.
    """
    storage = tempfile.mkdtemp(prefix="narl-tune-")
    try:
        tune.Tuner(
            tune.with_resources(TrialActor, resources),
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(session, space),
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=_concurrency(resources),
            ),
            run_config=tune.RunConfig(
                name=space.name,
                storage_path=storage,
                verbose=0,
                # A lost worker's trial runs once more before it counts as failed.
                failure_config=tune.FailureConfig(max_failures=1),
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def trial_resources(resources: Resources) -> dict[str, float]:
    """CPUs and GPUs of one trial, `gpus_per_trial: null` resolved.

    Raises:
        ConfigError: one trial wants more than any node has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most_gpus = max((node.get("GPU", 0) for node in nodes), default=0)
    gpus = resources.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if most_gpus else 0.0
    wanted = {"cpu": resources.cpus_per_trial, "gpu": gpus}
    for name, amount in wanted.items():
        most = max((node.get(name.upper(), 0) for node in nodes), default=0)
        if amount > most and not _autoscales():
            raise ConfigError(f"{name}s_per_trial is {amount:g}, but no node has more than {most:g}")
    return wanted


@contextmanager
def ray_runtime(address: str | None) -> Iterator[None]:
    """A Ray runtime: the cluster at `address` (`auto`: the one this machine belongs to), or one of our own.

    Our own has its own folder and dies with us; a cluster is left running.

    Raises:
        ConfigError: no cluster answers at `address`.
    """
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    folder = None
    try:
        if address is None:
            folder = tempfile.mkdtemp(prefix="narl-ray-")
            ray.init(address="local", _temp_dir=folder, include_dashboard=False, **quiet)
        else:
            _refuse_unreachable(address)
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(f"no Ray cluster at {address!r}: {error}") from error
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _refuse_unreachable(address: str) -> None:
    """Ray itself waits for minutes, and then ends the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # else `auto`, or what Ray refuses at once
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise ConfigError(f"no Ray cluster at {address!r}: {error}") from error


def _concurrency(resources: dict[str, float]) -> int | None:
    """As many trials as fit; no limit where the cluster can grow, since a waiting trial is what makes it grow."""
    if _autoscales():
        return None
    total = ray.cluster_resources()
    return max(1, int(min(total.get(n.upper(), 0) / amount for n, amount in resources.items() if amount)))


def _autoscales() -> bool:
    """True on a cluster that `ray up` made with room to grow."""
    return os.path.exists(os.path.expanduser("~/ray_bootstrap_config.yaml"))
