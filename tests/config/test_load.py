from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError

PIPELINE = {
    "name": "p",
    "source": {"kind": "digits"},
    "utility": {"name": "u", "map": {"a": ["0"], "b": ["1"]}},
    "private": {"name": "digit"},
}
SPACE = {
    "name": "s",
    "pipeline": PIPELINE,
    "architectures": {"resnet18": {}},
    "sigma": 1,
    "lambda": {"low": 0.1, "high": 1},
}


def changed(content, path, value):
    """A deep copy of `content` with the value at `path` (dotted) replaced."""
    copy = yaml.safe_load(yaml.safe_dump(content))
    *parents, last = path.split(".")
    node = copy
    for parent in parents:
        node = node[parent]
    node[last] = value
    return copy


@pytest.mark.parametrize(
    ("model", "content", "path", "value", "message"),
    [
        (Pipeline, PIPELINE, "imge", {}, r"unknown key 'imge'; did you mean 'image'"),
        (Pipeline, PIPELINE, "source.kid", 1, r"unknown key 'source.kid'; did you mean 'kind'"),
        (Pipeline, PIPELINE, "utility.nam", "x", r"did you mean 'name'"),
        (Pipeline, PIPELINE, "source", {"kind": "digit"}, r"source: unknown kind 'digit': .*; did you mean 'digits'"),
        (Pipeline, PIPELINE, "splits", {"validation": 1.5}, r"splits.validation: .*less than 1.*1.5"),
        (Pipeline, PIPELINE, "utility.map", {"a": ["0"]}, "at least two"),
        (Pipeline, PIPELINE, "utility.map", {"a": ["0"], "b": ["0"]}, "class '0' is in both 'a' and 'b'"),
        (Pipeline, PIPELINE, "utility.map", {"a": ["0"], "b": []}, "'b' gathers no class"),
        (Pipeline, PIPELINE, "name", "../x", "name: .*given: '../x'"),
        (SearchSpace, SPACE, "sigma", -1, r"sigma.*>= 0.*-1"),
        (SearchSpace, SPACE, "sigma", {"low": 2, "high": 1}, "low 2 must be below high 1"),
        (SearchSpace, SPACE, "sigma", {"low": 0, "high": 1, "log": True}, "must start above 0"),
        (SearchSpace, SPACE, "sigma", float("nan"), "finite"),
        (SearchSpace, SPACE, "lambda", [0.1, -2], ">= 0"),
        (SearchSpace, SPACE, "objectives", ["dleta"], "did you mean 'delta'"),
        (
            SearchSpace,
            SPACE,
            "constraints",
            {"min_utilty": 90},
            "unknown key 'constraints.min_utilty'; did you mean 'min_",
        ),
        (SearchSpace, SPACE, "constraints", {"max_leakage": 101}, r"constraints.max_leakage.*less than.*100.*101"),
        (SearchSpace, SPACE, "budgets", {"gflops": 2}, "did you mean 'client_gflops'"),
        (SearchSpace, SPACE, "budgets", {"client_gflops": 0}, "above 0"),
        (SearchSpace, SPACE, "sampler", "tpee", "sampler: unknown value 'tpee': .*did you mean 'tpe'"),
        (SearchSpace, SPACE, "trials", True, "true and false are not legal here"),
        (SearchSpace, SPACE, "lambda", True, "lambda: true and false are not legal here"),
        (SearchSpace, SPACE, "sigma", False, "sigma: true and false are not legal here"),
        (SearchSpace, SPACE, "architectures", {"resnet18": {"split_points": 3}}, "expected all, or a list"),
        (SearchSpace, SPACE, "attack", {"min_epochs": 9, "max_epochs": 5}, "min_epochs 9 is above max_epochs 5"),
        (SearchSpace, SPACE, "trials", 0, "trials.*greater than or equal to 1"),
        (SearchSpace, SPACE, "attack", {"adversaries": []}, "at least one adversary"),
    ],
)
def test_each_mistake_gets_its_message(model, content, path, value, message):
    build(model, content, "file.yaml")
    with pytest.raises(ConfigError, match=message) as caught:
        build(model, changed(content, path, value), "file.yaml")
    assert str(caught.value).startswith("file.yaml: ")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "space.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        SearchSpace.load(tmp_path / "space.yaml")
    with pytest.raises(ConfigError, match="no such file; did you mean 'space.yaml'"):
        SearchSpace.load(tmp_path / "spaces.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="expected a mapping"):
        Pipeline.load(tmp_path / "list.yaml")
    (tmp_path / "twice.yaml").write_text("name: a\nname: b\n")
    with pytest.raises(ConfigError, match="'name' is given twice"):
        Pipeline.load(tmp_path / "twice.yaml")
    (tmp_path / "tag.yaml").write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        Pipeline.load(tmp_path / "tag.yaml")


def test_paths_are_relative_to_the_file_that_names_them(tmp_path):
    (tmp_path / "deep").mkdir()
    folder = {**PIPELINE, "source": {"kind": "image_folder", "root": "../images"}}
    (tmp_path / "deep" / "p.yaml").write_text(yaml.safe_dump(folder))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**SPACE, "pipeline": "deep/p.yaml"}))
    assert SearchSpace.load(tmp_path / "s.yaml").pipeline.source.root == str(tmp_path / "images")
    (tmp_path / "t.yaml").write_text(yaml.safe_dump({**SPACE, "pipeline": "deep/q.yaml"}))
    with pytest.raises(ConfigError, match="no such file"):
        SearchSpace.load(tmp_path / "t.yaml")


def test_yes_and_no_are_words_and_a_bare_architecture_means_every_split(tmp_path):
    (tmp_path / "s.yaml").write_text(
        """
name: s
pipeline:
  name: p
  source: {kind: digits}
  utility: {name: odd, map: {yes: ["1"], no: ["0"]}}
  private: {name: digit}
architectures:
  resnet18:
sigma: 1e-3
lambda: 0
"""
    )
    space = SearchSpace.load(tmp_path / "s.yaml")
    assert list(space.pipeline.utility.map) == ["yes", "no"]
    assert space.architectures["resnet18"].split_points == "all"
    assert space.sigma.choices == (0.001,)


def test_content_hash_ignores_what_leaves_trials_comparable():
    space = build(SearchSpace, SPACE, "x")
    for path, value, same in (
        ("name", "other", True),
        ("trials", 99, True),
        ("sampler", "random", True),
        ("sigma", 2, False),
        ("training", {"epochs": 3}, False),
        ("seed", 5, False),
        ("constraints", {}, True),
        ("constraints", {"max_leakage": 40}, False),
    ):
        assert (build(SearchSpace, changed(SPACE, path, value), "x").content_hash == space.content_hash) == same, path


def test_identification_is_constrained_only_where_it_is_measured():
    attack = {"adversaries": ["mlp"]}
    with pytest.raises(ConfigError, match="max_identification is measured in closed form: .* must list bayes"):
        build(SearchSpace, SPACE | {"attack": attack, "constraints": {"max_identification": 30}}, "x")
    assert build(SearchSpace, SPACE | {"attack": attack, "constraints": {"max_leakage": 30}}, "x").constraints


def test_train_config_of_a_bad_point(tmp_path):
    content = {"pipeline": PIPELINE, "trial": {"arch": "resnet18", "split": 1, "sigma": -3, "lambda": 0}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="trial.sigma.*-3"):
        TrainConfig.load(tmp_path / "c.yaml")


@given(st.none() | st.just("best") | st.floats(0, 1e30))
def test_a_sigma_at_inference_survives_its_file(sigma):
    trial = {"arch": "resnet18", "split": 1, "sigma": 3.0, "lambda": 0.01, "sigma_inference": sigma}
    config = build(TrainConfig, {"pipeline": PIPELINE, "trial": trial}, "c.yaml")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
        assert TrainConfig.load(path) == config
    assert config.trial.sigma_inference == (None if sigma == 3.0 else sigma)
