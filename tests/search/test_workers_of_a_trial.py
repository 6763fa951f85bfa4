"""Trials of several workers in a real search: on one node, across two, and with one of them killed."""

from __future__ import annotations

import os
import signal
import time

import pytest
from processes import alive, descendants
from ray_nodes import RayNodes, is_trial
from tiny_search import finish, narl, start, write_space

from narl.search.interface import interface_of
from narl.search.ledger import read_ledger

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

ONE_TRIAL = {
    "trials": 1,
    "sampler": "random",
    "architectures": {"resnet18": {"split_points": [2]}},
    "sigma": [0.5],
    "lambda": [0.01],
    # Adam makes steps of the rate's size out of rounding, where a gradient is about 0.
    "training": {"epochs": 2, "batch_size": 64, "learning_rate": 1e-6, "precision": "float32"},
}
# Of which an epoch takes a tenth of the time.
LIGHT = {"mobilenet_v3_small": {"split_points": [12]}}


def space_of(folder, workers: int, **changes):
    folder.mkdir(exist_ok=True)
    resources = {"cpus_per_trial": 2, "workers_per_trial": workers, "gpus_per_trial": 0}
    return write_space(folder, **(ONE_TRIAL | {"resources": resources} | changes))


def record_of(folder):
    (record,) = read_ledger(folder / "narl-runs" / "tiny" / "ledger.jsonl")
    return record


@pytest.mark.slow
def test_two_workers_on_one_node_or_on_two_record_what_one_does(tmp_path):
    one, two, apart = (tmp_path / name for name in ("one", "two", "apart"))
    for folder, workers in ((one, 1), (two, 2)):
        done = narl(folder, "search", str(space_of(folder, workers)))
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    apart.mkdir()
    with RayNodes(apart, cpus=0) as cluster:
        nodes = [cluster.add(1), cluster.add(1)]
        space = space_of(apart, 2)
        done = finish(start(apart, "search", str(space), "--ray-address", cluster.address, HOME=str(cluster.home)))
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    expected = record_of(one)
    assert "workers" not in expected.tags
    for found in (record_of(two), record_of(apart)):
        assert found.tags["workers"] == "2" and found.config == expected.config
        for name in ("train_task_loss", "train_leak_loss"):
            assert found.curves[name] == pytest.approx(expected.curves[name], rel=1e-3)
        assert found.metrics.feature_rms == pytest.approx(expected.metrics.feature_rms, rel=1e-3)
        assert found.metrics.utility == pytest.approx(expected.metrics.utility, abs=10)  # of 100 images
        assert found.metrics.cost == expected.metrics.cost
    # Where they run does not matter, to the last bit.
    assert record_of(apart).curves == record_of(two).curves
    assert set(record_of(apart).tags["node"].split(",")) == {node.ip for node in nodes}


def test_a_trial_whose_second_worker_is_killed_runs_again_and_leaves_nothing(tmp_path):
    folder = tmp_path / "search"
    space = space_of(folder, 2, architectures=LIGHT, training={"epochs": 20, "batch_size": 64})
    driver = start(folder, "search", str(space), NARL_CHECKPOINT_SECONDS="0")
    checkpoints, deadline = folder / "narl-runs" / "tiny" / "checkpoints", time.monotonic() + 400
    while not list(checkpoints.glob("*.safetensors")):
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.05)
    below = descendants(driver.pid)
    (peer,) = [pid for (pid, _), title in below.items() if title.startswith("ray::Peer")]
    os.kill(peer, signal.SIGKILL)
    out, err = driver.communicate(timeout=600)
    assert (driver.returncode, err) == (0, ""), out
    assert "runs again: of its workers one was lost: its worker process died" in out
    record = record_of(folder)
    assert record.status == "complete" and len(record.curves["train_task_loss"]) == 20
    assert record.tags["times_lost"] == "1" and record.tags["resumed"] == "1"
    deadline = time.monotonic() + 30
    while alive(below) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(below)


def test_the_other_workers_end_with_the_first_however_it_ends(tmp_path):
    folder = tmp_path / "search"
    space = space_of(folder, 2, architectures=LIGHT, training={"epochs": 1000, "batch_size": 64})
    driver = start(folder, "search", str(space))
    deadline, trial, peer = time.monotonic() + 400, [], []
    while not (trial and peer):
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        below = descendants(driver.pid)
        trial = [one for one, title in below.items() if is_trial(title)]
        peer = [one for one, title in below.items() if title.startswith("ray::Peer.run")]
        time.sleep(0.05)
    try:
        os.kill(trial[0][0], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while alive(peer) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(peer)
    finally:
        driver.terminate()
        driver.communicate(timeout=60)


def test_the_interface_of_an_address():
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.1") is None  # kept for documentation
