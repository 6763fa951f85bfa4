"""When what was read of a client is doubted, and when not: where nobody can read more, no adversary was too weak."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from narl.attacks.exact.of_target import Exact
from narl.attacks.exact.results import BayesBounds, BayesReading, Bound
from narl.attacks.leakage import Leakage
from narl.attacks.scores import Scores
from narl.attacks.target import Reading


def scores(percent: float) -> Scores:
    return Scores(torch.full((400,), percent / 100), torch.zeros(400, dtype=torch.int64))


def reading(percent: float, converged: bool = True, control: float | None = None) -> Reading:
    return Reading(scores(percent), nn.Identity(), [percent], converged, control=control)


def leakage(
    read: float,
    *,
    converged: bool = True,
    bound: float = 40.0,
    floor: float = 20.0,
    useful: float = 0.0,
    controls: tuple[float, ...] = (),
) -> Leakage:
    """Of an M2 that reads 90 %, and of a nearest neighbour that reads 90 % of clean features, of 400 images.

    Args:
        useful: percent that the closed form reads of the useful label.
        controls: percent that further adversaries, who read nothing of z, read of clean features.
    """
    known = {
        "private": {1: BayesReading(scores(0.0), 1.0, 0.0, 400), math.inf: BayesReading(scores(90.0), 1.0, 90.0, 400)},
        "utility": {1: BayesReading(scores(useful), 1.0, useful, 400)},
    }
    bounds = {"private": {1: Bound(torch.full((400,), bound), 0, 0.0)}}
    return Leakage(
        utility_reading=reading(90.0),
        readings={"mlp": reading(read, converged), **{str(c): reading(0.0, control=c) for c in controls}},
        label_floor=floor,
        feature_rms=1.0,
        feature_std=1.0,
        exact=Exact(known, BayesBounds(bounds, {}, {})),
    )


@pytest.mark.parametrize(
    ("read", "converged", "bound", "doubts"),
    [
        (30, True, 40, ()),
        (30, False, 40, ("mlp was still improving",)),
        (30, False, 29, ()),
        (15, True, 40, ("label floor",)),
        (15, True, 15, ()),
        (15, False, 40, ("mlp was still improving", "label floor")),
    ],
)
def test_a_reading_is_doubted_only_where_more_can_be_read(read, converged, bound, doubts):
    found = list(leakage(read, converged=converged, bound=bound).doubts())
    assert len(found) == len(doubts) and all(part in doubt for part, doubt in zip(doubts, found))


@pytest.mark.parametrize(("useful", "doubted"), [(90.5, False), (91.5, True)])
def test_utility_is_doubted_where_the_closed_form_reads_a_point_more(useful, doubted):
    of = leakage(30, useful=useful)
    assert not list(of.doubts())  # Δ is no upper bound for that
    assert [doubt.startswith("the closed form reads utility 91.5") for doubt in of.utility_doubts()] == [True] * doubted


@pytest.mark.parametrize(
    ("controls", "bound", "doubted"),
    [
        ((), 40.0, False),
        ((83.5,), 40.0, False),  # three deviations of the difference, √(0.09 + 0.14) / 20 each, are 7.2 points
        ((82.0,), 40.0, True),
        ((20.0, 89.0), 40.0, False),  # one that is strong enough will do
        ((20.0,), 29.0, False),  # nobody reads more
    ],
)
def test_leakage_is_doubted_where_no_network_reads_clean_features_as_a_nearest_neighbour_does(controls, bound, doubted):
    of = leakage(30, bound=bound, controls=controls)
    assert [doubt.startswith("no network is strong enough") for doubt in of.doubts()] == [True] * doubted
