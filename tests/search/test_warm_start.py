"""A search that begins with what another one found: sooner at the front if that was alike, a fifth later if not."""

from __future__ import annotations

import math

import pytest
from bench import IN_MEMORY, Bench
from example_records import make_record
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import affordable, toy_space

from narl.core.errors import ConfigError
from narl.core.pareto import hypervolume
from narl.core.point import Point
from narl.search.study import SearchStudy
from narl.search.warm_start import SHARE, first_points, nearest


class WarmBench(Bench):
    """A search that begins with `first`."""

    def __init__(self, folder, space, first):
        super().__init__(folder, space, url=IN_MEMORY)
        self.study.__init__(name="warm", url=IN_MEMORY, space=self.space, ledger=self.ledger, first=first)


def volume(bench):
    rows = [
        (math.log(m.cost.client_gflops), math.log(m.cost.client_memory_mib), -m.delta)
        for m in (record.metrics for record in bench.ledger.records)
    ]
    return hypervolume(rows, (math.log(10), math.log(100), 0.0))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Sixty trials of another search."""
    bench = Bench(tmp_path_factory.mktemp("other"), toy_space(trials=60, seed=7), url=IN_MEMORY)
    bench.run()
    return bench.ledger.records


def test_its_front_comes_first_spread_over_the_costs(tmp_path):
    """Of seven clients, each dearer and better than the last, the cheapest, the dearest and one between."""
    clients = [*(("resnet18", split) for split in (1, 2, 3, 4)), *(("mobilenet_v2", split) for split in (2, 5, 9))]
    found = [
        make_record(i, arch=arch, split=split, gflops=1.0 + i, utility=70.0 + i)
        for i, (arch, split) in enumerate(clients)
    ]
    space = toy_space(trials=15, sampler="front")
    first = first_points(affordable(space), [*found, make_record(7, split=2, utility=60.0, gflops=9.0)])
    assert [(point.arch, point.split) for point in first] == [clients[i] for i in (0, 3, 6)]
    assert WarmBench(tmp_path, space, first).run(3) == first


def test_a_search_alike_gives_a_head_start_and_a_misleading_one_costs_a_fifth(tmp_path, other):
    """Over seeds: what the front of a good search is worth, and what sixteen trials of noise drown in."""
    useless = [point for point in affordable(toy_space(sigma=[10])).points() if point.lambda_ == 1][:4]
    volumes = dict.fromkeys(("warm", "cold", "misled", "cold, a fifth less"), 0.0)
    for seed in range(3):
        space = toy_space(sampler="front", trials=20, seed=seed)
        good = first_points(affordable(space), other)
        moved = [nearest(affordable(space), point) for point in useless]
        for name, first, trials in (
            ("warm", good, 20),
            ("cold", [], 20),
            ("misled", moved, 20),
            ("cold, a fifth less", [], 16),
        ):
            folder = tmp_path / f"{name}{seed}"
            bench = WarmBench(folder, space.changed(trials=trials), first)
            bench.run()
            volumes[name] += volume(bench)
    assert volumes["warm"] > volumes["cold"]
    assert volumes["misled"] >= 0.99 * volumes["cold, a fifth less"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300))
def test_however_much_was_found_no_more_than_a_fifth_is_spent(other, trials):
    space = affordable(toy_space(trials=trials))
    first = first_points(space, other)
    assert len(first) <= SHARE * trials and len(set(first)) == len(first)
    for point in first:
        assert space.point(space.parameters(point, conditional=True)) == point


def test_what_the_space_lacks_is_left_out_or_moved():
    space = affordable(toy_space(sigma={"low": 1, "high": 2}, **{"lambda": [0.01, 1]}))
    there = {"arch": "resnet18", "split": 2, "seed": 5}
    assert nearest(space, Point(**there, sigma=9.0, lambda_=0.02)) == Point(
        **(there | {"seed": 0}), sigma=2.0, lambda_=0.01, sigma_inference=space.parts["narl"].sigma_inference
    )
    assert nearest(space, Point(arch="mobilenet_v2", split=3, sigma=1.5, lambda_=1)) is None
    assert nearest(space, Point(arch="vgg11_bn", split=3, sigma=1.5, lambda_=1)) is None
    assert nearest(space, Point(method="no_noise", arch="resnet18", split=2, sigma=0, lambda_=0)) is None


def test_only_a_new_search_begins_so_and_a_killed_one_goes_on_with_it(tmp_path, other):
    space = toy_space(trials=20)
    first = first_points(affordable(space), other)
    bench = Bench(tmp_path, space)
    url = f"sqlite:///{tmp_path / 'warm.db'}"

    def study():
        return SearchStudy(name="toy", url=url, space=bench.space, ledger=bench.ledger, first=first)

    study()  # killed before its first trial
    again = study()
    assert [again.ask()[1] for _ in first] == first
    assert again.ask()[1] not in first


def test_what_was_not_measured_cannot_be_compared(other):
    with pytest.raises(ConfigError, match="leakage_bound was not measured"):
        first_points(affordable(toy_space(objectives=["leakage_bound", "client_gflops"])), other)
