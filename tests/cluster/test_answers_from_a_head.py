"""`narl best-config --cluster` where there is no answer, without a cluster: tests/cluster/test_two_hosts.py has one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "cluster"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("onprm.yaml", "cannot read onprm.yaml: no such file; did you mean 'onprem.yaml'?"),
        ("kuberay.yaml", "kuberay.yaml is not valid YAML: expected a single document"),
        ("../setup.cfg", "../setup.cfg is not valid YAML"),
        ("../pipelines/digits.yaml", "not a file of Ray's launcher (it has no provider)"),
        (
            "onprem.yaml",
            "~/narl-runs on the head of onprem.yaml cannot be read: RuntimeError: Head node of cluster (narl)",
        ),
    ],
)
def test_one_line_says_why(file, reason, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where Ray notes which hosts are up
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "narl", "best-config", "--cluster", file], cwd=CLUSTER, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert reason in done.stderr
