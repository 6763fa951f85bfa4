"""The scripts of examples/ as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from narl.core.records import TrialRecord
from narl.export.bundle import verify_bundle
from narl.search.ledger import read_ledger

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.slow


def printed_by(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = {**os.environ, "NARL_CACHE": str(folder / "cache"), "MLFLOW_TRACKING_URI": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.cluster
def test_a_search(tmp_path):
    printed = printed_by("search.py", tmp_path)
    records: list[TrialRecord] = read_ledger(tmp_path / "narl-runs" / "example" / "ledger.jsonl")
    assert len(records) == 4 and all(record.metrics for record in records)
    for record in records:
        assert f"trial {record.trial_id}: Δ {record.metrics.delta:.1f}" in printed
    assert re.search("^best: trial [0-3], ", printed, re.MULTILINE)


def test_a_client_of_ones_own(tmp_path):
    printed = printed_by("own_client.py", tmp_path)
    little, much = (float(bound) for bound in re.findall(r"nobody reads more than ([\d.]+) %", printed))
    assert much < 80 < 99 < little  # the certificate of a pixelated digit, in noise of 0.1 and of 1


def test_a_bundle(tmp_path):
    printed = printed_by("bundle.py", tmp_path, "model")
    verify_bundle(tmp_path / "model")
    answers = re.findall(r"^(even|odd), (\d+) % sure$", printed, re.MULTILINE)
    assert len(answers) == 8 and all(50 <= int(sure) <= 100 for _, sure in answers)
