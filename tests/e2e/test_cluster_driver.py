"""The driver that `ray submit` runs, against the head of a cluster of our own on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from tiny_search import SEARCH, alive, descendants, environment, finish, start, write_space

from narl.ledger import Ledger

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def free_ports(count: int) -> list[int]:
    with ExitStack() as open_sockets:
        probes = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture
def head(tmp_path):
    """(process, address) of a Ray head with two CPUs. Never `ray stop`: that ends other people's clusters too."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: a socket's path has at most 107 bytes
    port, client_port, agent_port = free_ports(3)
    log = open(tmp_path / "head.log", "w", encoding="utf-8")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"),
            *(f"--ray-client-server-port={client_port}", f"--dashboard-agent-listen-port={agent_port}"),
            *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
        ],
        env=environment(tmp_path, RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES=str(200 * 2**20)),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while "--block" not in (tmp_path / "head.log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "head.log").read_text()
            time.sleep(0.1)
        yield process, f"127.0.0.1:{port}"
    finally:
        below = descendants(process.pid)
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
        for pid in alive(below):
            os.kill(pid, signal.SIGKILL)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_search_py_runs_its_trials_on_the_cluster(head, tmp_path):
    process, address = head
    space, runs = write_space(tmp_path, trials=2), tmp_path / "runs"
    (tmp_path / "home").mkdir()
    driver = start(
        tmp_path / "home",
        *(str(space), "--ray-address", address, "--runs", str(runs)),
        command=(sys.executable, str(SEARCH)),
    )
    on_cluster: set[str] = set()
    own: set[str] = set()
    while driver.poll() is None and len(on_cluster) < 2:
        on_cluster |= {command.split()[0] for command in descendants(process.pid).values() if "Trainable" in command}
        own |= {command for command in descendants(driver.pid).values() if "raylet" in command}
        time.sleep(0.05)
    done = finish(driver)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert on_cluster and not own
    assert [record.status for record in Ledger(runs / "tiny" / "ledger.jsonl").records] == ["complete", "complete"]
    assert "2 trials done (2 new, 0 failed)" in done.stdout
    assert {p.name for p in (tmp_path / "home").iterdir()} == {"mlflow.db", "mlruns"}

    # The cluster is not the driver's to end, and serves the next one.
    assert process.poll() is None
    more = start(
        tmp_path / "home",
        *(str(space), "--ray-address", address, "--runs", str(runs), "--resume", "--trials=3"),
        command=(sys.executable, str(SEARCH)),
    )
    done = finish(more)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "3 trials done (1 new, 0 failed)" in done.stdout


def test_space_and_cluster_at_hand_by_default():
    """What `ray submit cluster.yaml search.py` means without arguments."""
    code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['arguments'](sys.argv[2:]))"

    def arguments(*argv: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, str(SEARCH), *argv], capture_output=True, text=True, check=True
        )
        return eval(done.stdout)  # noqa: S307

    embedded = str(Path("~/narl/search_spaces/digits.yaml").expanduser())
    assert arguments() == ["search", embedded, "--ray-address", "auto"]
    assert arguments("--resume") == ["search", embedded, "--resume", "--ray-address", "auto"]
    assert arguments("a.yaml", "--trials", "3") == ["search", "a.yaml", "--trials", "3", "--ray-address", "auto"]
    assert arguments("a.yaml", "--ray-address=b:1") == ["search", "a.yaml", "--ray-address=b:1"]
