"""The files of docs/own_data.md can be pasted."""

from __future__ import annotations

import re
from pathlib import Path

from narl.config.pipeline import Pipeline
from narl.config.search_space import SearchSpace

PAGE = (Path(__file__).parents[2] / "docs" / "own_data.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def test_pasted_into_their_files_they_are_read(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    space = SearchSpace.load(tmp_path / "search_spaces" / "faces.yaml")
    assert space.pipeline == Pipeline.load(tmp_path / "pipelines" / "faces.yaml")
    assert space.pipeline.source.csv == str(tmp_path / "faces.csv")
    assert space.pipeline.utility.map == {"yes": ["happy", "laughing"], "no": ["sad", "neutral"]}
