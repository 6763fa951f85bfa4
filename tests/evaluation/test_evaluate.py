"""`narl.evaluate` in Python: what it takes, what it gives, what it refuses."""

from __future__ import annotations

import pytest
from example_pipelines import FEW_DIGITS
from torch import nn

from narl.config.load import build
from narl.config.pipeline import Pipeline
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError
from narl.evaluation.evaluate import evaluate
from narl.models.noise.gaussian import GaussianNoise
from narl.models.split import Obfuscator

PIPELINE = build(Pipeline, FEW_DIGITS, "test")
ATTACK = {"epoch_steps": 2, "clean_epochs": 1, "max_epochs": 2, "min_epochs": 1, "patience": 1, "batch_size": 60}
TRIAL = {"arch": "mobilenet_v3_small", "split": 2, "sigma": 1.0, "lambda": 0.01}
CONFIG = build(TrainConfig, {"pipeline": FEW_DIGITS, "trial": TRIAL, "attack": ATTACK}, "test")
POOL = nn.AvgPool2d(4)
OWN = {"pipeline": PIPELINE, "attack": ATTACK, "attacks": ("certificate",), "queries": (16,)}


def test_a_module_is_evaluated_over_seeds_with_intervals():
    seen, steps = {}, []
    summary = evaluate(
        POOL, noise=0.5, seeds=(4, 2), on_seed=seen.__setitem__, on_progress=lambda *step: steps.append(step), **OWN
    )
    assert summary.seeds == (4, 2) == tuple(seen) and {seed for seed, _ in steps} == {4, 2}
    assert summary.reported_on == "test" and summary.num_samples == 60
    assert summary.client == "the same trained client for every seed"
    assert set(summary.by_seed[4].adversaries) == {"bayes", "mlp", "conv"}  # there is no rest
    low, high = summary.interval95["delta"]
    assert low <= summary.mean["delta"] <= high
    for number, report in summary.by_seed.items():
        assert report == seen[number].report
        assert report.leakage <= report.leakage_bound <= 100
        assert report.delta == pytest.approx(report.utility - report.leakage)
    by_n = summary.findings["certificate"]["labels"]["private"]
    bounds = [by_n[n]["bound"] for n in ("1", "16", "∞")]  # features without noise are always read
    assert bounds == sorted(bounds) and bounds[-1] == 100


def test_an_obfuscator_has_its_noise_with_it():
    how = OWN | {"seeds": 1, "adversaries": ("bayes",)}
    client = Obfuscator(nn.Sequential(POOL), GaussianNoise(0.5))
    assert evaluate(client, **how).mean == pytest.approx(evaluate(POOL, noise=0.5, **how).mean)


@pytest.mark.parametrize(
    ("what", "how", "message"),
    [
        (POOL, {"noise": 1.0}, "needs pipeline= and noise="),
        (POOL, {"pipeline": PIPELINE}, "needs pipeline= and noise="),
        (POOL, {"pipeline": "absent.yaml", "noise": 1.0}, "absent.yaml: no such file"),
        (POOL, {"pipeline": PIPELINE, "noise": 1.0, "audit": ["digit"]}, "private label"),
        (CONFIG, {"noise": 1.0}, "leave them out"),
        (CONFIG, {"attacks": ["leakge"]}, "did you mean 'leakage'"),
        (CONFIG, {"adversaries": ["mpl"]}, "mpl"),
        (CONFIG, {"attack": {"epochs": 3}}, "unknown key 'attack.epochs'"),
        (CONFIG, {"report_on": "train"}, "allowed are validation, test"),
        (CONFIG, {"seeds": 0}, "seeds must be"),
        ("absent.yaml", {}, "absent.yaml: no such file"),
        (7, {}, "expected a TrainConfig"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_read(what, how, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(what, **how)
