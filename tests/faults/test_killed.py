"""Workers, drivers and nodes killed again and again, at moments that a seed chooses: no trial lost, none twice.

    python -m pytest -m slow tests/faults

prints the table of docs/reliability.md. The number of faults of each kind: NARL_FAULTS (20).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bookkeeping import FaultRow, books, finished_in
from campaign import FAULTS, SEED, wait_for
from processes import alive, descendants
from ray_nodes import RayNodes, is_trial
from tiny_search import narl, ray_folders, start, write_space

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@contextmanager
def ended(driver) -> Iterator[None]:
    """Nothing of a driver's outlives the block."""
    processes: dict = {}
    try:
        yield
    finally:
        processes |= descendants(driver.pid)
        driver.kill()
        driver.communicate()
        for pid in alive(processes):
            os.kill(pid, signal.SIGKILL)


def settle(folder: Path, space: Path, *options: str, trials: int, **env: str):
    """Resume until nothing is left to do, and compare the books."""
    done = narl(folder, "search", str(space), "--resume", "--trials", str(trials), *options, **env)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done


def test_workers_killed(tmp_path, report):
    """As a lack of memory or a crash of a library does: the trial runs again, whole, under its own number."""
    draw, began = random.Random(SEED), time.monotonic()
    trials = 2 * FAULTS
    space, runs = write_space(tmp_path, trials=trials), tmp_path / "narl-runs" / "tiny"
    killed = 0
    while killed < FAULTS:
        driver = start(tmp_path, "search", str(space), "--resume")
        with ended(driver):
            while killed < FAULTS and driver.poll() is None:
                workers: list[int] = []

                def some_worker(driver=driver, workers=workers) -> bool:
                    below = descendants(driver.pid).items()
                    workers[:] = [pid for (pid, _), title in below if is_trial(title)]
                    return bool(workers)

                if wait_for(some_worker, 120, driver):
                    time.sleep(draw.uniform(0, 3))
                    try:
                        os.kill(draw.choice(workers), signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    killed += 1
                    print(f"{killed}: {len(finished_in(runs))} finished", flush=True)
            if driver.poll() is None:
                driver.wait(timeout=600)
            out = driver.stdout.read()
        trials = max(trials, len(finished_in(runs)) + 4)
        space = write_space(tmp_path, trials=trials)
    assert "runs again: its worker process died" in out
    done = settle(tmp_path, space, trials=trials)
    result = books(runs, f"sqlite:///{tmp_path / 'mlflow.db'}")
    report(FaultRow("worker killed", killed, len(result.ledger), result.lost, result.twice, time.monotonic() - began))
    assert (result.lost, result.twice) == (0, 0) and sorted(result.ledger) == list(range(trials))
    assert "0 failed" in done.stdout


def test_drivers_killed(tmp_path, report):
    """kill -9 at any moment from the first import to the last trial, then --resume."""
    draw, began = random.Random(SEED + 1), time.monotonic()
    space, runs = write_space(tmp_path, trials=1000), tmp_path / "narl-runs" / "tiny"
    seen: set[int] = set()
    ray_of: list[int] = []
    for count in range(FAULTS):
        driver = start(tmp_path, "search", str(space), "--resume")
        with ended(driver):
            target = len(seen) + draw.choice([0, 1, 1, 2, 3])
            wait_for(lambda target=target: (runs / "ledger.jsonl").exists() and len(finished_in(runs)) >= target, 120)
            time.sleep(draw.uniform(0, 2))
            assert driver.poll() is None, driver.communicate()
            processes = descendants(driver.pid)
            driver.kill()
            ray_of.append(driver.pid)
        busy = {process for process, title in processes.items() if "Agent" not in title}
        assert wait_for(lambda busy=busy: not alive(busy), 60), "Ray outlives its driver"
        if (runs / "ledger.jsonl").exists():
            now = finished_in(runs)
            assert now >= seen
            seen = now
        print(f"{count + 1}: {len(seen)} finished", flush=True)
    trials = len(seen) + 2
    settle(tmp_path, space, trials=trials)
    assert [folder for pid in ray_of for folder in ray_folders(pid)] == []  # the next driver has removed them
    result = books(runs, f"sqlite:///{tmp_path / 'mlflow.db'}", seen)
    report(FaultRow("driver killed", FAULTS, len(result.ledger), result.lost, result.twice, time.monotonic() - began))
    assert (result.lost, result.twice) == (0, 0) and sorted(result.ledger) == list(range(trials))


@pytest.mark.cluster
def test_nodes_killed_while_others_join(tmp_path, report):
    """A spot cluster: of two nodes with trials one dies at once and without notice, another joins."""
    draw, began = random.Random(SEED + 2), time.monotonic()
    space, runs = write_space(tmp_path, trials=1000), tmp_path / "narl-runs" / "tiny"
    with RayNodes(tmp_path, cpus=0) as cluster:
        env = {"HOME": str(cluster.home)}
        live = [cluster.add(1), cluster.add(1)]
        driver = start(tmp_path, "search", str(space), "--ray-address", cluster.address, **env)
        # It says more than a pipe holds, and would wait for somebody to read.
        reader = threading.Thread(target=driver.communicate, daemon=True)
        reader.start()
        with ended(driver):
            for count in range(FAULTS):
                assert wait_for(lambda: all(node.workers() for node in live), 180, driver), "a node without a trial"
                time.sleep(draw.uniform(0, 2))
                live.pop(draw.randrange(len(live))).kill()
                live.append(cluster.add(1))
                print(f"{count + 1}: {len(finished_in(runs))} finished", flush=True)
            assert driver.poll() is None
            assert wait_for(lambda: all(node.workers() for node in live), 180, driver)
            driver.kill()
            reader.join()
        trials = len(finished_in(runs)) + 2
        done = settle(tmp_path, space, "--ray-address", cluster.address, trials=trials, **env)
    result = books(runs, f"sqlite:///{tmp_path / 'mlflow.db'}")
    report(FaultRow("node killed", FAULTS, len(result.ledger), result.lost, result.twice, time.monotonic() - began))
    assert (result.lost, result.twice) == (0, 0) and sorted(result.ledger) == list(range(trials))
    assert "0 failed" in done.stdout
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
