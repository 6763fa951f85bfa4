from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from example_pipelines import DIGITS
from pydantic import ValidationError
from scipy import stats

from narl.attacks.averaging import Averaging
from narl.attacks.catalogue import ATTACKS, FINDINGS
from narl.attacks.scores import Scores
from narl.attacks.target import Reading
from narl.config.load import build
from narl.config.trial import Attack, TrainConfig, Training
from narl.core.errors import DataError
from narl.core.method_options import METHODS
from narl.core.records import ClientCost
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.evaluation.comparison import UPPER_BOUND, ComparisonSeeds, Setting, compare, rows_of
from narl.evaluation.evaluator import Evaluator, trained_client
from narl.evaluation.report import SeedReport, Summary
from narl.evaluation.seed import Seed
from narl.evaluation.summary import REPORTED, scalars, summarise

PIPELINE = DIGITS | {
    "splits": {"train_limit": 300, "validation_limit": 100, "test_limit": 150},
    "image": {"size": 16},
    "loader": "tensor",
}
ATTACK = {
    "epoch_steps": 1,
    "clean_epochs": 0,
    "max_epochs": 4,
    "min_epochs": 1,
    "patience": 1,
    "batch_size": 64,
    "adversaries": ["mlp"],
}


def config(**changes) -> TrainConfig:
    trial = {"arch": "mobilenet_v3_small", "split": 2, "sigma": 1.0, "lambda": 0.01, "seed": 3} | changes
    content = {"pipeline": PIPELINE, "trial": trial, "training": {"epochs": 1, "batch_size": 64}, "attack": ATTACK}
    return build(TrainConfig, content, "test")


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(config().pipeline, splits=("train", "validation", "test"))


@pytest.fixture(scope="module")
def reports(dataset):
    return Evaluator(dataset, ("averaging",), (1, 16, math.inf)).measure_seeds({"": config()}, (3, 4))[""]


def measured(evaluator: Evaluator, config: TrainConfig, client=None, on_step=lambda step: None) -> Seed:
    trained = client and trained_client(config, client, evaluator.dataset)
    return drained(evaluator.measure(config, trained), on_step)[0]


def test_a_report_is_consistent_with_itself(reports):
    for seed in reports.values():
        numbers, per_image = seed.report.to_json(), seed.per_image
        assert numbers["delta"] == pytest.approx(numbers["utility"] - numbers["leakage"])
        assert numbers["leakage"] >= numbers["label_floor"]
        assert numbers["paper_adversary"] == "mlp"  # `rest` does not attack here
        assert numbers["delta_paper"] == pytest.approx(numbers["utility"] - numbers["adversaries"]["mlp"])
        at = numbers["averaging"]["leakage_at_queries"]
        assert list(at) == ["1", "16", "∞"] and at["1"] <= at["16"] <= at["∞"]
        assert at["1"] == pytest.approx(numbers["leakage"])
        assert per_image["utility"].mean() == pytest.approx(numbers["utility"], rel=1e-5)
        for name, percent in numbers["adversaries"].items():
            assert per_image[f"adversary/{name}"].mean() == pytest.approx(percent, rel=1e-5)
        highest = max(per_image[f"at_queries/{n}"].mean() for n in at)
        assert at["∞"] == pytest.approx(max(highest, numbers["label_floor"]), rel=1e-5)


def test_the_summary_holds_means_and_an_interval_around_each(reports):
    summary = summarise(reports, report_on="test")
    assert summary.seeds == (3, 4) and summary.num_samples == 150
    assert set(summary.mean) == set(REPORTED)
    # The largest of ten is larger still in a resample, and features have no value an image.
    for name in set(REPORTED) - {"worst_class_leakage", "feature_rms"}:
        low, high = summary.interval95[name]
        assert low - 1e-4 <= summary.mean[name] <= high + 1e-4, name
    for key in ("leakage_at_queries", "delta_at_queries"):
        for n, mean in summary.findings[key].items():
            low, high = summary.interval95[key][n]
            assert low - 1e-4 <= mean <= high + 1e-4
    assert summary.findings["delta_at_queries"]["16"] == pytest.approx(
        sum(seed.report.findings["averaging"]["delta_at_queries"]["16"] for seed in reports.values()) / 2
    )


def test_a_summary_is_the_same_after_json(reports):
    summary = summarise(reports, report_on="test")
    text = json.dumps(summary.to_json(), allow_nan=False)
    assert Summary.from_json(json.loads(text)) == summary
    flat = scalars(summary)
    assert flat == scalars(Summary.from_json(json.loads(text)))
    assert flat["delta_low95"] <= flat["delta"] <= flat["delta_high95"]
    assert flat["leakage_at_infinite_queries"] == summary.findings["leakage_at_queries"]["∞"]


def test_reports_cannot_be_changed_nor_made_up(reports):
    report = reports[3].report
    with pytest.raises(ValidationError, match="frozen"):
        report.utility = 100.0
    with pytest.raises(DataError, match="utility"):
        SeedReport.from_json(report.to_json() | {"utility": "most"})
    with pytest.raises(DataError, match="finite"):
        SeedReport.from_json(report.to_json() | {"leakage": math.nan})


def test_every_attack_has_a_name_of_its_own_that_no_number_has():
    names = [kind.name for kind in FINDINGS]
    assert len(set(names)) == len(names) and set(ATTACKS) <= {"leakage", *names}
    assert not {*names} & {*SeedReport.model_fields, *Summary.model_fields}


def test_the_tags_are_no_older_than_the_doubts(reports):
    for seed in reports.values():
        stopped = {
            name for name in seed.report.tags.get("unconverged", "").split(",") if name in seed.report.adversaries
        }
        assert stopped == {doubt.split(" was")[0] for doubt in seed.report.doubts if "or still guessing" in doubt}


def test_a_seed_survives_the_disk(reports, tmp_path):
    seed = reports[3]
    seed.save(tmp_path / "new" / "seed.json")
    again = Seed.load(tmp_path / "new" / "seed.json")
    assert again.report == seed.report and again.pictures == seed.pictures == {}
    assert {name: values.tolist() for name, values in again.per_image.items()} == {
        name: values.tolist() for name, values in seed.per_image.items()
    }


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_seed_damaged_on_disk_is_named(reports, tmp_path, suffix):
    path = tmp_path / "seed.json"
    reports[3].save(path)
    damaged = path.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:-30])
    with pytest.raises(DataError, match="delete both"):
        Seed.load(path)


def test_a_seed_that_nests_too_deeply_is_named(reports, tmp_path):
    path = tmp_path / "seed.json"
    reports[3].save(path)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="delete both"):
        Seed.load(path)


def seed_of(utility: np.ndarray, *, doubts: tuple[str, ...] = (), **adversaries: np.ndarray) -> Seed:
    """A seed of 1,000 images, five classes, label floor 20 %, whose accuracies are those of the given hits."""
    report = SeedReport(
        **dict.fromkeys(REPORTED, 0.0),
        adversaries=dict.fromkeys(adversaries, 0.0),
        paper_adversary=next(iter(adversaries)),
        label_floor=20.0,
        num_samples=1000,
        doubts=doubts,
        snr_db=None,
        train_seconds=0.0,
        attack_seconds=0.0,
        cost=ClientCost(0.0, 0.0, 0.0, 0.0),
        tags={},
    )
    values = {"utility": utility, "private": np.arange(1000) % 5}
    return Seed(report, values | {f"adversary/{name}": hits for name, hits in adversaries.items()}, {})


def percent(share: float) -> np.ndarray:
    """Hits of 1,000 images, `share` of them 100 and the rest 0, evenly among the five classes."""
    return np.where(np.arange(1000) // 5 < 200 * share, 100.0, 0.0)


def test_a_leakage_below_the_floor_has_no_spread_over_images():
    same = seed_of(percent(0.5), rest=percent(0.1))
    interval = summarise(dict.fromkeys(range(3), same), report_on="test").interval95
    assert interval["leakage"] == (20.0, 20.0) and interval["advantage"] == (0.0, 0.0)
    half = 1.96 * 50 / 1000**0.5
    assert interval["delta"] == pytest.approx((30 - half, 30 + half), abs=0.6)
    low, high = interval["delta_paper"]  # 50 - 10, unclamped
    assert low < 38 and high > 42


def test_a_leakage_just_below_the_floor_may_lie_above_it():
    """Which of the two is reported is decided in each resample, not once."""
    low, high = summarise({0: seed_of(percent(0.5), rest=percent(0.195))}, report_on="test").interval95["leakage"]
    assert low == 20.0 and 21 < high < 23


def test_a_bound_below_the_floor_is_the_most_that_is_read_in_every_resample():
    seed = seed_of(np.full(1000, 90.0), rest=np.full(1000, 25.0))
    seed.per_image["bound/1"] = np.full(1000, 15.0, dtype=np.float32)
    summary = summarise({0: seed}, report_on="test")
    assert summary.interval95["leakage"] == pytest.approx((15.0, 15.0))
    assert summary.interval95["delta"] == pytest.approx((75.0, 75.0))
    assert summary.interval95["advantage"] == pytest.approx((-5.0, -5.0))


def test_the_strongest_adversary_is_chosen_in_each_resample():
    alone = seed_of(percent(0.5), rest=percent(0.4))
    both = seed_of(percent(0.5), rest=percent(0.4), mlp=percent(0.4)[::-1])
    one, two = (summarise({0: seed}, report_on="test").interval95["leakage"] for seed in (alone, both))
    assert two[0] > one[0] + 0.5  # the lower of two is seldom the larger


def test_an_interval_over_few_seeds_is_as_wide_as_students():
    accuracies = (0.4, 0.5, 0.6)
    seeds = {n: seed_of(percent(share), rest=percent(0.1)) for n, share in enumerate(accuracies)}
    low, high = summarise(seeds, report_on="test").interval95["utility"]
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 2, loc=50, scale=stats.sem([40, 50, 60])), abs=5)


def test_without_noise_averaging_changes_nothing(dataset):
    report = measured(Evaluator(dataset, ("averaging",), (1, math.inf)), config(method="no_noise", sigma=0)).report
    at = report.findings["averaging"]["leakage_at_queries"]
    assert at["∞"] == at["1"]
    assert report.snr_db is None


def test_an_attacker_that_ran_out_of_epochs_is_trained_on_and_then_doubted(dataset):
    hurried = config().model_copy(update={"attack": Attack(**ATTACK | {"max_epochs": 1})})
    seen = []
    report = measured(Evaluator(dataset, ("leakage",)), hurried, on_step=lambda step: seen.append(step.detail)).report
    assert any("mlp again" in line for line in seen)
    assert any("mlp was still improving" in doubt for doubt in report.doubts)
    assert "mlp" in report.tags["unconverged"].split(",")


def test_without_second_attempts_each_adversary_is_trained_once(dataset):
    hurried = config().model_copy(update={"attack": Attack(**ATTACK | {"max_epochs": 1})})
    seen = []
    once = Evaluator(dataset, ("leakage",), second_attempts=False)
    measured(once, hurried, on_step=lambda step: seen.append(step.detail))
    assert seen and not any("again" in line for line in seen)


def test_a_trained_client_is_attacked_as_it_is(dataset):
    from narl.methods.catalogue import halves_of

    client = halves_of(config().trial, 16).client(seed=0)
    before = {name: tensor.clone() for name, tensor in client.state_dict().items()}
    report = measured(Evaluator(dataset, ("leakage",)), config(), client).report
    assert all(torch.equal(before[name], tensor) for name, tensor in client.state_dict().items())
    assert report.train_seconds == 0 < report.attack_seconds


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


def compared(rows, dataset, folder, bounds_folder=None) -> tuple[dict[str, Summary], list[str]]:
    """Each row's summary, and the rows whose epochs were seen."""
    evaluator, steps = Evaluator(dataset, ("leakage",)), []
    seeds = ComparisonSeeds(rows, folder, evaluator, bounds_folder)
    found = compare(rows, evaluator, seeds, num_seeds=1, on_progress=lambda row, *_: steps.append(row))
    return {row: summarise(seeds, report_on="test") for row, seeds in found.items()}, steps


def test_a_comparison_goes_on_where_it_stopped(dataset, tmp_path):
    rows = rows_of(setting(), ["gaussian_posthoc"])
    first, _ = compared(rows[:2], dataset, tmp_path)
    again, steps = compared(rows[:3], dataset, tmp_path)
    assert set(steps) == {rows[2].name}
    assert {name: again[name] for name in first} == first
    assert len(list((tmp_path / "seeds").glob("*.json"))) == 3


def test_comparisons_share_their_upper_bound_and_no_other_row(dataset, tmp_path):
    rows, shared = rows_of(setting(), ["gaussian_posthoc"])[:2], tmp_path / "bounds"
    first, _ = compared(rows, dataset, tmp_path / "one", shared)
    second, steps = compared(rows, dataset, tmp_path / "two", shared)
    assert rows[0].name == UPPER_BOUND and set(steps) == {rows[1].name}
    assert second[UPPER_BOUND] == first[UPPER_BOUND]
    assert len(list(shared.rglob("*.json"))) == 1 and len(list((tmp_path / "two" / "seeds").glob("*.json"))) == 2


def test_a_doubt_names_its_seeds_unless_all_have_it():
    each = (("a", "b"), ("a",), ("a", "b"))
    seeds = {n: seed_of(percent(0.5), rest=percent(0.4), doubts=doubts) for n, doubts in enumerate(each)}
    assert summarise(seeds, report_on="test").doubts == ("a", "b (seed 0, 2)")


def test_a_file_that_is_no_seeds_report_is_refused(reports, tmp_path):
    path = tmp_path / "seed.json"
    reports[3].save(path)
    for content in ("{}", "[]"):
        path.write_text(content)
        with pytest.raises(DataError, match="cannot be read as a seed's report"):
            Seed.load(path)


def reading(share: int) -> Reading:
    hits = (torch.arange(100) < share).float()
    return Reading(Scores(hits, torch.zeros(100, dtype=torch.int64)), torch.nn.Identity(), [], True)


def test_attackers_that_find_nothing_even_without_noise_are_doubted():
    blind, seeing, one = reading(20), reading(80), reading(15)
    doubts = [
        list(Averaging({1: one, math.inf: bare}, label_floor=20.0, utility=90.0).doubts())
        for bare in (blind, seeing, one)
    ]
    assert "proves nothing" in doubts[0][0] and doubts[1] == []
    assert doubts[2] == []  # a client without noise: that nobody reads it is said of one answer already
