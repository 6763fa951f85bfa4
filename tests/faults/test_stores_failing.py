"""MLflow away, disk full, study locked or damaged, again and again: the ledger keeps what had finished, in one line.

python -m pytest -m slow tests/faults
"""

from __future__ import annotations

import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from bookkeeping import FaultRow, books, finished_in
from campaign import FAULTS, SEED, wait_for
from processes import alive, descendants
from ray_nodes import free_ports
from tiny_search import environment, narl, start, write_space

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Gate:
    """A port that leads to another one while it is open; closing it cuts every connection."""

    def __init__(self, port: int):
        self._there = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open, self._ends = True, set()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._open = False
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        self._open = True

    def _serve(self) -> None:
        while True:
            here, _ = self._listener.accept()
            if not self._open:
                here.close()
                continue
            with suppress(OSError):
                there = socket.create_connection(self._there)
                self._ends |= {here, there}
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            self._ends.discard(end)
            end.close()


@contextmanager
def mlflow_server(folder: Path):
    """A real MLflow server on loopback; its port."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder / 'server.db'}"),
            *("--artifacts-destination", str(folder / "art")),
        ],
        env=environment(folder, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        stdin=subprocess.DEVNULL,
        stdout=(folder / "mlflow.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.2)
        yield port
    finally:
        below = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in alive(below):
            os.kill(pid, 9)


def test_mlflow_away(tmp_path, report):
    """Its server cannot be reached, at moments and for times that a seed chooses; `narl sync` sends what it missed."""
    draw, began = random.Random(SEED + 3), time.monotonic()
    space, runs = write_space(tmp_path, trials=1000), tmp_path / "narl-runs" / "tiny"
    with mlflow_server(tmp_path) as port:
        gate = Gate(port)
        uri = f"http://127.0.0.1:{gate.port}"
        driver = start(tmp_path, "search", str(space), MLFLOW_TRACKING_URI=uri)
        processes: dict = {}
        try:
            assert wait_for(lambda: (runs / "ledger.jsonl").exists(), 180, driver), driver.communicate()
            for _ in range(FAULTS):
                time.sleep(draw.uniform(0.2, 1.5))
                gate.close()
                time.sleep(draw.uniform(0.2, 1.5))
                gate.open()
        finally:
            processes |= descendants(driver.pid)
            driver.kill()
            driver.communicate()
            for pid in alive(processes):
                os.kill(pid, 9)
        trials = len(finished_in(runs)) + 2
        gate.close()
        done = narl(tmp_path, "search", str(space), "--resume", "--trials", str(trials), MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert line.startswith("narl: MLflow lacks some runs")
        gate.open()
        sent = narl(tmp_path, "sync", MLFLOW_TRACKING_URI=uri)
        assert (sent.returncode, sent.stderr) == (0, "")
        result = books(runs, uri)
    report(FaultRow("MLflow away", FAULTS, len(result.ledger), result.lost, result.twice, time.monotonic() - began))
    assert (result.lost, result.twice) == (0, 0) and sorted(result.ledger) == list(range(trials))


def filled(disk: Path, leave: int) -> None:
    """Write to the disk until so many bytes are free."""
    stat = os.statvfs(disk)
    count = max(0, stat.f_bavail * stat.f_frsize - leave)
    with open(disk / "filler", "wb") as file, suppress(OSError):
        file.write(bytes(count))


def in_one_line(done) -> None:
    """An honest end, good or bad, and no traceback."""
    assert done.returncode in (0, 1, 2), (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr


@pytest.fixture
def disk(tmp_path):
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_full(tmp_path, disk, report):
    """The disk of ledger and study fills up; what is left lets a search begin or not, go on or not."""
    draw, began = random.Random(SEED + 4), time.monotonic()
    space, runs, seen, failed = write_space(tmp_path, trials=1000), disk / "tiny", set(), 0
    for count in range(FAULTS):
        filled(disk, leave=draw.choice([0, 2_000, 8_000, 30_000, 100_000]))
        done = narl(tmp_path, "search", str(space), "--resume", "--trials", str(len(seen) + 2), "--runs", str(disk))
        in_one_line(done)
        failed += done.returncode == 2
        (disk / "filler").unlink()
        now = finished_in(runs) if (runs / "ledger.jsonl").exists() else set()
        assert now >= seen
        seen = now
        print(f"{count + 1}: exit {done.returncode}, {len(seen)} finished; {done.stderr.strip()}", flush=True)
    assert failed
    trials = len(seen) + 2
    done = narl(tmp_path, "search", str(space), "--resume", "--trials", str(trials), "--runs", str(disk))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    result = books(runs, f"sqlite:///{tmp_path / 'mlflow.db'}", seen)
    report(FaultRow("disk full", FAULTS, len(result.ledger), result.lost, result.twice, time.monotonic() - began))
    assert (result.lost, result.twice) == (0, 0) and sorted(result.ledger) == list(range(trials))


def test_study_failing(tmp_path, report):
    """The study is locked by somebody, overwritten with rubbish, or gone."""
    draw, began = random.Random(SEED + 5), time.monotonic()
    space, runs, seen = write_space(tmp_path, trials=1000), tmp_path / "narl-runs" / "tiny", set()
    assert narl(tmp_path, "search", str(space), "--trials", "1").returncode == 0
    study = runs / "study.db"
    for count in range(FAULTS):
        kind = draw.choice(["locked", "rubbish", "gone"])
        whole = study.read_bytes()
        argv = ("search", str(space), "--resume", "--trials", str(len(finished_in(runs)) + 2))
        if kind == "locked":
            driver = start(tmp_path, *argv)
            time.sleep(draw.uniform(4, 10))
            holder = sqlite3.connect(study, timeout=60)
            with suppress(sqlite3.OperationalError):
                holder.execute("BEGIN EXCLUSIVE")
            out, err = driver.communicate(timeout=400)
            holder.close()
            done = subprocess.CompletedProcess([], driver.returncode, out, err)
        else:
            study.write_bytes(b"rubbish" * 100) if kind == "rubbish" else study.unlink()
            done = narl(tmp_path, *argv)
            if kind == "rubbish":
                assert done.returncode == 2 and "study" in done.stderr
                study.write_bytes(whole)
            else:
                assert (done.returncode, done.stderr) == (0, "")  # rebuilt from the ledger
        in_one_line(done)
        now = finished_in(runs)
        assert now >= seen
        seen = now
        print(f"{count + 1}: {kind}, exit {done.returncode}, {len(seen)} finished; {done.stderr.strip()}", flush=True)
    trials = len(seen) + 2
    done = narl(tmp_path, "search", str(space), "--resume", "--trials", str(trials))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    result = books(runs, f"sqlite:///{tmp_path / 'mlflow.db'}", seen)
    report(FaultRow("study failing", FAULTS, len(result.ledger), result.lost, result.twice, time.monotonic() - began))
    assert (result.lost, result.twice) == (0, 0) and sorted(result.ledger) == list(range(trials))
