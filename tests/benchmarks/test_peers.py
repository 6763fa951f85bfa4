"""Peers of the comparison of searches: narl's space in their terms, and what is done without their packages."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.peers import PEERS
from benchmarks.peers.flat_space import FlatSpace
from benchmarks.recorded.grid import SPACES
from narl.search.space import affordable


@pytest.fixture(scope="module")
def space():
    objectives = ["delta_certified", "client_gflops", "client_memory_mib"]
    return affordable(SPACES["digits"].load().changed(objectives=objectives, sampler="random"))


def test_a_flat_space_has_the_clients_and_ranges_of_narls(space):
    flat = FlatSpace(space)
    assert sorted(flat.clients) == sorted(SPACES["digits"].clients)
    assert flat.range("sigma") == (3, 20) and flat.range("lambda") == (0.001, 1)
    points = [flat.point(client, 5.0, 0.1) for client in range(len(flat.clients))]
    assert [space.point(space.parameters(point, conditional=True)) for point in points] == points


def test_peers_minimise_objectives_of_one_size(space):
    flat = FlatSpace(space)
    points = [flat.point(client, 5.0, 0.1) for client in range(len(flat.clients))]
    deltas, *costs = zip(*(flat.losses(point, 60.0) for point in points))
    assert set(deltas) == {-0.6}
    assert all((min(column), max(column)) == (0.0, 1.0) for column in costs)
    by_gflops = sorted(range(len(points)), key=lambda i: space.cost(points[i]).client_gflops)
    assert sorted(range(len(points)), key=costs[0].__getitem__) == by_gflops


def test_a_peer_without_its_package_says_how_to_install_it(space):
    assert PEERS["OptunaSearch"].missing is None
    absent = dataclasses.replace(PEERS["MO-ASHA"], imports="no_such_package")
    assert absent.missing == "pip install syne-tune, in an environment beside narl's own"


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.missing is None])
def test_a_peer_proposes_points_of_the_space(space, name):
    search = PEERS[name].search(space)
    proposed = [search.propose() for _ in range(8)]
    assert len({number for number, _ in proposed}) == 8
    assert all(space.parameters(point, conditional=True) for _, point in proposed)
    assert len({(point.arch, point.split) for _, point in proposed}) > 2
