"""Every declaration that ships is legal, and legal for the networks and sizes it names."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from narl.config.pipeline import Pipeline
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted(ROOT.glob("pipelines/*.yaml")), ids=lambda p: p.name)
def test_pipeline(path):
    assert Pipeline.load(path).name == path.stem


@pytest.mark.parametrize("path", sorted(ROOT.glob("search_spaces/*.yaml")), ids=lambda p: p.name)
def test_search_space(path):
    from narl.search.space import affordable

    space = SearchSpace.load(path)
    assert space.name == path.stem
    assert affordable(space).parts


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/experiments/*.yaml")), ids=lambda p: p.name)
def test_experiment(path):
    """What docs/results.md measured can be measured again."""
    if path.stem.endswith("_pipeline"):
        Pipeline.load(path)
    elif "architectures" in yaml.safe_load(path.read_text()):
        SearchSpace.load(path)
    else:
        TrainConfig.load(path)


def test_cluster_file_is_one_that_the_ray_launcher_takes():
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    validate_config(fillout_defaults(yaml.safe_load((ROOT / "cluster" / "cluster.yaml").read_text())))
