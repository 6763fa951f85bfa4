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
# Tune would swallow Ctrl-C and return as if all were done.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# A head that finds a token asks every driver for it, and Ray's drivers show theirs only if told to.
if os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} or os.path.exists(
    os.path.expanduser("~/.ray/auth_token")
):
    os.environ.setdefault("RAY_AUTH_MODE", "token")

import ray
from ray import tune

from narl.config.search_space import Resources, SearchSpace
from narl.errors import ConfigError, NarlError
from narl.search.searcher import StudySearcher
from narl.search.session import SearchSession
from narl.search.trainable import TrialActor


def run_session(
    session: SearchSession,
    space: SearchSpace,
    resources: dict[str, float],
    trainable: type[tune.Trainable] = TrialActor,
) -> None:
    """Run trials until the session hands out no more. A Ray runtime must be up (see `ray_runtime`).

    Args:
        resources: of one trial, from `trial_resources`.
        trainable: what runs a `trial_payload` and reports as `TrialActor` does.
    """
    storage = tempfile.mkdtemp(prefix="narl-tune-")
    searcher = StudySearcher(session, space)
    try:
        tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
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
    if searcher.error is not None:
        raise NarlError(f"results cannot be recorded ({searcher.error}); what had finished is kept") from searcher.error


def trial_resources(resources: Resources) -> dict[str, float]:
    """CPUs and GPUs of one trial, `gpus_per_trial: null` resolved.

    Raises:
        ConfigError: one trial wants more than any node has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = resources.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    wanted = {"cpu": resources.cpus_per_trial, "gpu": gpus}
    fits = any(all(node.get(name.upper(), 0) >= amount for name, amount in wanted.items()) for node in nodes)
    if not fits and not _autoscales():
        have = "; ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise ConfigError(
            f"a trial wants {wanted['cpu']:g} CPUs and {wanted['gpu']:g} GPUs (resources), but the nodes have: {have}"
        )
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
    mask = os.umask(0o077)  # Ray writes its access token for everybody to read
    try:
        if address is None:
            # Not $TMPDIR: the sockets below it must have paths of less than 107 bytes.
            folder = tempfile.mkdtemp(prefix="narl-ray-", dir="/tmp")
            ray.init(address="local", _temp_dir=folder, include_dashboard=False, **quiet)
        else:
            _refuse_unreachable(address)
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise ConfigError(f"no Ray cluster at {address!r}: {error}") from error
        # Failed trials are in the ledger by name; Tune would print their tracebacks into the view.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        os.umask(mask)
        yield
    finally:
        os.umask(mask)
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
