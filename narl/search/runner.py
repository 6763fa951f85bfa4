"""A search session run by Ray Tune, on this machine or on a cluster."""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ray
from ray import tune
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # its stub lacks the classes
from ray.tune.execution import class_cache

from narl import __version__
from narl.config.search_space import Resources, SearchSpace
from narl.core.addresses import shown, without_credentials
from narl.core.errors import ConfigError, NarlError
from narl.core.signals import interrupted_by_sigterm
from narl.search.capacity import TrialResources, node_types_to_come, resolve
from narl.search.log import LOGGERS
from narl.search.node_data import NodeData
from narl.search.nodes import Nodes
from narl.search.out_of_memory import taken_for_lost
from narl.search.own_folder import own_folder
from narl.search.searcher import LostTrials, SessionScheduler, StopOnError, StudySearcher
from narl.search.session import SearchSession
from narl.search.trainable import TrialActor, lacking

SETTINGS = {
    # Tune's own CSV, JSON and TensorBoard loggers cost more than a trial's proposal; the ledger replaces them.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    # narl/search/nodes.py decides how many trials may wait for a node; Tune lets one wait, and clusters grow by one.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",
    # It would report to its makers how it is used.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Tune would swallow Ctrl-C and return as if all were done.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def run_session(
    session: SearchSession,
    space: SearchSpace,
    resources: TrialResources,
    trainable: type[tune.Trainable] = TrialActor,
    *,
    identity: str | None = None,
    checkpoints: str | None = None,
) -> None:
    """Run trials until the session hands out no more. A Ray runtime must be up (see `ray_runtime`).

    Args:
        resources: of one trial, from `trial_resources`.
        trainable: what runs a `trial_payload` and reports as `TrialActor` does.
        identity: of the driver's data set, where nodes may be other hosts: they are probed before they get trials.
        checkpoints: a folder that every node shares, or `s3://bucket/prefix`.

    Raises:
        NarlError: results cannot be recorded, or no node is left for trials.
    """
    data = NodeData(space.pipeline, identity=identity, cache=os.environ.get("NARL_CACHE"))
    on_cluster = identity is not None
    nodes = Nodes(
        resources,
        most=space.resources.max_concurrent_trials,
        to_come=_trials_to_come(resources, space.resources) if on_cluster else 0,
        probe=lacking if on_cluster else None,
        needs=lambda: {"version": __version__, "data": data.arguments},
        hand_over=data.hand_over,
        notice=session.notice,
    )
    granted = {"gpus": resources.gpus, "workers": resources.workers}
    searcher = StudySearcher(session, space, nodes, data, checkpoints=checkpoints, **granted)
    with own_folder("narl-tune-") as storage, taken_for_lost():
        tune.Tuner(
            tune.with_resources(trainable, lambda config: _placement(resources, config["avoid"])),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=SessionScheduler(searcher),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=space.name,
                storage_path=str(storage),
                verbose=0,
                callbacks=[LostTrials(searcher)],
                stop=StopOnError(searcher),
                # The session puts lost trials back itself.
                failure_config=tune.FailureConfig(max_failures=0),
                # Its storage is a folder of this host: a worker on another could not write there.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    if searcher.error is not None:
        raise _in_one_line(searcher.error) from searcher.error


def trial_resources(resources: Resources, *, on_cluster: bool = False) -> TrialResources:
    """Resolve CPUs and GPUs of one trial, and `gpus_per_trial: null`; `on_cluster`, more nodes may join.

    Raises:
        ConfigError: one trial wants more than the cluster has and can have.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return resolve(resources, nodes, node_types_to_come() if on_cluster else [])


def _placement(trial: TrialResources, avoid: list[str]) -> tune.PlacementGroupFactory:
    """Place a bundle per worker, on as few nodes as possible."""
    bundles = trial.workers * [trial.bundle]
    if not avoid:
        return tune.PlacementGroupFactory(bundles)
    elsewhere = {"ray.io/node-id": f"!in({','.join(avoid)})"}
    return tune.PlacementGroupFactory(bundles, bundle_label_selector=trial.workers * [elsewhere])


def _trials_to_come(trial: TrialResources, wanted: Resources) -> int:
    """Count the trials to ask for on a cluster that grows when trials wait; 0 on any other."""
    types = node_types_to_come()
    if types:
        return trial.fit_in(resources for resources, count in types for _ in range(count))
    # KubeRay's autoscaler runs beside the head, which is told so in its start command.
    grows = "--no-monitor" in os.environ.get("KUBERAY_GEN_RAY_START_CMD", "")
    return (wanted.max_concurrent_trials or 0) if grows else 0


def _in_one_line(error: Exception) -> NarlError:
    if isinstance(error, NarlError):
        return error
    return NarlError(f"results cannot be recorded ({error}); what had finished is kept")


@contextmanager
def ray_runtime(address: str | None) -> Iterator[None]:
    """Join the Ray cluster at `address` (`auto`: the one this machine belongs to), or start a runtime of our own.

    Our own has its own folder and dies with us; a cluster is left running. Meanwhile Ray's settings are in the
    environment, except those that the user has set.

    Raises:
        ConfigError: no cluster answers at `address`.
    """
    start = functools.partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    with ExitStack() as after:
        after.enter_context(_settings_of_ray())
        mask = os.umask(0o077)  # Ray writes its access token for everybody to read
        after.callback(os.umask, mask)
        if address is None:
            # Not $TMPDIR: the sockets below it must have paths of less than 107 bytes.
            folder = after.enter_context(own_folder("narl-ray-", parent="/tmp"))
            after.enter_context(_credentials_by_inheritance())
            after.callback(ray.shutdown)
            with _on_loopback():
                # Below it, as Ray opens its own folder to everybody.
                start(address="local", _temp_dir=str(folder / "r"), include_dashboard=False)
        else:
            after.callback(ray.shutdown)
            _refuse_unreachable(address)
            try:
                start(address=address)
            except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise _no_cluster(address, error) from error
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        os.umask(mask)
        after.enter_context(interrupted_by_sigterm())  # Ray has a handler of its own, which leaves its agents behind
        yield


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A runtime that starts within it listens on 127.0.0.1 alone, as Ray has it on macOS, not on every interface."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _credentials_by_inheritance() -> Iterator[None]:
    """Tune copies AWS's variables into each worker's description, which Ray logs; here workers inherit them."""
    copied = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(copied)
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE.update(copied)


@contextmanager
def _settings_of_ray() -> Iterator[None]:
    """Put into the environment what Ray reads there and the user has not set."""
    tokens = os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} or os.path.exists(
        os.path.expanduser("~/.ray/auth_token")
    )
    # A head that finds a token asks every driver for it, and Ray's drivers show theirs only if told to.
    wanted = SETTINGS | ({"RAY_AUTH_MODE": "token"} if tokens else {})
    missing = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(missing)
    # Ray has read the environment once, when it was imported, and the token of the first cluster that it joined.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def _no_cluster(address: str, error: Exception) -> ConfigError:
    return ConfigError(f"no Ray cluster at {shown(address)!r}: {without_credentials(str(error), address)}")


def _refuse_unreachable(address: str) -> None:
    """Ray itself waits for minutes, and then ends the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():  # else `auto`, or what Ray refuses at once
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from error
