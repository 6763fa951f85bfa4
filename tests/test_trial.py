"""Whole trials on real digits, small enough to take seconds."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from example_pipelines import DIGITS

from narl.config.load import build
from narl.config.trial import TrainConfig
from narl.core.constraints import Constraints
from narl.core.errors import ConfigError, DivergedTraining
from narl.core.front_so_far import FrontSoFar
from narl.core.sigma_choice import best_sigma
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.evaluation.evaluator import seed_of
from narl.evaluation.final import train
from narl.evaluation.report import Summary
from narl.export.bundle import load_bundle
from narl.trial import run_trial


def config(
    arch="shufflenet_v2_x1_0",
    split=4,
    sigma=1.0,
    lambda_=0.01,
    seed=0,
    size=32,
    attack=None,
    sigma_inference=None,
    **training,
) -> TrainConfig:
    content = {
        "pipeline": DIGITS
        | {
            "splits": {"train_limit": 160, "validation_limit": 100, "test_limit": 100},
            "image": {"size": size},
            "loader": "tensor",
        },
        "trial": {"arch": arch, "split": split, "sigma": sigma, "lambda": lambda_, "seed": seed}
        | {"sigma_inference": sigma_inference},
        "training": {"epochs": 2, "batch_size": 32} | training,
        "attack": {
            "epoch_steps": 1,
            "clean_epochs": 0,
            "max_epochs": 3,
            "min_epochs": 1,
            "patience": 3,
            "batch_size": 32,
        }
        | (attack or {}),
    }
    return build(TrainConfig, content, "test")


def run(config: TrainConfig, **kwargs):
    dataset = open_dataset(config.pipeline, splits=("train", "validation", kwargs.get("report_on", "validation")))
    steps, progress = run_trial(config, dataset, **kwargs), []
    return drained(steps, progress.append), progress


@pytest.fixture(scope="module")
def outcome():
    return run(config(), device=torch.device("cpu"))


@pytest.mark.parametrize(("asked", "levels"), [(None, 1), (2.0, 1), ("best", 6)])
def test_watching_reads_every_epoch_and_changes_no_number(asked, levels):
    watched, seen = run(config(sigma_inference=asked), device=torch.device("cpu"), watch=True)
    plain, _ = run(config(sigma_inference=asked), device=torch.device("cpu"))
    times = {"train_seconds", "attack_seconds"}
    assert {k: v for k, v in watched.metrics.scalars().items() if k not in times} == {
        k: v for k, v in plain.metrics.scalars().items() if k not in times
    }
    profiles = [step.profile for step in seen if step.phase == "train"]
    assert [len(profile) for profile in profiles] == [levels] * 2 and profiles[0] != profiles[1]
    assert all(not step.profile for step in seen if step.phase == "attack")
    if asked is None:  # of the trained client, and so what its own profile says, but for fewer answers
        at_end = next(level for level in watched.sigma_profile if level.sigma == 1.0)
        assert profiles[-1][0].utility == pytest.approx(at_end.utility, abs=12)


def test_metrics_obey_their_definitions(outcome):
    m = outcome[0].metrics
    assert m.strongest_adversary == max(m.adversaries.values()) and set(m.adversaries) == {"bayes", "rest", "mlp"}
    assert m.leakage == min(max(m.strongest_adversary, m.label_floor), m.leakage_bound)
    assert m.delta_certified == m.utility - m.leakage_bound <= m.delta
    assert 0 < m.identification <= 100
    assert m.delta == m.utility - m.leakage and m.delta_paper == m.utility - m.adversaries["rest"]
    assert m.snr_db == pytest.approx(20 * math.log10(outcome[0].leakage.feature_std / 1.0))
    assert outcome[0].leakage.feature_std <= m.feature_rms
    assert 19 < m.label_floor < 23  # ten nearly equal digits, of which the parity leaves five


def test_every_epoch_of_every_network_is_reported(outcome):
    result, progress = outcome
    assert [p.epoch for p in progress if p.phase == "train"] == [0, 1]
    attacks = [p for p in progress if p.phase == "attack"]
    exact = [p for p in attacks if p.detail.startswith("bayes")]
    assert exact and attacks[: len(exact)] == exact  # what is not trained comes first
    networks: dict[str, list[int]] = {}
    for p in attacks[len(exact) :]:
        networks.setdefault(p.detail.partition(" epoch ")[0], []).append(p.epoch)
    networks.pop("utility again", None)  # where the closed form reads more
    assert networks == dict.fromkeys(("utility", "rest", "mlp"), [0, 1, 2])
    assert {name: len(curve) for name, curve in result.curves.items()} == {
        "train_task_loss": 2,
        "train_leak_loss": 2,
        "attack_utility": 3,
        "attack_rest": 3,
        "attack_mlp": 3,
    }
    assert result.tags["reported_on"] == "validation" and "utility" in result.tags["unconverged"]


def test_metrics_and_tags_are_those_of_the_readings_that_count(outcome):
    """A second attempt that ends by itself leaves no doubt of the first one behind."""
    first = outcome[0]
    longer = replace(first.leakage.readings["mlp"], converged=True)
    readings = {"rest": first.leakage.readings["rest"], "mlp": longer}
    assert set(first.tags["unconverged"].split(",")) == {"utility", "rest", "mlp"}
    again = replace(first, leakage=replace(first.leakage, readings=readings))
    assert set(again.tags["unconverged"].split(",")) == {"utility", "rest"}
    right = replace(longer.scores, hits=torch.ones_like(longer.scores.hits))
    all_read = {"mlp": replace(longer, scores=right)}
    bounded = replace(first, leakage=replace(first.leakage, readings=all_read))
    assert bounded.metrics.leakage == first.metrics.leakage_bound  # above it is luck
    better = replace(first, leakage=replace(first.leakage, readings=all_read, exact=None))
    assert better.metrics.leakage == 100 and better.metrics.delta == better.metrics.utility - 100


def test_same_seed_same_numbers_other_seed_others(outcome):
    again, _ = run(config(), device=torch.device("cpu"))
    other, _ = run(config(seed=1), device=torch.device("cpu"))
    assert again.curves == outcome[0].curves
    for a, b in zip(again.obfuscator.parameters(), outcome[0].obfuscator.parameters(), strict=True):
        assert torch.equal(a, b)
    assert other.curves != again.curves


def test_the_attack_leaves_the_obfuscator_as_it_was(outcome):
    obfuscator = outcome[0].obfuscator
    assert not obfuscator.training and not any(p.requires_grad for p in obfuscator.parameters())
    x = torch.rand(4, 3, 32, 32)
    z = obfuscator(x, torch.Generator().manual_seed(0)) - obfuscator.features(x)
    assert z.std() == pytest.approx(1.0, rel=0.1)  # the noise is alive in eval mode


def test_a_client_in_nothing_but_noise_is_told_from_one_that_is_private():
    outcome, _ = run(config(sigma=1e4, attack={"adversaries": ["bayes"]}), device=torch.device("cpu"))
    m = outcome.metrics
    assert m.utility_is_a_guess and m.num_samples == 100
    assert m.utility_chance == 100 * max(outcome.leakage.utility_reading.scores.labels.bincount()) / 100
    assert m.utility_bound == pytest.approx(m.utility_chance, abs=1)  # nobody can do better than name the largest class
    assert m.nothing.delta == m.utility_chance - m.private_chance
    assert m.delta == pytest.approx(m.nothing.delta, abs=12) and m.delta > 25  # out of nothing
    (doubt,) = (doubt for doubt in seed_of(outcome, ()).report.doubts if "guess:" in doubt)
    assert doubt.startswith("utility is a guess")


# A member that any client loses to, in points of Δ at 1 and at 16 answers.
OUT_OF_REACH = FrontSoFar(("delta", "delta_at_queries(16)"), ((-100.0, -100.0),))
WITHIN_REACH = SimpleNamespace(excludes=lambda at_best: False, constraints=Constraints())


def test_networks_attack_only_a_client_that_could_still_be_on_the_front():
    asked = config(attack={"queries": [16]})
    spared, progress = run(asked, device=torch.device("cpu"), front=OUT_OF_REACH)
    in_full, _ = run(asked, device=torch.device("cpu"), front=WITHIN_REACH)
    trained = {p.detail.split()[0] for p in progress if p.phase == "attack"}
    assert trained == {"bayes", "utility"} and set(spared.metrics.adversaries) == {"bayes"}
    assert "networks" not in in_full.tags and spared.tags["networks"] == "not trained: it cannot be on the front"
    at_best, all_told = spared.metrics, in_full.metrics
    for name in ("utility", "leakage_bound", "identification", "utility_bound"):
        assert getattr(at_best, name) == getattr(all_told, name)
    for name in ("delta", "delta_at_queries(16)"):
        assert at_best.value(name) >= all_told.value(name)
    assert all_told.adversaries["bayes"] == at_best.adversaries["bayes"]


def test_where_the_bayes_attacker_does_not_attack_networks_always_do():
    outcome, _ = run(
        config(attack={"adversaries": ["mlp"]}),
        device=torch.device("cpu"),
        front=FrontSoFar(("delta",), ((-100.0,),)),
    )
    assert set(outcome.metrics.adversaries) == {"mlp"} and "networks" not in outcome.tags


def test_exact_attackers_alone_read_any_number_of_answers():
    only = config(sigma=20.0, attack={"adversaries": ["bayes"], "queries": [16]})
    result, progress = run(only, device=torch.device("cpu"))
    m = result.metrics
    assert m.adversaries == {"bayes": m.strongest_adversary}
    assert {p.detail.split()[0] for p in progress if p.phase == "attack"} == {"bayes", "utility"}
    assert m.leakage_bound <= m.leakage_bound_at_queries["16"] and m.leakage <= m.leakage_at_queries["16"]
    assert m.value("delta_certified_at_queries(16)") == m.utility - m.leakage_bound_at_queries["16"]
    assert m.value("identification") <= m.value("identification_at_queries(16)")


def test_the_best_sigma_is_that_of_the_client_that_is_measured_and_kept(tmp_path):
    attack = {"adversaries": ["bayes", "rest"]}
    best, _ = run(config(sigma=8.0, sigma_inference="best", attack=attack), device=torch.device("cpu"))
    m = best.metrics
    sigma = m.sigma_inference
    assert sigma == best_sigma(m.sigma_profile) == best.obfuscator.noise.sigma != 8.0
    x = torch.rand(4, 3, 32, 32)
    added = best.obfuscator(x, torch.Generator().manual_seed(0)) - best.obfuscator.features(x)
    assert added.std().item() == pytest.approx(sigma, rel=0.1)

    def numbers(outcome) -> dict:
        seconds = ("train_seconds", "attack_seconds")
        return {name: value for name, value in outcome.metrics.to_json().items() if name not in seconds}

    given, _ = run(config(sigma=8.0, sigma_inference=sigma, attack=attack), device=torch.device("cpu"))
    as_trained, _ = run(config(sigma=8.0, attack=attack), device=torch.device("cpu"))
    assert numbers(given) == numbers(best) != numbers(as_trained)
    assert as_trained.metrics.sigma_inference is None and as_trained.metrics.sigma_profile == m.sigma_profile
    assert as_trained.curves["train_task_loss"] == best.curves["train_task_loss"]


def test_a_final_client_is_kept_with_the_sigma_that_was_chosen_for_it(tmp_path):
    wanted = config(sigma=8.0, sigma_inference="best", attack={"adversaries": ["bayes"]})
    result = train(wanted, out=tmp_path / "model")
    client, _, kept = load_bundle(tmp_path / "model")
    assert client.noise.sigma == kept.trial.sigma_inference == result.first.metrics.sigma_inference != 8.0
    assert kept.trial == wanted.trial.at_inference(client.noise.sigma)


def test_below_a_bound_nobody_reaches_the_floor():
    """In so much noise not even what the utility label gives away can be read."""
    result, _ = run(config(sigma=1e4, attack={"adversaries": ["bayes"]}), device=torch.device("cpu"))
    m = result.metrics
    assert m.leakage <= m.leakage_bound < m.label_floor
    assert not [doubt for doubt in result.leakage.doubts() if "floor" in doubt]


def test_without_noise_nothing_is_certified():
    result, _ = run(config(sigma=0.0, attack={"adversaries": ["bayes"]}), device=torch.device("cpu"))
    assert result.metrics.leakage_bound == result.metrics.identification == 100


def test_networks_alone_are_not_bounded():
    result, _ = run(config(attack={"adversaries": ["rest"]}), device=torch.device("cpu"))
    m = result.metrics
    assert m.leakage_bound is None and m.delta_certified is None and "leakage_bound" not in m.scalars()
    with pytest.raises(ConfigError, match="must list bayes"):
        m.value("delta_certified")


def test_the_ablations_run():
    result, _ = run(config(sigma=0.0, lambda_=0.0), device=torch.device("cpu"))
    assert result.metrics.snr_db is None


def test_a_learning_rate_that_blows_up_is_a_named_failure():
    with pytest.raises(DivergedTraining, match="epoch 1"):
        run(config(learning_rate=1e12), device=torch.device("cpu"))


def test_illegal_clients_are_refused():
    with pytest.raises(ConfigError, match="no split point 9"):
        run(config(split=9))
    with pytest.raises(ConfigError, match="63x63"):
        run(config(arch="alexnet", split=1))


def test_final_results_are_of_the_test_split_over_seeds():
    result = train(config(), seeds=2)
    summary = result.summary
    assert summary.reported_on == "test" and summary.num_samples == 100 and summary.seeds == (0, 1)
    first, second = summary.by_seed.values()
    assert summary.mean["delta"] == pytest.approx((first.delta + second.delta) / 2)
    low, high = summary.interval95["delta"]
    assert low < summary.mean["delta"] < high
    assert result.first.metrics.utility == first.utility and first.train_seconds > 0
    assert first.tags == result.first.tags and Summary.from_json(summary.to_json()) == summary
    assert not any("again" in doubt for doubt in summary.doubts)


@pytest.mark.gpu
def test_on_a_gpu():
    result, _ = run(config(), device=torch.device("cuda"))
    assert result.tags["device"] == "cuda" and result.tags["precision"] == "bfloat16"
