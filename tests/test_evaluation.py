from __future__ import annotations

import json
import math

import pytest
import torch
from examples import DIGITS

from narl.comparison import UPPER_BOUND, Setting, compare, rows_of
from narl.config.load import build
from narl.config.methods import METHODS
from narl.config.trial import Attack, TrainConfig, Training
from narl.data.dataset import open_dataset
from narl.evaluation import evaluate_seed
from narl.evaluation_report import packed, summarise, unpacked

PIPELINE = DIGITS | {"splits": {"validation": 0.2, "test": 0.25}, "image": {"size": 16}, "loader": "tensor"}
ATTACK = {"max_epochs": 4, "min_epochs": 1, "patience": 1, "batch_size": 64, "adversaries": ["mlp"]}


def config(**changes) -> TrainConfig:
    trial = {"arch": "mobilenet_v3_small", "split": 2, "sigma": 1.0, "lambda": 0.01, "seed": 3} | changes
    content = {"pipeline": PIPELINE, "trial": trial, "training": {"epochs": 1, "batch_size": 64}, "attack": ATTACK}
    return build(TrainConfig, content, "test")


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(config().pipeline, splits=("train", "validation", "test"))


@pytest.fixture(scope="module")
def reports(dataset):
    queries = (1, 16, math.inf)
    return {seed: evaluate_seed(config(seed=seed), dataset, attacks=("averaging",), queries=queries) for seed in (3, 4)}


def test_a_report_is_consistent_with_itself(reports):
    for report in reports.values():
        assert report["delta"] == pytest.approx(report["utility"] - report["leakage"])
        assert report["leakage"] >= report["label_floor"]
        assert report["delta_paper"] == pytest.approx(report["utility"] - max(report["adversaries"].values()))
        at = report["averaging"]["leakage_at_queries"]
        assert list(at) == ["1", "16", "∞"] and at["1"] <= at["16"] <= at["∞"]
        assert at["1"] == pytest.approx(report["leakage"])
        assert unpacked(report["per_image"]["utility"]).mean() == pytest.approx(report["utility"])


def test_the_summary_holds_means_intervals_and_no_value_an_image(reports):
    summary = summarise(reports, report_on="test")
    assert summary["seeds"] == [3, 4] and summary["num_samples"] == 450
    for name in ("utility", "leakage", "delta"):
        low, high = summary["interval95"][name]
        assert low <= summary["mean"][name] <= high
    assert "per_image" not in json.dumps(summary, allow_nan=False)
    assert summary["delta_at_queries"]["16"] == pytest.approx(
        sum(r["averaging"]["delta_at_queries"]["16"] for r in reports.values()) / 2
    )


def test_hits_survive_packing():
    hits = torch.tensor([0, 0.25, 1, 0.5, 0.75])
    assert unpacked(packed(hits)).tolist() == [0, 25, 100, 50, 75]


def test_without_noise_averaging_changes_nothing(dataset):
    report = evaluate_seed(config(method="no_noise", sigma=0), dataset, attacks=("averaging",), queries=(1, math.inf))
    at = report["averaging"]["leakage_at_queries"]
    assert at["∞"] == at["1"]
    assert report["snr_db"] is None


def test_an_attacker_that_ran_out_of_epochs_is_trained_on_and_then_doubted(dataset):
    hurried = config().model_copy(update={"attack": Attack(**ATTACK | {"max_epochs": 1})})
    seen = []
    report = evaluate_seed(hurried, dataset, attacks=("leakage",), on_progress=lambda step: seen.append(step.detail))
    assert any("mlp again" in line for line in seen)
    assert any("mlp was still improving" in flag for flag in report["flags"])


def test_a_trained_client_is_attacked_as_it_is(dataset):
    from narl.methods.catalogue import halves_of

    client = halves_of(config().trial.to_record(), 16).client(seed=0)
    before = {name: tensor.clone() for name, tensor in client.state_dict().items()}
    report = evaluate_seed(config(), dataset, attacks=("leakage",), client=client)
    assert all(torch.equal(before[name], tensor) for name, tensor in client.state_dict().items())
    assert report["train_seconds"] == 0


def setting(methods_attack=ATTACK) -> Setting:
    return Setting(
        pipeline=config().pipeline,
        arch="mobilenet_v3_small",
        splits=(2, 3),
        sigma=1.0,
        lambda_=0.01,
        image_sigma=0.5,
        deepobfuscator_client=("mobilenet_v3_small", 1),
        training=Training(epochs=1, batch_size=64),
        attack=Attack(**ATTACK),
    )


def test_rows_are_the_upper_bound_and_every_method_once_or_at_each_split():
    rows = rows_of(setting(), list(METHODS))
    names = [row.name for row in rows]
    assert names[0] == "upper bound" and len(set(names)) == len(names)
    assert {name.partition(" ")[0] for name in names[1:]} == set(METHODS)
    assert {"narl 2", "narl 3", "no_noise 2", "gaussian_posthoc 3"} <= set(names)
    upper = rows[0].config.trial
    assert (upper.method, upper.sigma) == ("image_noise", 0)


def test_a_comparison_goes_on_where_it_stopped(dataset, tmp_path):
    rows = rows_of(setting(), ["gaussian_posthoc"])
    first = compare(rows[:2], dataset, tmp_path, attacks=("leakage",), num_seeds=1)
    steps = []
    again = compare(
        rows[:3],
        dataset,
        tmp_path,
        attacks=("leakage",),
        num_seeds=1,
        on_progress=lambda row, *_: steps.append(row.name),
    )
    assert set(steps) == {rows[2].name}
    assert {name: again[name] for name in first} == first
    assert len(list((tmp_path / "seeds").glob("*.json"))) == 3


def test_comparisons_share_their_upper_bound_and_no_other_row(dataset, tmp_path):
    rows, shared = rows_of(setting(), ["gaussian_posthoc"])[:2], tmp_path / "bounds"
    arguments = {"attacks": ("leakage",), "num_seeds": 1, "bounds_folder": shared}
    first = compare(rows, dataset, tmp_path / "one", **arguments)
    steps = []
    second = compare(rows, dataset, tmp_path / "two", **arguments, on_progress=lambda row, *_: steps.append(row.name))
    assert rows[0].name == UPPER_BOUND and set(steps) == {rows[1].name}
    assert second[UPPER_BOUND] == first[UPPER_BOUND]
    assert len(list(shared.rglob("*.json"))) == 1 and len(list((tmp_path / "two" / "seeds").glob("*.json"))) == 2
