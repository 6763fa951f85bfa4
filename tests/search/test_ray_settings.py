"""What Ray reads in the environment is there while a runtime is up, and at no other time."""

from __future__ import annotations

import os
import subprocess
import sys

from narl.search import runner


def test_import_leaves_the_environment_alone_and_ray_shows_the_token_of_now_though_it_was_imported_before(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    code = (
        "import os, ray\n"
        "from ray._raylet import AuthenticationMode, get_authentication_mode\n"
        "before, mode = dict(os.environ), get_authentication_mode()\n"
        "import narl.search.runner, narl.search.run\n"
        "print(dict(os.environ) == before, mode == get_authentication_mode() == AuthenticationMode.DISABLED)\n"
        "with narl.search.runner._settings_of_ray():\n"
        "    print(get_authentication_mode() == AuthenticationMode.TOKEN)\n"
        "for token in ('secret', 'of another cluster'):\n"
        "    open(os.path.expanduser('~/.ray/auth_token'), 'w').write(token)\n"
        "    with narl.search.runner._settings_of_ray():\n"
        "        print(ray._raylet.AuthenticationTokenLoader.instance().get_raw_token() == token)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=kept | {"HOME": str(tmp_path)}
    )
    assert done.stdout.split() == ["True"] * 5


def test_settings_hold_for_the_runtime_alone(monkeypatch):
    monkeypatch.setenv("TUNE_DISABLE_SIGINT_HANDLER", "0")  # the user's word counts
    for name in ("TUNE_MAX_PENDING_TRIALS_PG", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with runner._settings_of_ray():
        assert os.environ["TUNE_DISABLE_SIGINT_HANDLER"] == "0"
        assert os.environ["TUNE_MAX_PENDING_TRIALS_PG"] == "1000"
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert dict(os.environ) == before
