"""The driver that `ray submit` runs, against the head of a cluster of our own on loopback."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from processes import alive, descendants
from ray_nodes import free_ports
from tiny_search import (
    SEARCH,
    environment,
    finish,
    narl,
    start,
    write_space,
)

from narl.search.ledger import Ledger

DRIVER = (sys.executable, str(SEARCH))

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture
def home(tmp_path, request):
    """A home folder with a Ray token, which closes the cluster to everybody else; `open`: without one."""
    folder = tmp_path / "home"
    folder.mkdir()
    if getattr(request, "param", "token") == "token":
        (folder / ".ray").mkdir()
        (folder / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    return folder


@pytest.fixture
def head(tmp_path, home):
    """(process, address) of a Ray head with two CPUs. Never `ray stop`: that ends other people's clusters too."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: a socket's path has at most 107 bytes
    port, agent_port = free_ports(2)
    log = tmp_path / "head.log"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"),
            *(f"--dashboard-agent-listen-port={agent_port}", "--min-worker-port=0", "--max-worker-port=0"),
            *("--disable-usage-stats", "--no-monitor", "--include-log-monitor=false"),
        ],
        env=environment(tmp_path, HOME=str(home), RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES=str(200 * 2**20)),
        stdin=subprocess.DEVNULL,
        stdout=log.open("w", encoding="utf-8"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while "--block" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
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
        shutil.rmtree(folder, ignore_errors=True)


def test_search_py_runs_its_trials_on_the_cluster(head, home, tmp_path):
    process, address = head
    space, runs, work = write_space(tmp_path, trials=2), tmp_path / "runs", tmp_path / "work"
    work.mkdir()
    argv = (str(space), "--ray-address", address, "--runs", str(runs))
    driver = start(work, *argv, command=DRIVER, HOME=str(home))
    on_cluster = False
    while driver.poll() is None and not on_cluster:
        on_cluster = any("Trainable" in title or "TrialActor" in title for title in descendants(process.pid).values())
        assert not any("raylet" in title for title in descendants(driver.pid).values())
        time.sleep(0.05)
    done = finish(driver)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert on_cluster
    assert [record.status for record in Ledger(runs / "tiny" / "ledger.jsonl").records] == ["complete", "complete"]
    assert "2 trials done (2 new, 0 failed)" in done.stdout
    assert {p.name for p in work.iterdir()} - {"cache"} == {"mlflow.db", "mlruns"}
    assert process.poll() is None  # the cluster is not the driver's to end


@pytest.mark.slow
@pytest.mark.parametrize("home", ["open"], indirect=True)
def test_cluster_without_a_token_serves_one_driver_after_another(head, home, tmp_path):
    argv = (str(write_space(tmp_path, trials=1)), "--ray-address", head[1])
    for options, words in (((), "1 trials done (1 new"), (("--resume", "--trials=2"), "2 trials done (1 new")):
        done = narl(tmp_path, *argv, *options, command=DRIVER, HOME=str(home))
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert words in done.stdout


def test_space_and_cluster_at_hand_by_default():
    """What `ray submit cluster.yaml search.py` means without arguments."""
    code = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['arguments'](sys.argv[2:])))"

    def arguments(*argv: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, str(SEARCH), *argv], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    embedded = str(Path("~/narl-checkout/search_spaces/digits.yaml").expanduser())
    assert arguments() == ["search", embedded, "--ray-address", "auto"]
    assert arguments("--resume") == ["search", embedded, "--resume", "--ray-address", "auto"]
    assert arguments("a.yaml", "--trials", "3") == ["search", "a.yaml", "--trials", "3", "--ray-address", "auto"]
    assert arguments("a.yaml", "--ray-address=b:1") == ["search", "a.yaml", "--ray-address=b:1"]


def test_a_folder_of_narls_name_beside_the_script_is_not_the_package(tmp_path):
    """`ray submit` copies search.py to the home folder, where anything may lie."""
    (tmp_path / "narl").mkdir()
    (tmp_path / "narl" / "__init__.py").write_text("raise AssertionError('not the package')")
    shutil.copy(SEARCH, tmp_path)
    done = narl(tmp_path, "--help", command=(sys.executable, "search.py"))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
