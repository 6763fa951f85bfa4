"""The searches on a cluster's head node, fetched by Ray's launcher."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narl.core.errors import ConfigError

# `ray submit` runs in the home folder.
RUNS_ON_HEAD = "~/narl-runs"
# What answers need: not the weights, nor the study. rsync's own syntax, which a cluster file may use.
ANSWERS_ALONE = ["+ /*/", "+ /*/ledger.jsonl", "+ /*/search_space.yaml", "- *"]


@contextmanager
def searches_on_head(cluster: Path, runs: Path | None) -> Iterator[Path]:
    """A folder of searches like `narl-runs`, as they are now on the head of the cluster; gone afterwards.

    Args:
        cluster: file of Ray's launcher, as `ray up` takes it.
        runs: folder of searches on the head.

    Raises:
        ConfigError: no such file, no head, or no search there.
    """
    import yaml

    from narl.config.load import read_yaml

    content = read_yaml(cluster)
    if not isinstance(content, dict) or "provider" not in content:
        raise ConfigError(f"{cluster}: not a file of Ray's launcher (it has no provider)")
    source = str(runs or RUNS_ON_HEAD)
    with tempfile.TemporaryDirectory(prefix="narl-answer-") as folder:
        config, searches = Path(folder) / "cluster.yaml", Path(folder) / "narl-runs"
        config.write_text(yaml.safe_dump(content | {"rsync_exclude": ANSWERS_ALONE}), encoding="utf-8")
        ray = [sys.executable, "-m", "ray.scripts.scripts", "rsync-down", str(config), f"{source}/", f"{searches}/"]
        done = subprocess.run(ray, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise ConfigError(f"{source} on the head of {cluster} cannot be read: {_reason(done.stdout + done.stderr)}")
        if not any(searches.glob("*/search_space.yaml")):
            raise ConfigError(f"no search in {source} on the head of {cluster}; --runs names another folder there")
        yield searches


def _reason(output: str) -> str:
    """The line of Ray's many that says why."""
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for sign in (r"^ssh: ", r"Permission denied", r"^rsync: ", r"not found!", r"\b(Error|ERR|PANIC)\b"):
        for line in lines:
            if re.search(sign, line):
                return line
    return lines[-1] if lines else "no reason given"
