"""Trials that can no longer reach the front: when they stop, and what everybody is told of it."""

from __future__ import annotations

from dataclasses import replace
from statistics import pstdev

import pytest
from bench import Bench
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from toy import toy_space
from watched import EPOCHS, deltas, run_watched

from narl.core.consistency import check_record
from narl.core.errors import ConfigError
from narl.core.objectives import to_minimise
from narl.core.pareto import Front, front_of
from narl.core.point import Point
from narl.core.records import ClientCost, Stopped, TrialRecord
from narl.search.early_stopping import ENOUGH, NEAREST, EarlyStopping
from narl.search.ledger import Ledger, read_ledger

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")
POINT = Point(arch="resnet18", split=3, sigma=1.0, lambda_=0.1, seed=0)
QUARTERS = st.integers(0, 280).map(lambda quarters: quarters / 4)  # sums and differences are exact
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def finished(trial_id: int, then: float, end: float, gflops: float = 1.0, memory: float = 10.0) -> TrialRecord:
    """A trial whose Δ was `then` after its only epoch, and `end` when it was measured."""
    record = make_record(trial_id, utility=20.0 + end, leakage=20.0, gflops=gflops, memory=memory)
    return replace(record, curves={"delta_in_training": [then]})


def judge(records, delta: float, *, gflops: float = 1.0, memory: float = 10.0) -> Stopped | None:
    stopping = EarlyStopping(OBJECTIVES, lambda point: ClientCost(gflops, memory, 1.0, 1.0))
    front = Front()
    for record in records:
        stopping.learn(record)
        front.add(to_minimise(record.metrics, OBJECTIVES), record.trial_id)
    return stopping.verdict(POINT, 0, {"delta": delta}, front)


@given(
    st.lists(st.tuples(QUARTERS, QUARTERS), min_size=ENOUGH, max_size=NEAREST),
    QUARTERS,
)
def test_it_stops_exactly_if_the_largest_gain_would_not_reach_the_best_that_costs_no_more(seen, delta):
    stopped = judge([finished(i, then, end) for i, (then, end) in enumerate(seen)], delta)
    gains = [end - then for then, end in seen]
    best, at_most = max(end for _, end in seen), delta + max(gains) + pstdev(gains)
    assert (stopped is not None) == (at_most <= best)
    if stopped is not None:
        assert stopped.expected <= stopped.at_most == at_most <= stopped.needed == best
        assert seen[stopped.beaten_by][1] == best


def test_the_trials_that_were_nearest_speak():
    """Those that were as far behind never gained more than 5; others did."""
    records = [finished(i, 40.0, 45.0) for i in range(NEAREST)]
    records += [finished(NEAREST + i, 20.0, 60.0) for i in range(NEAREST)]
    assert judge(records, 41.0).at_most == 46.0
    assert judge(records, 21.0) is None


@pytest.mark.parametrize("cost", [{"gflops": 0.9}, {"memory": 9.0}])
def test_nobody_is_beaten_by_what_costs_more_in_any_respect(cost):
    records = [finished(i, 40.0, 45.0) for i in range(ENOUGH)]
    assert judge(records, 10.0) is not None
    assert judge(records, 10.0, **cost) is None


def test_nothing_stops_before_enough_trials_have_shown_what_can_be_gained():
    records = [finished(i, 40.0, 45.0) for i in range(ENOUGH)]
    assert judge(records[1:], 10.0) is None
    for curves in ({}, {"delta_in_training": [40.0], "train_task_loss": [0.7, 0.4]}):  # not watched, or with a gap
        others = [replace(record, curves=curves) for record in records[1:]]
        assert judge([*others, records[0]], 10.0) is None


# gp proposes for a quarter of a second, the longer the more it knows.
@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 40), ("front", 40), ("nsga2", 40), ("random", 40), ("gp", 20)])
def test_a_stopped_trial_counts_and_is_on_no_front_and_is_not_repeated(tmp_path, sampler, trials):
    space = toy_space(sampler=sampler, trials=trials, early_stopping=True)
    bench = Bench(tmp_path, space)
    epochs = run_watched(bench.session, bench.space)
    records = bench.ledger.records
    stopped = [record for record in records if record.status == "stopped"]
    assert len(records) == trials and 0 < len(stopped) < 0.8 * trials
    for record in stopped:
        seen = deltas(record.config, bench.space)
        assert epochs[record.trial_id] == record.stopped.epoch + 1 <= EPOCHS
        assert record.stopped.delta == seen[record.stopped.epoch]
        rival = bench.ledger.get(record.stopped.beaten_by).metrics
        assert rival.delta == record.stopped.needed
        assert rival.cost.client_gflops <= bench.space.cost(record.config).client_gflops
        # The formula's gains do not scatter within an architecture, so none was stopped that was worth its end.
        assert seen[-1] <= record.stopped.needed
    assert len({record.config.content_hash for record in records}) == trials
    told = {t.user_attrs["trial_id"]: t.state for t in bench.trials() if "duplicate_of" not in t.user_attrs}
    state = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
    assert told == {record.trial_id: state[record.status] for record in records}
    assert not {r.trial_id for r in front_of(records, OBJECTIVES)} & {r.trial_id for r in stopped}
    assert bench.study.retry_failed() == 0


def test_a_resumed_search_stops_what_it_would_have_stopped(tmp_path):
    space = toy_space(sampler="random", trials=40, early_stopping=True)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    at_once = Bench(whole, space)
    run_watched(at_once.session, at_once.space)
    points = [record.config for record in at_once.ledger.records]
    run_watched(Bench(parts, space).session, at_once.space, 25)
    resumed = Bench(parts, space)
    run_watched(resumed.session, at_once.space)
    verdicts = {r.config.content_hash: str(r.stopped) for r in resumed.ledger.records if r.config in points[:25]}
    assert verdicts == {r.config.content_hash: str(r.stopped) for r in at_once.ledger.records[:25]}
    assert any(r.stopped for r in resumed.ledger.records[25:])
    assert all(r.stopped is None or r.stopped.at_most <= r.stopped.needed for r in resumed.ledger.records)


def test_the_ledger_keeps_why(tmp_path):
    why = Stopped(epoch=2, delta=47.1, expected=52.0, at_most=55.04, needed=61.2, beaten_by=7)
    record = TrialRecord(3, POINT, "stopped", stopped=why)
    Ledger(tmp_path / "ledger.jsonl").append(record)
    assert read_ledger(tmp_path / "ledger.jsonl") == [record]
    assert record.why_no_result == (
        "stopped: Δ 47.10 after epoch 3, at most 55.04 at the end; trial 7, which costs no more, has 61.20"
    )
    assert "stopped" not in make_record().to_json()


@pytest.mark.parametrize(
    ("status", "given"), [("stopped", {}), ("failed", {"error": "x", "stopped": Stopped(0, 1, 1, 1, 1, 0)})]
)
def test_a_record_that_is_stopped_without_a_reason_or_for_one_without_being_so_is_none(status, given):
    with pytest.raises(ValueError, match="stopped="):
        check_record(TrialRecord(3, POINT, status, **given))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["utility", "client_gflops"]}, "early_stopping is for delta or delta_certified .* utility"),
        ({"objectives": ["delta", "leakage"]}, "delta, leakage: leave it out"),
        ({"attack": {"adversaries": ["rest"]}}, "adversaries must list bayes"),
    ],
)
def test_spaces_whose_trials_cannot_be_watched_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        toy_space(early_stopping=True, **changes)
