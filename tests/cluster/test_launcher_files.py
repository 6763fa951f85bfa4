"""cluster.yaml and onprem.yaml to Ray's schema, and every command line that they show."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_lines import understand

CHECKOUT = Path(__file__).parents[2]
CLUSTER = CHECKOUT / "cluster"
LAUNCHER_FILES = ("cluster.yaml", "onprem.yaml")


@pytest.fixture(params=LAUNCHER_FILES)
def config(request):
    return yaml.safe_load((CLUSTER / request.param).read_text())


def test_ray_takes_the_file(config, tmp_path, monkeypatch):
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    validate_config(prepare_config(config))


def test_what_is_mounted_is_there_and_enough(config):
    mounts = {
        Path(remote): CLUSTER / local for remote, local in config["file_mounts"].items() if "auth_token" not in remote
    }
    assert all(local.exists() for local in mounts.values())
    needed = {"narl", "pipelines", "search_spaces", "pyproject.toml", "setup.cfg", "constraints.txt"}
    assert {str(remote.relative_to("~/narl-checkout")) for remote in mounts} >= needed
    assert "~/narl" not in config["file_mounts"]  # would lie beside Ray's copy of search.py


def test_spot_machines_run_what_listens_for_their_notice():
    config = yaml.safe_load((CLUSTER / "cluster.yaml").read_text())
    (command,) = [line for line in config["worker_start_ray_commands"] if not line.startswith("ray ")]
    assert subprocess.run(["sh", "-n", "-c", command]).returncode == 0
    words = shlex.split(command)
    script = words[words.index("python") + 1]
    assert (CLUSTER / config["file_mounts"][script]).exists()
    assert command.endswith("&")  # or `ray up` waits for it


def test_the_token_reaches_every_node_and_is_asked_for(config):
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    texts = [*config["setup_commands"], (CLUSTER / "onprem" / "env.sh").read_text()]
    assert any("RAY_AUTH_MODE=token" in text for text in texts)


def test_hosts_of_ones_own_need_no_root_and_keep_their_other_ray():
    text = (CLUSTER / "onprem.yaml").read_text()
    config = yaml.safe_load(text)
    assert "sudo" not in "\n".join(config["setup_commands"])
    assert "available_node_types" not in config
    env = 'HOME=/h; . "$0"; echo "$PATH"'
    path = subprocess.run(["sh", "-c", env, str(CLUSTER / "onprem" / "env.sh")], capture_output=True, text=True).stdout
    assert path.startswith("/h/narl-checkout/cluster/onprem/bin:/h/narl-venv/bin:")
    assert os.access(CLUSTER / "onprem" / "bin" / "ray", os.X_OK)


def test_own_stop_finds_own_processes_alone(tmp_path):
    """By a folder in an option, with what they started; not by a name, nor by a folder whose name begins alike."""
    waits = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    ours, others = tmp_path / "a", tmp_path / "ab"
    started = [
        subprocess.Popen([sys.executable, "-c", waits, f"--session-dir={folder}/s"], stdin=subprocess.PIPE)
        for folder in (ours, others)
    ]
    script = runpy.run_path(str(CLUSTER / "onprem" / "bin" / "ray"))
    try:
        while not (children := script["psutil"].Process(started[0].pid).children()):
            pass
        assert {p.pid for p in script["processes_of"](str(ours))} == {started[0].pid, children[0].pid}
        script["stop"](str(ours))
        started[0].wait(timeout=30)
        assert not children[0].is_running() and started[1].poll() is None
    finally:
        started[1].communicate(b"\n", timeout=30)


# --- command lines; tests/docs/test_page_commands.py has those of pages ---


def shown() -> list[str]:
    """Each command of `ray` and `narl` in a comment or in a start command."""
    lines = []
    for name in LAUNCHER_FILES:
        text = (CLUSTER / name).read_text()
        lines += re.findall(r"^# {3}((?:ray|narl) .*)$", text, re.MULTILINE)
        config = yaml.safe_load(text)
        commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
        lines += [command for command in commands if command.startswith("ray ")]
    return lines


@pytest.mark.parametrize("line", shown())
def test_command_line_is_understood(line):
    understand(line)


def test_there_is_something_to_understand():
    assert len([line for line in shown() if line.startswith("ray submit")]) >= 2
