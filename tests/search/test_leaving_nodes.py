"""A node that is told to go: its trial is kept at once, and goes on elsewhere from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import ray
from interrupted_search import LONG
from ray_nodes import RayNode, RayNodes
from tiny_search import finish, start, write_space

from narl.checkpoints.snapshot import Snapshot
from narl.search.draining import Leaving, draining_nodes
from narl.search.ledger import read_ledger
from narl.search.runner import ray_runtime
from narl.search.status import read_status

NOTICE = Path(__file__).parents[2] / "cluster" / "spot_notice.py"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


class Metadata(BaseHTTPRequestHandler):
    """Stands for EC2's metadata service, version 2, of a spot machine; answers who has fetched a token first."""

    ip = taken_at = ""

    def do_PUT(self) -> None:
        asked = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer("token" if asked else "")

    def do_GET(self) -> None:
        notice = json.dumps({"action": "terminate", "time": self.taken_at}) if self.taken_at else ""
        known = {"/latest/meta-data/spot/instance-action": notice, "/latest/meta-data/local-ipv4": self.ip}
        self._answer(known.get(self.path, "") if self.headers["X-aws-ec2-metadata-token"] == "token" else "")

    def _answer(self, text: str) -> None:
        self.send_response(200 if text else 404)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words: object) -> None: ...


@contextmanager
def spot_machine(cluster: RayNodes, node: RayNode, log: Path) -> Iterator[type[Metadata]]:
    """The node as one, with what cluster.yaml starts there; set `taken_at` and it has notice."""
    metadata = type("Metadata", (Metadata,), {"ip": node.ip})
    server = ThreadingHTTPServer(("127.0.0.1", 0), metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    watcher = subprocess.Popen(
        [sys.executable, str(NOTICE), cluster.address],
        env=os.environ | address | {"HOME": str(cluster.home), "RAY_AUTH_MODE": "token"},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        yield metadata
        assert watcher.wait(timeout=60) == 0, log.read_text()
    finally:
        watcher.kill()
        watcher.wait()
        server.shutdown()
        server.server_close()


# So that Ray does not end what still runs on a node that was told to go.
PATIENT = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "300"}


def test_notice_alone_makes_a_trial_keep_what_it_has_and_go_on_elsewhere(tmp_path):
    with RayNodes(tmp_path, cpus=0, env=PATIENT | {"NARL_CHECKPOINT_SECONDS": "100000"}) as cluster:
        first = cluster.add(1)
        # Longer than a notice takes to arrive on a busy machine.
        space = write_space(tmp_path, **LONG | {"training": {"epochs": 60, "batch_size": 64}})
        shared, search = tmp_path / "shared", tmp_path / "narl-runs" / "tiny"
        argv = ("--ray-address", cluster.address, "--storage", str(shared))
        driver = start(tmp_path, "search", str(space), *argv, HOME=str(cluster.home))
        kept = shared / "tiny" / "checkpoints"
        _until(lambda: (status := read_status(search)) and "epoch" in str(status.running), driver)
        assert not kept.exists()
        first.terminate()
        _until(lambda: list(kept.glob("*.safetensors")), driver)
        first.kill()  # at once: while another node starts, the trial would come to its end here
        (file,) = kept.glob("*.safetensors")
        header = Snapshot.decode(file.read_bytes()).header
        second = cluster.add(1)
        done = finish(driver)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"node {first.ip} will be gone soon and gets no more trials" in done.stdout
    (record,) = read_ledger(search / "ledger.jsonl")
    assert (record.tags["resumed"], record.tags["node"]) == ("1", second.ip)
    # It did not begin anew: the losses that the first node kept are the curve's beginning.
    before = header.curves["train_task_loss"]
    assert before and record.curves["train_task_loss"][: len(before)] == before
    assert not list(kept.glob("*"))


def test_a_spot_machine_that_will_be_taken_is_a_node_that_will_be_gone_soon(tmp_path, monkeypatch):
    """What a trial there hears; the test above shows what it makes of it."""
    with RayNodes(tmp_path, cpus=0, env=PATIENT) as cluster:
        node = cluster.add(1)
        monkeypatch.setenv("HOME", str(cluster.home))
        with spot_machine(cluster, node, tmp_path / "notice.log") as spot, ray_runtime(cluster.address):
            trial = ray.remote(num_cpus=1)(Leaving).remote()
            assert not ray.get(trial.__call__.remote()) and not draining_nodes()
            spot.taken_at = (datetime.now(UTC) + timedelta(seconds=300)).strftime("%Y-%m-%dT%H:%M:%SZ")
            deadline = time.monotonic() + 240
            while not ray.get(trial.__call__.remote()):
                assert time.monotonic() < deadline, (tmp_path / "notice.log").read_text()
                time.sleep(0.1)
            (leaving,) = draining_nodes()
            assert leaving == next(row["NodeID"] for row in ray.nodes() if row["NodeManagerAddress"] == node.ip)


def _until(condition, driver, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
