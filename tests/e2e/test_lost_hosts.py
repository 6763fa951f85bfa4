"""What outlives a host: the ledger at another place, and trials that go on where they were interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress

import boto3
import pytest
from interrupted_search import LONG
from processes import alive, descendants
from ray_nodes import is_trial
from tiny_search import narl, start, write_space

from narl.core.point import Point
from narl.search.ledger import read_ledger

pytestmark = pytest.mark.timeout(1200)


@pytest.mark.slow
def test_a_new_host_goes_on_with_a_lost_ones_search(tmp_path, aws, s3_server):
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="results")
    place, env = "s3://results/searches", {"AWS_ENDPOINT_URL": s3_server, "AWS_DEFAULT_REGION": "us-east-1"}
    argv = ("--resume", "--storage", place)
    for host in ("old", "new", "other"):
        (tmp_path / host).mkdir()
    space = write_space(tmp_path, trials=1000)

    def stored() -> list[bytes]:
        found = {item["Key"] for item in client.list_objects_v2(Bucket="results").get("Contents", [])}
        if "searches/tiny/ledger.jsonl" not in found:
            return []
        return client.get_object(Bucket="results", Key="searches/tiny/ledger.jsonl")["Body"].read().splitlines()

    # The head dies in the middle, with all that it has.
    driver = start(tmp_path / "old", "search", str(space), *argv, **env)
    deadline = time.monotonic() + 240
    while len(stored()) < 2:
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.2)
    below = descendants(driver.pid)
    driver.kill()
    driver.communicate()
    for pid in alive(below):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(tmp_path / "old")
    before = stored()

    trials = len(before) + 2
    again = narl(tmp_path / "new", "search", str(space), *argv, "--trials", str(trials), **env)
    assert (again.returncode, again.stderr) == (0, ""), again.stdout
    assert f"{trials}/{trials} trial" in again.stdout and "(2 new, 0 failed)" in again.stdout
    ledger = tmp_path / "new" / "narl-runs" / "tiny" / "ledger.jsonl"
    assert ledger.read_bytes().splitlines()[: len(before)] == before  # none ran again
    after = read_ledger(ledger)
    assert len(after) == len({r.trial_id for r in after}) == len({r.config.content_hash for r in after}) == trials
    assert stored() == ledger.read_bytes().splitlines()
    assert f"sent 0 of {trials}" in narl(tmp_path / "new", "sync").stdout  # MLflow was rebuilt from the ledger
    best = narl(tmp_path / "other", "best-config", "--runs", place, **env)
    assert best.returncode == 0 and "found_by:" in best.stdout

    # Another search under the same name: neither ledger is the other's beginning.
    assert narl(tmp_path / "other", "search", str(space), "--trials", "1").returncode == 0
    refused = narl(tmp_path / "other", "search", str(space), *argv, **env)
    assert refused.returncode == 2 and "they are two searches" in refused.stderr


@pytest.mark.slow
def test_a_trial_that_ran_on_a_lost_host_goes_on_from_its_checkpoint(tmp_path):
    """Its point is one of infinitely many: nobody would propose it again."""
    space = write_space(tmp_path, **LONG | {"trials": 3, "sigma": {"low": 0.5, "high": 5}})
    stored, env = tmp_path / "shared" / "tiny", {"NARL_CHECKPOINT_SECONDS": "0"}
    argv = ("search", str(space), "--resume", "--storage", str(tmp_path / "shared"))
    for name in ("old", "new"):
        (tmp_path / name).mkdir()

    def interrupted() -> bool:
        """One trial has finished and is stored, and each that runs has a checkpoint."""
        running, ledger = stored / "running.json", stored / "ledger.jsonl"
        rows = json.loads(running.read_text()) if running.exists() else []
        finished = read_ledger(ledger)
        keys = {Point.from_json(row["config"]).content_hash for row in rows}
        kept = {path.stem for path in (stored / "checkpoints").glob("*.safetensors")}
        return bool(finished and keys) and keys <= kept and not {r.config.content_hash for r in finished} & keys

    driver = start(tmp_path / "old", *argv, **env)
    deadline = time.monotonic() + 400
    while not interrupted():
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.02)
    below = descendants(driver.pid)
    driver.kill()
    driver.communicate()
    for pid in alive(below):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(tmp_path / "old")
    lost = {row["trial_id"]: row["config"] for row in json.loads((stored / "running.json").read_text())}
    nobodys = stored / "checkpoints" / "of-a-trial-long-gone.safetensors"
    nobodys.write_bytes(b"")

    done = narl(tmp_path / "new", *argv, **env)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    records = {r.trial_id: r for r in read_ledger(tmp_path / "new" / "narl-runs" / "tiny" / "ledger.jsonl")}
    assert sorted(records) == [0, 1, 2] and lost
    for trial_id, config in lost.items():
        assert records[trial_id].config.to_json() == config and records[trial_id].tags["resumed"] == "1"
    assert not nobodys.exists() and not list((stored / "checkpoints").glob("*"))
    assert not (stored / "running.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "driver"])
def test_an_interrupted_trial_goes_on_to_the_same_numbers(tmp_path, victim):
    space = write_space(tmp_path, **LONG)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = narl(tmp_path / "whole", "search", str(space))
    assert whole.returncode == 0, whole.stderr

    env = {"NARL_CHECKPOINT_SECONDS": "0", "NARL_CACHE": str(tmp_path / "whole" / "cache")}
    folder = tmp_path / "broken" / "narl-runs" / "tiny"
    driver = start(tmp_path / "broken", "search", str(space), **env)
    deadline = time.monotonic() + 240
    while not list((folder / "checkpoints").glob("*.safetensors")):
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.02)
    below = descendants(driver.pid)
    if victim == "worker":
        for (pid, _), title in below.items():
            if is_trial(title):
                os.kill(pid, signal.SIGKILL)
        out, err = driver.communicate(timeout=300)
        assert (driver.returncode, err) == (0, "") and "runs again: its worker process died" in out
    else:
        driver.kill()
        driver.communicate()
        for pid in alive(below):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done = narl(tmp_path / "broken", "search", str(space), "--resume", **env)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    (one,) = read_ledger(tmp_path / "whole" / "narl-runs" / "tiny" / "ledger.jsonl")
    (other,) = read_ledger(folder / "ledger.jsonl")
    assert other.tags["resumed"] == "1"
    assert other.curves == one.curves and len(one.curves["train_task_loss"]) == 40
    timed = ("train_seconds", "attack_seconds")
    assert {k: v for k, v in other.metrics.scalars().items() if k not in timed} == {
        k: v for k, v in one.metrics.scalars().items() if k not in timed
    }
    assert not (folder / "checkpoints").exists()
