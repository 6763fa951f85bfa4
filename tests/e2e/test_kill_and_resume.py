"""kill -9 of the driver in the middle of a search: nothing that had finished is lost or run again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from tiny_search import alive, descendants, narl, ray_folders, start, study_of, write_space

from narl.ledger import Ledger
from narl.search_folder import SearchFolder

pytestmark = pytest.mark.timeout(1200)

TRIALS = 8


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s: {what}"
        time.sleep(0.02)


def whole_lines(path) -> bytes:
    """The ledger up to its last newline."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def test_kill_and_resume(tmp_path):
    space = write_space(tmp_path, trials=TRIALS)
    folder = SearchFolder(tmp_path / "narl-runs" / "tiny")
    driver = start(tmp_path, "search", str(space))
    try:
        wait_for(
            lambda: whole_lines(folder.ledger_path).count(b"\n") >= 2 or driver.poll() is not None,
            300,
            "no two trials have finished",
        )
        assert driver.poll() is None, driver.communicate()
        processes = descendants(driver.pid)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
    _, stderr = driver.communicate(timeout=60)  # ends when nobody holds its output open
    assert stderr == ""
    finished = whole_lines(folder.ledger_path)
    assert 2 <= finished.count(b"\n") < TRIALS

    assert any("raylet" in command for command in processes.values())
    wait_for(lambda: not alive(processes), 60, f"these outlive their driver: {[processes[p] for p in processes]}")
    for session in ray_folders(driver.pid):  # what a killed driver cannot remove itself
        shutil.rmtree(session.parent)

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

    # Resumed once more, there is nothing to do, and nothing is done.
    before = folder.ledger_path.read_bytes()
    again = narl(tmp_path, "search", str(space), "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert folder.ledger_path.read_bytes() == before
    assert "0 new" in again.stdout
