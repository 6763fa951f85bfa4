"""Every sampler against the same contract, and a study that survives everything."""

from __future__ import annotations

import math

import optuna
import pytest
from bench import IN_MEMORY, Bench
from optuna.trial import TrialState
from toy import measure, toy_space

from narl.core.errors import ConfigError
from narl.core.objectives import to_minimise
from narl.core.pareto import front_of, hypervolume
from narl.search.samplers import SAMPLERS
from narl.search.study import SearchStudy

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_completes_a_search_without_repeating_itself(tmp_path, sampler):
    values = {"sigma": [0.1, 1, 10]} if sampler == "grid" else {}
    bench = Bench(tmp_path, toy_space(sampler=sampler, **values))
    configs = bench.run()
    assert len(configs) == 12 == len({c.content_hash for c in configs})
    assert [r.trial_id for r in bench.ledger.records] == list(range(12))
    assert bench.states()[TrialState.RUNNING] == 0


@pytest.mark.parametrize("sampler", ["front", "tpe", "nsga2", "random", "qmc"])
def test_same_seed_same_search(tmp_path, sampler):
    runs = []
    for number, seed in enumerate((0, 0, 1)):
        (tmp_path / str(number)).mkdir()
        configs = Bench(tmp_path / str(number), toy_space(sampler=sampler, seed=seed), url=IN_MEMORY).run()
        runs.append([(c.arch, c.split, c.sigma, c.lambda_) for c in configs])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_small_discrete_space_is_run_through_exactly_once(tmp_path, sampler):
    client = {"resnet18": {"split_points": [1, 2]}}
    space = toy_space(sampler=sampler, architectures=client, sigma=[1, 2], trials=100, **{"lambda": [0, 1]})
    configs = Bench(tmp_path, space, url=IN_MEMORY).run()
    assert len(configs) == 2 * 2 * 2 == len(set(configs))


def test_tpe_beats_random_on_the_toy(tmp_path):
    """Hypervolume after the same number of trials, over seeds: a model that helps must show it."""
    totals = {}
    for sampler in ("tpe", "random"):
        totals[sampler] = 0.0
        for seed in range(4):
            objectives = ["delta", "client_memory_mib"]
            space = toy_space(sampler=sampler, seed=seed, trials=40, objectives=objectives)
            bench = Bench(tmp_path / f"{sampler}{seed}", space, url=IN_MEMORY)
            bench.run()
            rows = [to_minimise(r.metrics, objectives) for r in bench.ledger.records]
            totals[sampler] += hypervolume(rows, (0.0, 50.0))
    assert totals["tpe"] > totals["random"]


def test_front_needs_a_third_of_the_trials_that_tpe_needs_on_the_toy(tmp_path):
    """Volume under the front, costs by their logarithm as the sampler has it, over seeds."""
    volumes = {}
    for sampler, trials in (("front", 16), ("tpe", 48)):
        volumes[sampler] = 0.0
        for seed in range(3):
            bench = Bench(
                tmp_path / f"{sampler}{seed}", toy_space(sampler=sampler, seed=seed, trials=trials), url=IN_MEMORY
            )
            bench.run()
            rows = [
                (math.log(m.cost.client_gflops), math.log(m.cost.client_memory_mib), -m.delta)
                for m in (record.metrics for record in bench.ledger.records)
            ]
            volumes[sampler] += hypervolume(rows, (math.log(10), math.log(100), 0.0))
    assert volumes["front"] > volumes["tpe"]


def test_front_refuses_a_second_objective_that_is_no_cost():
    with pytest.raises(ConfigError, match="front models one objective that is not a cost.* delta, leakage"):
        toy_space(sampler="front", objectives=["delta", "leakage", "client_gflops"])


def test_values_are_told_in_their_natural_direction(tmp_path):
    bench = Bench(tmp_path, toy_space())
    bench.run(3)
    study = optuna.load_study(study_name="toy", storage=bench.url)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    for trial in study.get_trials():
        metrics = bench.ledger.get(trial.user_attrs["trial_id"]).metrics
        assert trial.values == [metrics.delta, metrics.cost.client_gflops, metrics.cost.client_memory_mib]


def test_a_guess_is_told_as_what_hides_nothing(tmp_path):
    bench = Bench(tmp_path, toy_space())
    trial_id, config = bench.session.propose()
    outcome = measure(config, bench.space)
    outcome["metrics"] |= {"utility": 51.0, "delta": 31.0, "delta_paper": 31.0, "utility_chance": 51.0}
    outcome["metrics"] |= {"leakage": 20.0, "strongest_adversary": 20.0, "adversaries": {"rest": 20.0}}
    outcome["metrics"]["num_samples"] = 300
    bench.session.complete(trial_id, outcome)
    (trial,) = optuna.load_study(study_name="toy", storage=bench.url).get_trials()
    assert trial.values[0] == -49.0
    assert bench.ledger.get(trial_id).metrics.delta == 31.0


def test_the_front_that_trials_are_told_is_that_of_the_ledger_after_a_restart_too(tmp_path):
    space = toy_space()
    bench = Bench(tmp_path, space)
    assert bench.session.front.rows == ()
    bench.run(9)
    names = space.objectives
    expected = {to_minimise(record.measured, names) for record in front_of(bench.ledger.records, names)}
    for session in (bench.session, Bench(tmp_path, space).session):
        assert session.front.objectives == names and set(session.front.rows) == expected


def test_failures_and_nonsense_are_told_as_fail_and_recorded(tmp_path):
    bench = Bench(tmp_path, toy_space())
    first, _ = bench.session.propose()
    second, config = bench.session.propose()
    bench.session.fail(first, "DivergedTraining: epoch 1")
    outcome = measure(config, bench.space)
    outcome["metrics"]["delta"] = float("nan")
    bench.session.complete(second, outcome)
    assert [r.status for r in bench.ledger.records] == ["failed", "failed"]
    assert "BadMetric" in bench.ledger.get(second).error
    assert bench.states() == {TrialState.FAIL: 2}


def test_what_ran_when_the_driver_died_is_run_again_under_its_own_number(tmp_path):
    dead = Bench(tmp_path, toy_space())
    dead.run(3)
    orphans = dict(dead.session.propose() for _ in range(2))
    assert dead.states()[TrialState.RUNNING] == 2

    bench = Bench(tmp_path, toy_space())
    assert bench.states()[TrialState.RUNNING] == 0
    assert dict(bench.session.propose() for _ in range(2)) == orphans
    for trial_id, config in orphans.items():
        bench.session.complete(trial_id, measure(config, bench.space))
    assert len(bench.run()) == 12 - 5
    assert [r.trial_id for r in bench.ledger.records] == list(range(12))
    assert len({r.config.content_hash for r in bench.ledger.records}) == 12


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc"])
def test_the_database_has_every_trial_as_memory_has_it(tmp_path, sampler):
    """Numbers, parameters, values and attributes, with repeats, failures, orphans and their re-runs among them."""
    space = toy_space(sampler=sampler, sigma=[1, 2], trials=40, architectures={"resnet18": {}})
    Bench(tmp_path, space).run(8)
    Bench(tmp_path, space).session.propose()  # and its driver dies
    bench = Bench(tmp_path, space)
    bench.session.fail(bench.session.propose()[0], "boom")
    bench.run(9)
    bench.session.propose()
    kept = optuna.load_study(study_name="toy", storage=bench.url).get_trials()
    shown = {t.number: t for t in bench.study._study.get_trials()}  # all but the failed, with tpe
    assert len(kept) > 19 and TrialState.WAITING not in {t.state for t in kept}
    for trial in kept:
        twin = shown.get(trial.number)
        assert (twin is None) == (trial.state == TrialState.FAIL and sampler == "tpe")
        if twin is not None:
            assert (trial.state, trial.values, trial.params) == (twin.state, twin.values, twin.params)
            assert trial.distributions == twin.distributions and trial.user_attrs == twin.user_attrs


def test_a_crash_between_ledger_and_study_is_mended(tmp_path, monkeypatch):
    bench = Bench(tmp_path, toy_space())
    bench.run(2)
    trial_id, config = bench.session.propose()
    monkeypatch.setattr(SearchStudy, "_tell", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bench.session.complete(trial_id, measure(config, bench.space))
    monkeypatch.undo()
    again = Bench(tmp_path, toy_space())
    assert again.states() == {TrialState.COMPLETE: 3}
    assert len(again.run()) == 9


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_lost_study_is_rebuilt_from_the_ledger(tmp_path, sampler):
    Bench(tmp_path, toy_space(sampler=sampler)).run(5)
    (tmp_path / "study.db").unlink()
    bench = Bench(tmp_path, toy_space(sampler=sampler))
    assert bench.states() == {TrialState.COMPLETE: 5}
    assert len(bench.run()) == 7
    assert [r.trial_id for r in bench.ledger.records] == list(range(12))


def test_no_trial_starts_after_the_deadline(tmp_path):
    now = [0.0]
    bench = Bench(tmp_path, toy_space(), deadline=10.0, clock=lambda: now[0])
    assert len(bench.run(4)) == 4
    now[0] = 10.0
    assert bench.session.propose() is None


def test_observers_hear_everything_in_order(tmp_path):
    heard = []

    class Observer:
        def resumed(self, records):
            heard.append(("resumed", len(records)))

        def started(self, trial_id, config):
            heard.append(("started", trial_id))

        def progressed(self, trial_id, phase, epoch, detail):
            heard.append((phase, trial_id))

        def finished(self, record):
            heard.append((record.status, record.trial_id))

        def noticed(self, text, *, ended=None):
            heard.append(("lost", ended))

    bench = Bench(tmp_path, toy_space(), observers=(Observer(),))
    trial_id, config = bench.session.propose()
    bench.session.progress(trial_id, "train", 0, "")
    bench.session.put_back(trial_id, "its node died")
    bench.session.propose()
    bench.session.complete(trial_id, measure(config, bench.space))
    assert heard == [("resumed", 0), ("started", 0), ("train", 0), ("lost", 0), ("started", 0), ("complete", 0)]


@pytest.mark.parametrize("sampler", ["front", "tpe", "nsga2", "gp"])
def test_trials_that_miss_a_constraint_are_on_no_front_and_told_to_the_sampler(tmp_path, sampler):
    bench = Bench(tmp_path, toy_space(sampler=sampler, constraints={"min_utility": 90, "max_leakage": 60}))
    bench.run()
    missed = {r.trial_id for r in bench.ledger.records if r.metrics.utility < 90 or r.metrics.leakage > 60}
    assert 0 < len(missed) < 12
    assert {r.trial_id for r in bench.ledger.records if r.tags.get("unmet")} == missed
    assert not missed & {r.trial_id for r in front_of(bench.ledger.records, bench.space.space.objectives)}
    stored = {t.user_attrs["trial_id"]: t.constraints for t in bench.trials() if "duplicate_of" not in t.user_attrs}
    for number, excess in stored.items():
        metrics = bench.ledger.get(number).metrics
        assert excess == {"min_utility": 90 - metrics.utility, "max_leakage": metrics.leakage - 60}


def test_a_lost_study_is_rebuilt_with_constraints(tmp_path):
    space = toy_space(constraints={"max_leakage": 60})
    first = Bench(tmp_path, space)
    first.run(5)
    told = [t.constraints for t in first.trials()]
    second = Bench(tmp_path, space, url=f"sqlite:///{tmp_path / 'other.db'}")
    assert [t.constraints for t in second.trials()] == told and all(told)
    second.run()
    again = Bench(tmp_path, space, url=IN_MEMORY)  # from the ledger alone
    assert set(again.session.front.rows) == set(second.session.front.rows)


def test_constraints_help_the_sampler_to_results_that_count(tmp_path):
    """A narrow strip of the toy: most of its clients read too little or hide too little."""
    counts = {}
    for sampler in ("front", "random"):
        counts[sampler] = 0
        for seed in range(3):
            space = toy_space(sampler=sampler, seed=seed, trials=30, constraints={"min_utility": 75, "max_leakage": 32})
            bench = Bench(tmp_path / f"{sampler}{seed}", space, url=IN_MEMORY)
            bench.run()
            counts[sampler] += sum(not r.tags.get("unmet") for r in bench.ledger.records)
    assert counts["front"] > 2 * counts["random"] > 0
