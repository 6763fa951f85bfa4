"""What Ray reads in the environment is there while a runtime is up, and at no other time."""

from __future__ import annotations

import os
import subprocess
import sys

from narl.search import runner


def in_own_process(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    command = [sys.executable, "-c", f"import os\nbefore = dict(os.environ)\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=kept | environment).stdout.strip()


def test_import_leaves_the_environment_alone(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    code = "import ray\nbefore = dict(os.environ)\nimport narl.search.runner, narl.search.run\n"
    assert in_own_process(code + "print(dict(os.environ) == before)", HOME=str(tmp_path)) == "True"


def test_settings_hold_for_the_runtime_alone(monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_SIGINT_HANDLER", "0")  # the user's word counts
    monkeypatch.delenv("TUNE_MAX_PENDING_TRIALS_PG", raising=False)
    before = dict(os.environ)
    with runner._settings_of_ray():
        assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "0"
        assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == "1000"
    assert dict(os.environ) == before


def test_ray_shows_the_token_though_it_was_imported_before(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    code = (
        "from narl.search import runner\n"
        "from ray._raylet import AuthenticationMode, get_authentication_mode\n"
        "before = get_authentication_mode()\n"
        "with runner._settings_of_ray():\n"
        "    print(before == AuthenticationMode.DISABLED, get_authentication_mode() == AuthenticationMode.TOKEN)"
    )
    assert in_own_process(code, HOME=str(tmp_path)) == "True True"
