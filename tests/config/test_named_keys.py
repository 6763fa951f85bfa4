"""A message about a configuration names a key that is in the file, at or around the mistake."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.config.problems import explained
from narl.config.search_space import SearchSpace
from narl.core.errors import ConfigError

# Every key of a pipeline, but for the source's.
PIPELINE = {
    "name": "p",
    "source": {"kind": "digits"},
    "utility": {"name": "odd", "column": "class", "map": {"yes": ["1", "3"], "no": ["0", "2"]}},
    "private": "class",
    "splits": {
        **{"validation": 0.2, "test": 0.2, "seed": 1, "group": "person", "duplicates": "warn"},
        **{"train_limit": 9, "validation_limit": 9, "test_limit": 9},
    },
    "image": {"size": 32, "fit": "squash"},
    "augment": {"flip": True, "pad_crop": 2, "color_jitter": 0.1},
    "beton": {"write_mode": "raw", "jpeg_quality": 90, "store": "store"},
    "loader": "ffcv",
}
SOURCES = (
    {"kind": "digits"},
    {"kind": "cifar10", "root": "x", "download": False},
    {"kind": "image_folder", "root": "x", "train": "train", "test": "test"},
    {"kind": "table", "csv": "x.csv", "path_column": "path", "split_column": "split"},
    {"kind": "celeba", "root": "x"},
    {"kind": "fairface", "root": "x"},
)
SPACE = {
    "name": "s",
    "pipeline": PIPELINE,
    "method": {
        "narl": {"bound": ["none", "l2-clip"], "clip_rms": 2.0, "noise": "keyed", "sigma": {"choices": [1, 2]}},
        "disco": {"rho": [0.5, 0.6], "pruning_ratio": 0.5, "architectures": {"resnet34": {"split_points": [3]}}},
        "gaussian_posthoc": None,
    },
    "architectures": {"resnet18": {"split_points": [3, 4]}, "resnet50": {"split_points": "all"}, "alexnet": None},
    "sigma": {"low": 1, "high": 2, "log": True},
    "lambda": [0.1, 1],
    "sigma_inference": "trained",
    "objectives": ["delta", "client_gflops"],
    "budgets": {"client_gflops": 1},
    "uplink_dtype": "float16",
    "sampler": "tpe",
    "trials": 9,
    "time_budget_minutes": 3,
    "seed": 1,
    "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.1, "precision": "auto"},
    "attack": {
        **{"epoch_steps": 1, "clean_epochs": 1, "max_epochs": 9, "min_epochs": 1, "patience": 1, "batch_size": 8},
        **{"learning_rate": 0.1, "adversaries": ["bayes", "mlp"], "seeds": 1, "views": 2, "queries": [4, 16]},
    },
    "resources": {"cpus_per_trial": 1, "gpus_per_trial": 2, "workers_per_trial": 2, "max_concurrent_trials": 2},
}
CASES = [*((Pipeline, {**PIPELINE, "source": source}) for source in SOURCES), (SearchSpace, SPACE)]
BAD = (None, True, -1, 0, 1e9, float("nan"), "zzz", "", [], [None], [-1, "zzz"], {}, {"zzz": 1}, {"low": 3, "high": 1})
Path = tuple[Any, ...]


def paths(content: Any) -> Iterator[Path]:
    """Every key and position, at any depth."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (key,)
        yield from ((key, *below) for below in paths(value))


def at(content: Any, path: Path) -> Any:
    for part in path:
        content = content[part]
    return content


def mistakes(content: dict) -> Iterator[tuple[Path, dict]]:
    """The content with one mistake, or what may be one, and where."""
    for path in paths(content):
        for value in BAD:
            changed = copy.deepcopy(content)
            at(changed, path[:-1])[path[-1]] = copy.deepcopy(value)
            yield path, changed
        changed = copy.deepcopy(content)
        if isinstance(parent := at(changed, path[:-1]), dict):
            del parent[path[-1]]
            yield path, changed
        if isinstance(at(content, path), dict):
            changed = copy.deepcopy(content)
            at(changed, path)["zzz"] = 1
            yield (*path, "zzz"), changed


def named(line: str, content: dict) -> Path:
    """The place that a line names: it is in the file, or is that of a missing key below one that is."""
    missing = line.startswith("missing key '")
    quoted = re.match(r"(?:missing|unknown) key '(.*?)'", line) or re.match(r"([^ ]+): ", line)
    assert quoted, line
    path: Path = ()
    for part in quoted[1].split("."):
        node = at(content, path)
        if missing and isinstance(node, dict) and part not in node:
            assert ".".join(map(str, (*path, part))) == quoted[1], line
        else:
            part = int(part) if isinstance(node, list) else part
            node[part]  # it is there
        path = (*path, part)
    return path


@pytest.mark.parametrize(("model", "content"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_mistake_is_named_by_a_key_of_the_file(model, content):
    build(model, content, "file")
    refused = set()
    for path, changed in mistakes(content):
        try:
            model.model_validate(changed)
        except ValidationError as error:
            refused.add(path)
            for problem in error.errors():
                line = explained(model, problem, changed)
                if not problem["loc"] and "ctx" in problem and not hasattr(problem["ctx"]["error"], "key"):
                    assert any(key in line for key in content), line  # between two keys of the whole file
                    continue
                place = named(line, changed)
                length = min(len(place), len(path)) - line.startswith("missing")  # it may be the one beside it
                assert place[:length] == path[:length], (line, path)
    assert len(refused) > 0.9 * len(list(paths(content)))


@pytest.mark.parametrize(
    ("model", "content", "where"),
    [
        (SearchSpace, SPACE | {"sigma": {"low": 1}}, "missing key 'sigma.high'"),
        (SearchSpace, SPACE | {"sigma": {"low": 1, "high": -1}}, "sigma.high: "),
        (SearchSpace, SPACE | {"sigma": [1, "x"]}, "sigma.1: "),
        (SearchSpace, SPACE | {"training": {"epochs": True}}, "training.epochs: true and false are not legal here"),
        (Pipeline, PIPELINE | {"source": {"kind": "table", "pth": "x", "csv": "y"}}, "unknown key 'source.pth'"),
        (Pipeline, PIPELINE | {"source": {"kind": "table", "path_column": "x"}}, "missing key 'source.csv'"),
        (Pipeline, PIPELINE | {"source": {"csv": "x"}}, "missing key 'source.kind'"),
        (Pipeline, PIPELINE | {"source": {"kind": "table", "table": "x", "csv": "y"}}, "unknown key 'source.table'"),
    ],
)
def test_a_place_is_that_of_the_file(model, content, where):
    with pytest.raises(ConfigError, match=f"^file: {re.escape(where)}"):
        build(model, content, "file")
