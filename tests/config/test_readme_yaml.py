"""The configuration blocks of README.md can be pasted, and it has every key of training and attack."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from narl.config.pipeline import Pipeline
from narl.config.search_space import SearchSpace
from narl.config.trial import Attack, Training

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```", README, re.MULTILINE | re.DOTALL))


def test_pasted_into_their_files_they_are_read(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    space = SearchSpace.load(tmp_path / "search_spaces" / "faces.yaml")
    assert space.pipeline == Pipeline.load(tmp_path / "pipelines" / "faces.yaml")
    assert space.pipeline.source.csv == str(tmp_path / "faces.csv")
    assert space.pipeline.utility.map == {"yes": ["happy", "laughing"], "no": ["sad", "neutral"]}


@pytest.mark.parametrize(("name", "model"), [("training", Training), ("attack", Attack)])
def test_every_key_is_named_with_its_default(name, model):
    table = README.split(f"| `{name}` | default |")[1].split("\n\n")[0]
    named = {}
    for row in table.split("\n")[2:]:
        keys, given, *_ = row.strip("| ").split(" | ")
        values = [given] if given.startswith("[") else given.split(", ")
        named |= dict(zip(re.findall(r"`(\w+)`", keys), values, strict=True))
    defaults = {key: getattr(model(), key) for key in model.model_fields}
    assert named == {
        key: f"[{', '.join(value)}]" if isinstance(value, tuple) else f"{value}" for key, value in defaults.items()
    }
