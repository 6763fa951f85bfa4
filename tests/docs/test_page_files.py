"""YAML of the pages can be pasted: a whole file is read, and a part in the file that it is a part of."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from pages import ROOT, backticks, blocks

from narl.config.pipeline import Pipeline
from narl.config.plain_yaml import parse
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError

NAMED = re.compile(r"# (\S+\.yaml)\n")
BLOCKS = [block for block in blocks() if block.language == "yaml"]
WHOLE = {found[1]: block for block in BLOCKS if (found := NAMED.match(block.text))}
PARTS = [block for block in BLOCKS if not NAMED.match(block.text)]
SETTINGS = [code for code in backticks() if re.match(r"[a-z_]+: [^…]+$", code.text)]

# What parts are put into.
PIPELINE = yaml.safe_load((ROOT / "pipelines" / "digits.yaml").read_text())
SPACE = yaml.safe_load((ROOT / "search_spaces" / "digits.yaml").read_text())
SPACE["sampler"] = "front"  # which alone can `stop: converged`
CONFIG = {"pipeline": SPACE["pipeline"], "trial": {"arch": "resnet18", "split": 3, "sigma": 3, "lambda": 0.1}}
SOURCES = ({"kind": "cifar10"}, {"kind": "image_folder", "root": "images"}, {"kind": "table", "csv": "labels.csv"})
MEASURED = {"format": "narl-measured", "format_version": 1, "date": "2026-11-27", "device": {}, "runtime": {}}
MEASURED |= {"threads": 1, "runs": 200, "clients": []}


@pytest.fixture
def folder(tmp_path):
    """With the files that parts name."""
    for name in ("pipelines", "search_spaces"):
        (tmp_path / name).mkdir()
    (tmp_path / "pipelines" / "digits.yaml").write_text(yaml.safe_dump(PIPELINE))
    (tmp_path / "search_spaces" / "phone.json").write_text(json.dumps(MEASURED))
    return tmp_path


def test_files_pasted_under_their_names_are_read(tmp_path):
    """Those of docs/own_data.md."""
    for name, block in WHOLE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(block.text)
    space = SearchSpace.load(tmp_path / "search_spaces" / "faces.yaml")
    assert space.pipeline == Pipeline.load(tmp_path / "pipelines" / "faces.yaml")
    assert space.pipeline.source.csv == str(tmp_path / "faces.csv")
    assert space.pipeline.utility.map == {"yes": ["happy", "laughing"], "no": ["sad", "neutral"]}


@pytest.mark.parametrize("block", PARTS, ids=str)
def test_a_part_is_read_in_its_file(block, folder):
    assert not (refusals := refused(parse(block.text), folder)), refusals


@pytest.mark.parametrize("code", SETTINGS, ids=lambda code: f"{code}-{code.text}")
def test_a_setting_in_a_sentence_is_read_in_a_file(code, folder):
    setting = parse(f"{{{code.text.replace('BUCKET', 'bucket')}}}")  # a name to be replaced is none of a bucket
    assert not (refusals := refused(setting, folder)), refusals


@pytest.mark.parametrize(
    "wrong", ["samplers: tpe", "sampler: tree", "stop: converged\nsampler: tpe", "stop: now", "bound: tanh"]
)
def test_a_mistake_is_told(wrong, folder):
    assert refused(parse(wrong), folder)


def refused(part, folder) -> list[str]:
    """What is said against it in each place; nothing, if there is one that takes it."""
    found = []
    for place, (model, content) in enumerate(places(part)):
        path = folder / "search_spaces" / f"{place}.yaml"
        path.write_text(yaml.safe_dump(content))
        try:
            model.load(path)
        except ConfigError as error:
            found.append(str(error))
        else:
            return []
    return found


def places(part):
    """The files that it may be a part of, with it: at their top, or one key below it."""
    for model, content in ((SearchSpace, SPACE), (Pipeline, PIPELINE), (TrainConfig, CONFIG)):
        yield model, content | part
        for key in model.model_fields:
            inner = content.get(key, {})
            if isinstance(inner, dict):
                yield model, content | {key: inner | part}
    for source in SOURCES:
        yield Pipeline, PIPELINE | {"source": source | part}
    for options in ({}, {"bound": "l2-clip"}, {"bound": "l2-clip", "clip_rms": 1}):
        yield SearchSpace, SPACE | {"method": {"narl": options | part}}
