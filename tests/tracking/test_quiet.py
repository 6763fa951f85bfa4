"""MLflow reports nothing to its makers, in a process like a user's: in a test of its own it would not anyway."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
from narl.tracking.connection import connected
connected("sqlite:///mlflow.db")
from mlflow.telemetry.client import get_telemetry_client
print(get_telemetry_client())
"""


@pytest.mark.parametrize(("chosen", "reports"), [({}, False), ({"MLFLOW_DISABLE_TELEMETRY": "false"}, True)])
def test_mlflow_reports_only_if_the_user_says_so(tmp_path, chosen, reports):
    unset = ("PYTEST_", "CI", "GITHUB_", "MLFLOW_", "DO_NOT_TRACK")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    # No server is reached: the proxy is no one.
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=tmp_path,
        env=kept | nowhere | chosen,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("TelemetryClient" in done.stdout) == reports and ("None" in done.stdout) != reports
