"""docs/tutorial.md as a reader follows it: its script, then its commands, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from narl.config.search_space import SearchSpace

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^    (python pictures\.py|narl .*)$", PAGE, re.MULTILINE)
QUICK = COMMANDS[:2]


@pytest.fixture
def follow(tmp_path):
    """Run commands of the page in its folder."""
    (tmp_path / "pictures.py").write_text(SCRIPT)
    environment = {**os.environ, "NARL_CACHE": str(tmp_path / "cache"), "MLFLOW_TRACKING_URI": ""}

    def follow(*commands: str) -> Path:
        for command in commands:
            line = re.sub("^narl", "python -m narl", command).replace("python", sys.executable, 1)
            done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"
        return tmp_path

    return follow


def test_pictures_become_a_pipeline_and_a_space(follow):
    assert QUICK == ["python pictures.py", "narl init digits.csv"]
    space = SearchSpace.load(follow(*QUICK) / "search_spaces" / "digits.yaml")
    assert (space.pipeline.utility.column, space.pipeline.private.column) == ("odd", "digit")
    assert 1 < space.sigma.low < space.sigma.high < 30


@pytest.mark.slow
@pytest.mark.cluster
def test_the_whole_page(follow):
    folder = follow(*COMMANDS)
    assert (folder / "client" / "manifest.json").is_file()
