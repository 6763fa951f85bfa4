"""A node that is told to go: its trial is kept at once, and goes on elsewhere from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from interrupted_search import LONG
from ray_nodes import RayNode, RayNodes
from tiny_search import finish, start, write_space

from narl.checkpoints.snapshot import Snapshot
from narl.search.ledger import read_ledger

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


@pytest.mark.parametrize("notice", ["terminated", "taken"])
def test_notice_alone_makes_a_trial_keep_what_it_has_and_go_on_elsewhere(notice, tmp_path):
    never = {"NARL_CHECKPOINT_SECONDS": "100000", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "300"}
    with RayNodes(tmp_path, cpus=0, env=never) as cluster, ExitStack() as also:
        first = cluster.add(1)
        spot = also.enter_context(spot_machine(cluster, first, tmp_path / "notice.log")) if notice == "taken" else None
        # Longer than a notice takes to arrive on a busy machine.
        space, shared = (
            write_space(tmp_path, **LONG | {"training": {"epochs": 100, "batch_size": 64}}),
            tmp_path / "shared",
        )
        argv = ("--ray-address", cluster.address, "--storage", str(shared))
        driver = start(tmp_path, "search", str(space), *argv, HOME=str(cluster.home))
        kept = shared / "tiny" / "checkpoints"
        _until(first.workers, driver)
        time.sleep(5)  # into the trial or not: notice that comes before its first epoch holds as well
        assert not kept.exists()
        match notice:
            case "terminated":
                first.terminate()
            case "taken":
                spot.taken_at = (datetime.now(UTC) + timedelta(seconds=300)).strftime("%Y-%m-%dT%H:%M:%SZ")
        _until(lambda: list(kept.glob("*.safetensors")), driver)
        first.kill()  # at once: while another node starts, the trial would come to its end here
        (file,) = kept.glob("*.safetensors")
        header = Snapshot.decode(file.read_bytes()).header
        second = cluster.add(1)
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
