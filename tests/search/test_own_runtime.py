"""A Ray runtime of our own: nobody else reaches it or reads its files, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import alive, descendants

# The driver: one Tune trial that tells whether its worker has the credentials, then waits.
DRIVER = """
import os, time
from pathlib import Path
from ray import tune
from narl.search.runner import ray_runtime

class Told(tune.Trainable):
    def step(self):
        Path(self.config["to"]).write_text(os.environ["AWS_SECRET_ACCESS_KEY"])
        time.sleep(300)
    def save_checkpoint(self, folder): ...
    def load_checkpoint(self, state): ...

with ray_runtime(None):
    tune.Tuner(Told, param_space={"to": os.environ["TOLD"]}, run_config=tune.RunConfig(storage_path=os.environ["KEPT"])).fit()
"""
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": "swordfish", "AWS_SESSION_TOKEN": "mackerel"}


def wait_for(condition, what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def driver(tmp_path):
    """A driver whose trial has begun, and every process below it."""
    told = tmp_path / "told"
    environment = os.environ | SECRETS | {"TOLD": str(told), "KEPT": str(tmp_path / "kept")}
    with open(tmp_path / "output", "w") as output:
        process = subprocess.Popen([sys.executable, "-c", DRIVER], env=environment, stdout=output, stderr=output)
    started = {}
    try:
        wait_for(lambda: told.exists() or process.poll() is not None, "no trial began")
        assert process.poll() is None, (tmp_path / "output").read_text()
        started = descendants(process.pid)
        yield process, started
    finally:
        process.kill()
        process.wait()
        for pid in alive(started):
            os.kill(pid, signal.SIGKILL)


def folder_of(driver: int) -> Path:
    (session,) = Path("/tmp").glob(f"narl-ray-*/r/session_*_{driver}")
    return session.parents[1]


@pytest.mark.slow
def test_a_runtime_of_our_own_is_closed_and_ends_with_us(driver, tmp_path):
    process, started = driver
    folder = folder_of(process.pid)
    assert (tmp_path / "told").read_text() == "swordfish"
    assert len(started) >= 4  # GCS, raylet, agent, worker

    listening = [
        c.laddr.ip
        for pid in (process.pid, *alive(started))
        for c in psutil.Process(pid).net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4 and {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}

    assert folder.stat().st_mode & 0o777 == 0o700
    kept = [path for where in (folder, tmp_path / "kept") for path in where.rglob("*") if path.is_file()]
    assert len(kept) > 10
    for path in kept:
        content = path.read_bytes()
        assert not [secret for secret in SECRETS.values() if secret.encode() in content], path

    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    wait_for(lambda: not alive(started), "processes are left")
    assert not folder.exists()
