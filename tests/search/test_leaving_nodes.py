"""A node that is told to go: its trial is kept at once, and goes on elsewhere from there."""

from __future__ import annotations

import time

import pytest
from interrupted_search import LONG
from ray_nodes import RayNodes
from tiny_search import finish, start, write_space

from narl.checkpoints.snapshot import Snapshot
from narl.search.ledger import read_ledger

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("notice", ["drained", "terminated"])
def test_notice_alone_makes_a_trial_keep_what_it_has_and_go_on_elsewhere(notice, tmp_path):
    never = {"NARL_CHECKPOINT_SECONDS": "100000", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "300"}
    with RayNodes(tmp_path, cpus=0, env=never) as cluster:
        first = cluster.add(1)
        space, shared = write_space(tmp_path, **LONG), tmp_path / "shared"
        argv = ("--ray-address", cluster.address, "--storage", str(shared))
        driver = start(tmp_path, "search", str(space), *argv, HOME=str(cluster.home))
        kept = shared / "tiny" / "checkpoints"
        _until(first.workers, driver)
        time.sleep(5)  # into the trial or not: notice that comes before its first epoch holds as well
        assert not kept.exists()
        cluster.drain(first, seconds=300) if notice == "drained" else first.terminate()
        _until(lambda: list(kept.glob("*.safetensors")), driver)
        second = cluster.add(1)
        first.kill()
        (file,) = kept.glob("*.safetensors")
        header = Snapshot.decode(file.read_bytes()).header
        done = finish(driver)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"node {first.ip} will be gone soon and gets no more trials" in done.stdout
    (record,) = read_ledger(tmp_path / "narl-runs" / "tiny" / "ledger.jsonl")
    assert (record.tags["resumed"], record.tags["node"]) == ("1", second.ip)
    # It did not begin anew: the losses that the first node kept are the curve's beginning.
    before = header.curves["train_task_loss"]
    assert before and record.curves["train_task_loss"][: len(before)] == before
    assert not list(kept.glob("*"))


def _until(condition, driver, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
