"""kill -9 of the driver in the middle of a search: nothing that had finished is lost or run again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from processes import alive, descendants
from tiny_search import (
    SPACE,
    narl,
    ray_folders,
    start,
    study_of,
    write_space,
)

from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

pytestmark = pytest.mark.timeout(1200)

TRIALS = 4


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s: {what}"
        time.sleep(0.02)


def whole_lines(path: Path) -> bytes:
    """The ledger up to its last newline."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


@contextmanager
def killed(folder: Path, space: Path, records: int) -> Iterator[tuple[bytes, dict[tuple[int, str], str]]]:
    """A search whose driver is killed once that many trials have finished: ledger, and processes it had started.

    Those that still run at the end are killed too.
    """
    ledger = SearchFolder(folder / "narl-runs" / "tiny").ledger_path
    (folder / "temporary").mkdir()
    driver = start(folder, "search", str(space), TMPDIR=str(folder / "temporary"))
    processes: dict[tuple[int, str], str] = {}
    try:
        try:
            wait_for(
                lambda: whole_lines(ledger).count(b"\n") >= records or driver.poll() is not None,
                300,
                f"fewer than {records} trials have finished",
            )
            assert driver.poll() is None, driver.communicate()
            processes = descendants(driver.pid)
        finally:
            driver.kill()
        _, stderr = driver.communicate(timeout=60)  # ends when nobody holds its output open
        assert stderr == ""
        assert any("raylet" in command for command in processes.values())
        yield whole_lines(ledger), processes
    finally:
        for pid in alive(processes):
            os.kill(pid, signal.SIGKILL)
        for session in ray_folders(driver.pid):  # what a killed driver cannot remove
            shutil.rmtree(session.parent)


def test_kill_and_resume(tmp_path):
    pipeline = SPACE["pipeline"] | {"loader": "tensor"}
    space = write_space(tmp_path, trials=TRIALS, pipeline=pipeline)
    folder = SearchFolder(tmp_path / "narl-runs" / "tiny")
    with killed(tmp_path, space, records=1) as (finished, processes):
        assert 1 <= finished.count(b"\n") < TRIALS
        # Ray's two agents look for their head for a minute more, idle.
        busy = {process for process, command in processes.items() if "Agent" not in command}
        wait_for(lambda: not alive(busy), 60, "Ray outlives its driver")

    done = narl(tmp_path, "search", str(space), "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert folder.ledger_path.read_bytes().startswith(finished)
    ledger = Ledger(folder.ledger_path)
    assert [record.trial_id for record in ledger.records] == list(range(TRIALS))
    assert len({record.config.content_hash for record in ledger.records}) == TRIALS
    assert all(record.metrics for record in ledger.records)
    kept = {json.loads(line)["trial_id"] for line in finished.splitlines()}
    ran = [int(trial) for trial in re.findall(rf"^\d+/{TRIALS} trial (\d+) ", done.stdout, flags=re.MULTILINE)]
    assert sorted(ran) == sorted(set(range(TRIALS)) - kept)
    assert f"{TRIALS} trials done ({TRIALS - len(kept)} new, 0 failed)" in done.stdout

    trials = study_of(folder).get_trials()
    complete = [t.user_attrs["trial_id"] for t in trials if t.state == TrialState.COMPLETE]
    assert sorted(complete) == list(range(TRIALS))
    # What ran when the driver died: once as failed, once more under its own number.
    orphans = {t.user_attrs["trial_id"] for t in trials if t.state == TrialState.FAIL}
    assert orphans <= set(ran) and len(trials) == TRIALS + len(orphans)
    assert ray_folders(done.pid) == []

    # MLflow, live in both sessions, shows one search.
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("narl/tiny").experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert sorted(int(run.data.tags["narl.trial_id"]) for run in children) == list(range(TRIALS))
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.metrics["trials_complete"] == TRIALS


@pytest.mark.slow
def test_every_process_of_a_killed_driver_ends(tmp_path):
    with killed(tmp_path, write_space(tmp_path), records=1) as (_, processes):
        wait_for(lambda: not alive(processes), 120, "Ray outlives its driver")


@pytest.mark.slow
def test_resume_of_a_whole_search_does_nothing(tmp_path):
    space = write_space(tmp_path, trials=1)
    assert narl(tmp_path, "search", str(space)).returncode == 0
    ledger = tmp_path / "narl-runs" / "tiny" / "ledger.jsonl"
    before = ledger.read_bytes()
    done = narl(tmp_path, "search", str(space), "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 trials done (0 new, 0 failed)" in done.stdout
    more = narl(tmp_path, "search", str(space), "--resume", "--trials", "2")
    assert "2 trials done (1 new, 0 failed)" in more.stdout
    assert ledger.read_bytes().startswith(before) and ledger.read_bytes().count(b"\n") == 2
