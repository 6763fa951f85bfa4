from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_records import make_record
from scipy import stats

from narl.core.errors import ConfigError, DataError, NothingFeasible
from narl.search.best import Demands
from narl.search.confirmed import Confirmation, ConfirmedTrial
from narl.search.explained import explained
from narl.search.folder import SearchFolder


def confirmed(number, deltas, *, error=1.0, gflops=1.0):
    return ConfirmedTrial(
        trial_id=number,
        client="resnet18/3",
        chance=0.5,
        searched=60.0,
        deltas=tuple(deltas),
        utility=90.0,
        leakage=30.0,
        leakage_bound=31.0,
        error=error,
        doubts=(),
        costs={"client_gflops": gflops},
    )


def confirmation(*trials):
    seeds = tuple(range(1, 1 + len(trials[0].deltas)))
    return Confirmation(objective="delta", num_images=450, seeds=seeds, trials=trials)


def test_one_client_without_error_of_images_has_students_bound():
    deltas = (60.0, 62.0, 61.5, 59.0)
    one = confirmation(confirmed(0, deltas, error=0.0))
    expected = np.mean(deltas) - stats.t.ppf(0.95, 3) * stats.sem(deltas)
    assert one.lower(one.trials[0], 0.95) == pytest.approx(expected)
    low, high = stats.t.interval(0.95, 3, np.mean(deltas), stats.sem(deltas))
    assert one.half(one.trials[0], 0.95) == pytest.approx((high - low) / 2)


def test_scatter_is_pooled_as_in_an_analysis_of_variance():
    both = confirmation(confirmed(0, (60.0, 62.0, 64.0)), confirmed(1, (50.0, 50.0, 53.0)))
    assert both.scatter == pytest.approx(np.sqrt((4 + 3) / 2))
    assert both.degrees == 4


def test_all_lower_bounds_hold_at_once_as_often_as_they_say():
    """From clients whose Δ is known: seeds scatter, and the images shift each mean."""
    random = np.random.default_rng(0)
    truth, scatter, error, held = np.array([60.0, 59.0, 58.0, 55.0, 50.0]), 1.5, 2.0, 0
    for _ in range(1000):
        shift = error * random.standard_normal(len(truth))
        drawn = (truth + shift)[:, None] + scatter * random.standard_normal((len(truth), 3))
        found = confirmation(*(confirmed(i, deltas, error=error) for i, deltas in enumerate(drawn.tolist())))
        held += all(found.lower(trial, 0.9) <= truth[trial.trial_id] for trial in found.trials)
    assert held / 1000 >= 0.9


def test_what_is_chosen_for_its_bound_was_not_only_lucky():
    """Of twenty equal clients the one with the best mean is above the truth, and its lower bound is not."""
    random = np.random.default_rng(1)
    lucky = covered = 0
    for _ in range(300):
        drawn = 60 + random.standard_normal((20, 1)) + random.standard_normal((20, 3))
        found = confirmation(*(confirmed(i, deltas) for i, deltas in enumerate(drawn.tolist())))
        chosen = max(found.trials, key=lambda trial: found.lower(trial, 0.95))
        lucky += chosen.delta > 60
        covered += found.lower(chosen, 0.95) <= 60
    assert lucky == 300 and covered >= 0.95 * 300


def test_the_front_is_that_of_lower_bounds_and_costs():
    found = confirmation(
        confirmed(0, (60.0, 61.0), gflops=2.0),
        confirmed(1, (58.0, 58.5), gflops=1.0),
        confirmed(2, (62.0, 63.0), error=8.0, gflops=2.0),  # higher, but known to 8 points only
        confirmed(3, (50.0, 51.0), gflops=1.0),
    )
    assert [trial.trial_id for trial in found.front(0.95)] == [1, 0]


def test_a_sentence_names_who_is_better_for_no_more_cost():
    best, worse, cheap = confirmed(0, (60.0, 61.0)), confirmed(1, (50.0, 51.0)), confirmed(2, (40.0, 41.0), gflops=0.1)
    found = confirmation(best, worse, cheap)
    assert found.told(0).startswith("Of 2 fresh seeds on 450 test images: Δ 60.50 ± ")
    assert found.told(0).endswith("no contender that is as cheap is better.")
    assert found.told(2).endswith("no contender that is as cheap is better.")
    least = found.lower(best, 0.95)
    assert found.told(1).endswith(f"trial 0 (resnet18/3), which costs no more, has at least {least:.2f}.")
    assert found.told(3) == ""


def test_what_is_confirmed_is_chosen_for_its_lower_bound(tmp_path):
    """The search's own favourite lost most with fresh seeds, and a third trial never contended."""
    folder = SearchFolder(tmp_path / "asked")
    folder.path.mkdir()
    records = [make_record(0, utility=95, gflops=1), make_record(1, utility=93, gflops=1), make_record(2, utility=99)]
    asked = Demands(confirmed=True)
    with pytest.raises(ConfigError, match="nothing of search 'asked' is confirmed: narl confirm asked does it"):
        asked.about(folder)
    found = confirmation(confirmed(0, (50.0, 52.0)), confirmed(1, (60.0, 62.0)))
    found.save(folder.path)
    assert Demands().about(folder) == Demands() and Demands().best_of(records).trial_id == 2
    asked = asked.about(folder)
    assert asked.best_of(records).trial_id == 1
    assert asked.worth(records[1]) == found.lower(found.trials[1], 0.95)
    sure = Demands(confirmed=True, confidence=0.99).about(folder)
    assert sure.worth(records[1]) == found.lower(found.trials[1], 0.99) < asked.worth(records[1])
    with pytest.raises(NothingFeasible):
        replace(asked, budget_gflops=0.5).best_of(records)
    assert "Trial 1 has the highest lower bound of Δ on test images" in " ".join(explained(records, asked, records[1]))
    with pytest.raises(ConfigError, match="delta is confirmed, and asked for is delta_certified"):
        Demands(confirmed=True, certified=True).about(folder)


def test_it_is_the_same_again_from_its_file(tmp_path):
    assert Confirmation.load(tmp_path) is None
    found = confirmation(confirmed(0, (60.0, 61.0)))
    path = found.save(tmp_path)
    assert Confirmation.load(tmp_path) == found
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match=r"confirmed.json is damaged: delete it"):
        Confirmation.load(tmp_path)
