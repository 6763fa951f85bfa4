"""Which configuration is the answer: by a lower bound, at the knee, at another σ; and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import narl
from narl.cli.main import main
from narl.core.chance import least_difference, wilson_interval
from narl.core.errors import ConfigError, NothingFeasible
from narl.core.records import SigmaLevel, TrialRecord
from narl.search.best import Demands
from narl.search.explained import explained
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

SPACE = Path(__file__).parents[2] / "search_spaces" / "digits.yaml"
PROFILE = (
    SigmaLevel(0.5, 95.0, 60.0, 65.0),
    SigmaLevel(1.0, 92.0, 45.0, 50.0),
    SigmaLevel(2.0, 88.0, 31.0, 35.0),
    SigmaLevel(4.0, 75.0, 22.0, 23.0),
)


def with_profile(record: TrialRecord) -> TrialRecord:
    return replace(record, metrics=replace(record.measured, sigma_profile=PROFILE, num_samples=300))


def of_images(record: TrialRecord, images: int) -> TrialRecord:
    return replace(record, metrics=replace(record.measured, num_samples=images))


@pytest.fixture
def front(record):
    """Δ rises steeply to trial 1, then slowly; trial 3 is a guess."""
    rows = [(0.001, 70), (0.002, 88), (0.1, 90)]
    records = [record(n, split=n + 1, gflops=g, utility=u, chance=51.0) for n, (g, u) in enumerate(rows)]
    return [*records, record(3, gflops=0.001, utility=52, leakage=2, floor=10.0, chance=51.0)]


@pytest.fixture
def folder(tmp_path):
    def make(records):
        folder = SearchFolder(tmp_path / "runs" / "digits")
        folder.save_space(narl.SearchSpace.load(SPACE))
        ledger = Ledger(folder.ledger_path)
        for each in records:
            ledger.append(each)
        return folder

    return make


def test_the_lower_bound_prefers_what_more_images_support(record):
    few, many = of_images(record(0, utility=91), 30), of_images(record(1, utility=90), 10_000)
    assert Demands().best_of([few, many]) == few
    assert Demands(confidence=0.95).best_of([few, many]) == many
    least = wilson_interval(90, 10_000)[0] - wilson_interval(30, 10_000)[1]
    assert Demands(confidence=0.95).worth(many) == pytest.approx(least)
    assert Demands(confidence=0.99).worth(many) < least
    with pytest.raises(ConfigError, match="trial 2 does not say on how many images"):
        Demands(confidence=0.95).best_of([record(2)])
    for nonsense in (0.5, 1, -0.5, 95):
        with pytest.raises(ConfigError, match="between 0.5 and 1"):
            Demands(confidence=nonsense)


@pytest.mark.parametrize("dependence", [-1, 0, 1])
def test_the_bound_holds_however_utility_and_leakage_depend_on_each_other(dependence):
    """The difference of the true accuracies is above it in 95 of 100 draws of the images, at least."""
    random, images, useful, private = np.random.default_rng(0), 200, 0.8, 0.4
    above = 0
    for _ in range(400):
        first = random.random(images)
        second = {1: first, -1: 1 - first, 0: random.random(images)}[dependence]
        read = 100 * (first < useful).mean(), 100 * (second < private).mean()
        above += least_difference(*read, images, 0.95) < 100 * (useful - private)
    assert above / 400 >= 0.93


def test_the_knee_is_asked_for_by_a_cost(front):
    assert Demands(with_worthless=False).best_of(front).trial_id == 2
    assert Demands(knee="client_gflops").best_of(front).trial_id == 1
    assert Demands(knee="client_gflops", budget_gflops=0.05).best_of(front).trial_id == 1  # two: the highest Δ
    with pytest.raises(NothingFeasible):
        Demands(knee="client_gflops", budget_gflops=1e-6).best_of(front)
    with pytest.raises(ConfigError, match="did you mean 'client_gflops'"):
        Demands(knee="gflops")


def test_a_client_that_leaks_too_much_meets_the_limit_at_another_sigma(record):
    leaky = with_profile(record(0, utility=95, leakage=50))
    chosen = Demands(max_leakage=40).best_of([leaky])
    m = chosen.measured
    assert (m.sigma_inference, m.utility, m.leakage, m.leakage_bound, m.delta) == (2.0, 88.0, 31.0, 35.0, 57.0)
    assert chosen.measured_point.sigma_inference == 2.0 and "closed form" in chosen.doubts
    assert Demands(max_leakage=40).best_of([leaky, record(1, utility=95, leakage=35)]).trial_id == 1
    assert Demands(max_leakage=60).best_of([leaky]) == leaky  # it meets that as it was measured
    assert Demands(max_leakage=32).best_of([leaky]).measured.sigma_inference == 4.0  # 31 is not surely below 32
    assert Demands(max_leakage=40, min_utility=85).best_of([leaky]).measured.sigma_inference == 2.0
    for beyond in ({"max_leakage": 10}, {"max_leakage": 32, "min_utility": 85}):
        with pytest.raises(NothingFeasible):
            Demands(**beyond).best_of([leaky])
    bounded = replace(leaky, metrics=replace(leaky.measured, identification=5.0))
    with pytest.raises(NothingFeasible):  # identification is not in the profile
        Demands(max_leakage=40, max_identification=50).best_of([bounded])


def test_a_client_that_is_not_useful_enough_meets_the_limit_with_less_noise(record):
    dull = with_profile(record(0, utility=80, leakage=20))
    assert Demands(min_utility=90).best_of([dull]).measured.sigma_inference == 1.0


def test_the_answer_is_a_configuration_with_that_sigma_as_a_number(folder, record, capsys):
    where = folder([with_profile(record(0, utility=95, leakage=50))])
    best = narl.best_config(where, max_leakage=40)
    assert best.trial.sigma_inference == 2.0 and best.found_by.leakage == 31.0
    assert main(["best-config", "--runs", str(where.path.parent), "--max-leakage", "40"]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["trial"]["sigma_inference"] == 2.0
    assert "in closed form, from the profile of the trial; no network has attacked" in shown


def test_what_is_said_of_a_choice(front):
    asked = Demands(budget_gflops=0.05)
    said = list(explained(front, asked, asked.best_of(front)))
    assert said[0] == "Of 4 finished trials 2 count and are within every bound."
    assert said[1] == "Trial 1 has the highest Δ of them, 58.00."
    assert "trial 0 (resnet18/1), takes 0.001 GFLOPs instead of 0.002 (-50 %) and loses 18.00 points" in said[2]
    assert (
        "trial 2 (resnet18/3), takes 0.1 GFLOPs" in said[3] and "gains 2.00 points; but client_gflops is 0.1" in said[3]
    )
    assert said[4] == "Trial 2 has Δ 60.00 and is not chosen: client_gflops is 0.1, and at most 0.05 is asked for."
    least = least_difference(88, 30, 300, 0.95)
    assert f"these 300 its Δ exceeds {least:.2f} with 95 % confidence" in said[5]
    assert len(said) == 6


def test_what_is_said_of_a_knee_and_of_a_guess(front):
    asked = Demands(knee="client_gflops")
    said = " ".join(explained(front, asked, asked.best_of(front)))
    assert "Trial 1 is the knee" in said and "Kneedle" in said
    assert "Trial 2 has Δ 60.00 and is not chosen: the knee is cheaper." in said
    asked = Demands(budget_gflops=0.0015)
    better_guess = replace(front[3], metrics=replace(front[3].measured, leakage=1.0, delta=51.0))
    said = " ".join(explained([*front[:3], better_guess], asked, front[0]))
    assert "Trial 3 has Δ 51.00 and is not chosen: utility is a guess" in said
    none = Demands(knee="client_gflops", budget_gflops=0.05)
    assert "no knee" in " ".join(explained(front, none, none.best_of(front)))


def test_explanations_are_comments_or_go_to_standard_error(folder, front, capsys):
    runs = str(folder(front).path.parent)
    assert main(["best-config", "--runs", runs, "--explain"]) == 0
    shown = capsys.readouterr()
    assert yaml.safe_load(shown.out)["found_by"]["trial_id"] == 2 and "# Trial 2 has the highest Δ" in shown.out
    assert all(len(line) <= 120 for line in shown.out.splitlines() if line.startswith("# Of"))
    assert main(["best-config", "--runs", runs, "--explain", "--knee", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["found_by"]["trial_id"] == 1 and "is the knee" in shown.err
    for wrong in (["--confidence", "95"], ["--confidence", "0"], ["--knee", "delta"]):
        with pytest.raises(SystemExit) as stop:
            main(["best-config", "--runs", runs, *wrong])
        assert stop.value.code == 2
