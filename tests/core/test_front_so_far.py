"""Sparing networks changes no front, whatever the objectives and however late the front is heard of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st

from narl.core.constraints import Constraints
from narl.core.front_so_far import FrontSoFar
from narl.core.objectives import OBJECTIVES, to_minimise
from narl.core.pareto import front_of
from narl.core.records import TrialMetrics, TrialRecord

AT_SIXTEEN = [f"{name}_at_queries(16)" for name in ("delta", "leakage", "delta_certified", "leakage_bound")]
FLOOR, CHANCE = 20.0, 50.0
# Few distinct values, so that ties are common.
percents = st.integers(0, 10).map(lambda tenth: 10.0 * tenth)


@dataclass(frozen=True)
class Attacked:
    """What would be read of one client, of one answer and of sixteen, by the Bayes attacker and by a network."""

    utility: float
    bayes: tuple[float, float]
    network: tuple[float, float]
    bounds: tuple[float, float]
    identification: float
    cost: tuple[float, float]

    def metrics(self, networks: bool) -> TrialMetrics:
        read = [max(pair) if networks else pair[0] for pair in zip(self.bayes, self.network, strict=True)]
        leakage = [min(max(each, FLOOR), bound) for each, bound in zip(read, self.bounds, strict=True)]
        gflops, memory = self.cost
        made = make_record(0, gflops=gflops, memory=memory, utility=self.utility, chance=CHANCE).measured
        return replace(
            made.with_latency(memory),
            leakage=leakage[0],
            delta=self.utility - leakage[0],
            delta_paper=self.utility - (self.network[0] if networks else self.bayes[0]),
            leakage_at_queries={"16": max(leakage)},
            leakage_bound=self.bounds[0],
            leakage_bound_at_queries={"16": self.bounds[1]},
            identification=self.identification,
        )


pairs = st.tuples(percents, percents)
clients = st.builds(
    Attacked, percents, pairs, pairs, pairs.map(sorted), percents, st.tuples(st.integers(1, 3), st.integers(1, 3))
)
objectives = st.lists(st.sampled_from([*OBJECTIVES, *AT_SIXTEEN]), min_size=1, max_size=4, unique=True)


def record_of(trial_id: int, metrics: TrialMetrics) -> TrialRecord:
    return replace(make_record(trial_id), metrics=metrics)


@given(st.lists(clients, max_size=25), objectives, st.integers(0, 4))
def test_who_is_spared_was_on_no_front_and_all_others_still_are(attacked, names, late):
    recorded, spared = [], set()
    for trial_id, client in enumerate(attacked):
        known = front_of(recorded[: max(0, trial_id - late)], names)
        front = FrontSoFar(names, [to_minimise(record.measured, names) for record in known], latency_ms=client.cost[1])
        if front.excludes(client.metrics(networks=False)):
            spared.add(trial_id)
        recorded.append(record_of(trial_id, client.metrics(networks=trial_id not in spared)))
    in_full = [record_of(i, client.metrics(networks=True)) for i, client in enumerate(attacked)]
    front = [record.trial_id for record in front_of(in_full, names)]
    assert [record.trial_id for record in front_of(recorded, names)] == front
    assert not spared & set(front)


def client(utility: float, bayes: float, cost: float = 1.0) -> Attacked:
    return Attacked(utility, (bayes, bayes), (0.0, 0.0), (100.0, 100.0), 50.0, (cost, 1.0))


@pytest.mark.parametrize(
    ("names", "excluded"),
    [
        (["delta"], True),
        (["delta", "client_gflops"], True),
        (["delta", "utility"], False),  # it reads more
        (["delta_paper"], False),  # `rest` may read nothing
        (["leakage"], True),
        (["leakage_bound"], False),  # the same: a tie is no defeat
    ],
)
def test_only_what_is_worse_at_its_best_is_excluded(names, excluded):
    member, candidate = client(90.0, 30.0), client(95.0, 50.0)
    front = FrontSoFar(names, [to_minimise(member.metrics(networks=True), names)])
    assert front.excludes(candidate.metrics(networks=False)) == excluded


def test_the_first_trial_has_no_rival():
    assert not FrontSoFar(["delta"], []).excludes(client(80.0, 30.0).metrics(networks=False))


def test_what_is_worth_no_more_than_nothing_needs_no_rival():
    assert FrontSoFar(["delta"], []).excludes(client(50.0, 10.0).metrics(networks=False))
    assert FrontSoFar(["utility"], []).excludes(
        client(90.0, 50.0).metrics(networks=False)
    )  # Δ 40, as of sending nothing


def test_what_misses_a_constraint_needs_no_rival_either():
    asked = FrontSoFar(["delta"], [], Constraints(min_utility=90, max_leakage=35))
    assert not asked.excludes(client(95.0, 30.0).metrics(networks=False))
    assert asked.excludes(client(85.0, 20.0).metrics(networks=False))
    assert asked.excludes(client(95.0, 40.0).metrics(networks=False))
    assert FrontSoFar.from_json(asked.to_json()) == asked
