"""An attack is one file and one line: what it says reaches reports, summaries, the terminal and MLflow by itself."""

from __future__ import annotations

from collections.abc import Generator as Steps
from dataclasses import dataclass

import pytest
import torch
from example_pipelines import FEW_DIGITS
from torch import Tensor

from narl.attacks.finding import AttackStep, Case, Finding, mean_of_numbers, plain
from narl.attacks.target import AttackEpoch
from narl.cli.evaluate import print_evaluation
from narl.config.load import build
from narl.config.trial import TrainConfig
from narl.core.errors import ConfigError
from narl.data.dataset import Dataset, open_dataset
from narl.evaluation import evaluator, summary
from narl.evaluation.evaluator import Evaluator
from narl.evaluation.seed import Seed
from narl.evaluation.summary import scalars, summarise

CONFIG = build(
    TrainConfig,
    {
        "pipeline": FEW_DIGITS,
        "trial": {"arch": "mobilenet_v3_small", "split": 2, "sigma": 1.0, "lambda": 0.01},
        "training": {"epochs": 1, "batch_size": 64},
        "attack": {
            "epoch_steps": 1,
            "clean_epochs": 0,
            "max_epochs": 1,
            "min_epochs": 1,
            "patience": 1,
            "batch_size": 64,
            "adversaries": ["mlp"],
        },
    },
    "test",
)


@dataclass(frozen=True)
class Guess(Finding):
    """The same label for every image: the commonest of the training images."""

    name = "guess"

    hits: Tensor
    label: int

    @classmethod
    def check(cls, config: TrainConfig, dataset: Dataset) -> None:
        if config.trial.sigma == 2:
            raise ConfigError("no guess at σ = 2")

    @classmethod
    def find(cls, case: Case) -> Steps[AttackStep, None, Guess]:
        labels = case.target.labels("private")
        label = int(labels["train"].bincount().argmax())
        yield AttackEpoch("guess", 0, 10.0)
        return cls((labels[case.target.report_on] == label).float(), label)

    def numbers(self) -> dict:
        return {self.name: {"accuracy": 100 * self.hits.mean().item(), "label": self.label}}

    def per_image(self) -> dict[str, Tensor]:
        return {"guess/accuracy": 100 * self.hits}

    def doubts(self) -> list[str]:
        return ["it guesses"]

    def pictures(self) -> dict[str, Tensor]:
        return {"guess": torch.zeros(1, 16, 16, 3, dtype=torch.uint8)}


@pytest.fixture(autouse=True)
def one_line(monkeypatch):
    for module in (evaluator, summary):
        monkeypatch.setattr(module, "FINDINGS", (*module.FINDINGS, Guess))


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(CONFIG.pipeline, splits=("train", "validation", "test"))


def test_what_an_attack_says_arrives_everywhere(dataset, tmp_path):
    seen = []
    measured = Evaluator(dataset, ("guess",)).measure_seeds(
        {"row": CONFIG}, (0, 1), on_progress=lambda row, number, step: seen.append((row, number, step.detail))
    )["row"]
    assert {("row", 0, "guess epoch 1: 10.0 %"), ("row", 1, "guess epoch 1: 10.0 %")} <= set(seen)
    for number, seed in measured.items():
        seed.save(tmp_path / f"{number}.json")
    seeds = {number: Seed.load(tmp_path / f"{number}.json") for number in measured}
    assert "averaging" not in seeds[0].report.findings and list(seeds[0].pictures) == ["guess"]

    result = summarise(seeds, report_on="test")
    entry = result.findings["guess"]
    right = dataset.labels("test")[1] == seeds[0].report.findings["guess"]["label"]
    assert entry["accuracy"] == pytest.approx(100 * right.float().mean().item(), rel=1e-5)
    low, high = entry["interval95"]["accuracy"]
    assert low < entry["accuracy"] < high
    assert "it guesses" in result.doubts
    assert scalars(result)["guess_accuracy"] == entry["accuracy"]
    printed = print_evaluation("toy", result)
    assert "guess" in printed and f"{entry['accuracy']:.4g}" in printed and f"{low:.2f}" in printed


def test_what_cannot_be_attacked_is_refused_before_anything_is_trained(dataset):
    trial = CONFIG.trial.model_copy(update={"sigma": 2.0})
    with pytest.raises(ConfigError, match="no guess"):
        next(Evaluator(dataset, ()).measure(CONFIG.model_copy(update={"trial": trial})))


def test_means_are_of_floats_at_any_depth_and_all_else_is_the_first():
    rows = [{"a": {"b": 1.0, "c": 2}, "d": "x", "e": 0.1}, {"a": {"b": 3.0, "c": 4}, "d": "y", "e": 0.1}]
    assert mean_of_numbers(rows) == {"a": {"b": 2.0, "c": 2}, "d": "x", "e": 0.1}
    assert plain("at ∞ 5_o") == "at_infinite_5_o" and plain("ε, Young").startswith("___Young_")
