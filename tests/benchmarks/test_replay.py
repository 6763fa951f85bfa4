"""Recorded trials, replayed: the clock, the nearest configuration, what an evaluator would have found."""

from __future__ import annotations

import math

import pytest
from example_records import make_record

from benchmarks.recorded.replay import Recording, replay
from narl.core.point import Point

EPOCH, WATCHING, BAYES, UTILITY, REST = 2.0, 0.5, 0.25, 3.0, 5.0


def row(sigma: float, lambda_: float = 0.1, *, delta: float = 50.0, gflops: float = 1.0, slow: float = 1.0) -> dict:
    """A recorded trial of two epochs, `slow` times slower than others."""
    metrics = make_record(utility=20 + delta, leakage=20.0, gflops=gflops, floor=10.0, bound=21.0, chance=50.0).metrics
    found = metrics.to_json() | {"adversaries": {"bayes": 20.0, "rest": 18.0, "mlp": 17.0}, "strongest_adversary": 20.0}
    levels = [[sigma, 15 + delta, 20.0, 21.0], [2 * sigma, 20 + delta, 22.0, 23.0]]
    return {
        "point": Point(arch="resnet18", split=3, sigma=sigma, lambda_=lambda_, seed=0).to_json(),
        "epochs": [{"seconds": slow * EPOCH, "watching": slow * WATCHING, "levels": levels}] * 2,
        "seconds": {"bayes attacker": slow * BAYES, "utility": slow * UTILITY, "rest": slow * REST, "mlp": 0.0},
        "metrics": found,
    }


class Asking:
    """Proposes the same point for ever, and may stop each trial after an epoch."""

    def __init__(self, sigma: float, stop_after: int | None = None):
        self.point = Point(arch="resnet18", split=3, sigma=sigma, lambda_=0.1, seed=0)
        self.stop_after, self.asked, self.heard, self.told = stop_after, 0, [], []

    def propose(self):
        self.asked += 1
        return self.asked, self.point

    def progress(self, trial_id, phase, epoch, detail, *, deltas=None):
        self.heard.append((trial_id, epoch, deltas))
        return self.stop_after != epoch + 1

    def complete(self, trial_id, outcome):
        self.told.append(outcome)


def test_a_trial_is_answered_by_the_nearest_of_its_client():
    recording = Recording([row(1.0), row(10.0), row(10.0, 0.01)])
    for sigma, lambda_, expected in [(2.9, 0.1, (1.0, 0.1)), (3.5, 0.1, (10.0, 0.1)), (9.0, 0.011, (10.0, 0.01))]:
        found = recording.nearest(Point(arch="resnet18", split=3, sigma=sigma, lambda_=lambda_, seed=0)).point
        assert (found.sigma, found.lambda_) == expected


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("evaluator", "watched", "seconds"),
    [
        ("exact", (1, 2), 2 * EPOCH + BAYES + UTILITY),
        ("exact", (2,), 2 * EPOCH - WATCHING + BAYES + UTILITY),
        ("exact", (), 2 * (EPOCH - WATCHING) + BAYES + UTILITY),
        ("networks", (), 2 * (EPOCH - WATCHING) + UTILITY + REST),
    ],
)
def test_compute_is_what_all_workers_have_spent(workers, evaluator, watched, seconds):
    search = Asking(1.0)
    compute = 4 * workers * seconds + 0.01
    ended = list(
        replay(search, Recording([row(1.0)]), workers=workers, compute=compute, evaluator=evaluator, watched=watched)
    )
    assert [end.compute for end in ended] == pytest.approx(
        sorted([k * workers * seconds for k in (1, 2, 3, 4)] * workers)
    )
    assert len(search.told) == 4 * workers and search.asked == 5 * workers
    assert all((deltas is not None) == (epoch + 1 in watched) for _, epoch, deltas in search.heard)


def test_a_trial_that_is_stopped_costs_its_epochs_alone_and_tells_nothing():
    search = Asking(1.0, stop_after=1)
    ended = list(replay(search, Recording([row(1.0)]), workers=1, compute=5 * EPOCH, evaluator="exact", watched=(1, 2)))
    assert [(end.compute, end.stopped_after) for end in ended] == [(k * EPOCH, 1) for k in range(1, 6)]
    assert not search.told and search.heard[0][2] == {"delta": 48.0, "delta_certified": 47.0}


def test_a_stopped_trial_that_is_proposed_again_goes_on_where_it_was():
    search = Asking(1.0, stop_after=1)
    search.propose = lambda: (0, search.point)
    ended = list(replay(search, Recording([row(1.0)]), workers=1, compute=10.0, evaluator="exact", watched=(1, 2)))
    times = [(EPOCH, 1), (2 * EPOCH + BAYES + UTILITY, None)]
    assert [(end.compute, end.stopped_after) for end in ended[:2]] == times


def test_an_evaluator_tells_what_it_would_have_found():
    search = Asking(1.0)
    recording = Recording([row(1.0)])
    for evaluator in ("exact", "networks"):
        next(replay(search, recording, workers=1, compute=1e9, evaluator=evaluator, watched=()))
    exact, networks = (told["metrics"] for told in search.told)
    assert (exact["leakage"], exact["delta"], exact["adversaries"]) == (20.0, 50.0, {"bayes": 20.0})
    assert (networks["leakage"], networks["delta"], networks["leakage_bound"]) == (18.0, 52.0, None)


def test_what_other_work_slowed_down_is_as_fast_as_the_fastest_of_its_client():
    slow, fast = (Recording([row(1.0), row(10.0, slow=factor)]).nearest(Asking(10.0).point) for factor in (3.0, 1.0))
    assert slow == fast


def test_volume_is_certified_and_counts_from_what_sending_nothing_gives():
    recording = Recording([row(1.0, delta=50.0, gflops=1.0), row(2.0, delta=60.0, gflops=math.e)])
    dear, cheap = sorted(recording.trials, key=lambda trial: -trial.metrics.cost.client_gflops)
    # Certified Δ is a point less, and that of nothing 50 − 10; memory is the same, so it spans 1.1.
    assert recording.volume([cheap]) == pytest.approx(1.1 * 1.1 * 9)
    assert recording.volume([dear]) == pytest.approx(0.1 * 1.1 * 19)
    assert recording.best_volume == pytest.approx(1.1 * (1.1 * 9 + 0.1 * 10))
