"""Mutated files of every kind are read or refused, and nothing else; `make fuzz` tries many more."""

from __future__ import annotations

import pytest
from fuzzing import CONFIG, SPACE, run

from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError


@pytest.mark.timeout(300)
def test_no_mutated_file_ends_in_anything_but_a_reading_or_a_refusal(tmp_path, monkeypatch):
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "inputs").mkdir()
    findings = run(700, seed=7, place=tmp_path / "inputs")
    assert findings.faults == []
    for kind in {kind for kind, _ in findings.outcomes}:
        assert findings.outcomes[kind, "refused"] > 20, kind  # mutations reach what is checked
        assert findings.outcomes[kind, "read"] > 0, kind  # and what is left as it was is accepted


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lambda", 1e300),
        ("sigma", 1e300),
        ("sigma", [1, 1e39]),
        ("sigma", {"low": 1, "high": 1e40}),
        ("trials", 10**12),
        ("seed", 2**63),
        ("training", {"batch_size": 10**30}),
        ("training", {"epochs": 10**9}),
        ("training", {"learning_rate": 1e300}),
        ("attack", {"views": 5000}),
        ("attack", {"seeds": 10**6}),
        ("attack", {"queries": [10**12]}),
        ("objectives", ["delta_at_queries(" + "9" * 5000 + ")"]),
    ],
)
def test_numbers_beyond_reason_are_refused_with_what_is_allowed(key, value):
    with pytest.raises(ConfigError) as refused:
        build(SearchSpace, SPACE | {key: value}, "space.yaml")
    assert key in str(refused.value) and len(str(refused.value)) < 1000
    if key in ("training", "attack"):
        with pytest.raises(ConfigError):
            build(TrainConfig, CONFIG | {key: value}, "config.yaml")
