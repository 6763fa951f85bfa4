"""A search that has found what it can tell from luck ends, and only that one."""

from __future__ import annotations

import zlib

import optuna
import pytest
from toy import affordable, measure, toy_space

from narl.core.errors import ConfigError
from narl.sampler.outlook import Outlook
from narl.search.convergence import PATIENCE, Convergence
from narl.search.ledger import Ledger
from narl.search.session import SearchSession
from narl.search.study import SearchStudy

MOST = 90
SURE, LUCK = Outlook(2.0, 1.0, 100.0), Outlook(0.5, 1.0, 100.0)


def test_only_so_many_in_a_row_end_a_search():
    convergence = Convergence()
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            convergence.hear(LUCK)
        assert not convergence.reached
        convergence.hear(SURE)
    for _ in range(PATIENCE):
        convergence.hear(None)  # says nothing
        assert not convergence.reached
        convergence.hear(LUCK)
    assert convergence.reached


def session_in(folder):
    space = affordable(toy_space(sampler="front", trials=MOST, **{"lambda": [0.01]}))
    ledger = Ledger(folder / "ledger.jsonl")
    study = SearchStudy(name="toy", url=f"sqlite:///{folder}/study.db", space=space, ledger=ledger)
    return space, SearchSession(study, ledger, trials=MOST, convergence=Convergence())


def run(space, session, outcome):
    count = 0
    while (asked := session.propose()) is not None:
        session.complete(asked[0], outcome(asked[1], space))
        count += 1
    assert session.ended
    return count


def flat(config, space):
    """Every client is worth the same, but for luck."""
    outcome = measure(config, space)
    luck = zlib.crc32(repr(config).encode()) / 2**32 - 0.5
    outcome["metrics"] |= {"utility": 90 + luck, "leakage": 40.0, "strongest_adversary": 40.0}
    outcome["metrics"] |= {"delta": 50 + luck, "delta_paper": 50 + luck, "adversaries": {"rest": 40.0}}
    return outcome


def test_a_search_in_which_nothing_is_to_be_gained_ends_early_and_so_does_a_resumed_one(tmp_path):
    space, session = session_in(tmp_path)
    count = run(space, session, flat)
    assert session.converged and 20 + PATIENCE <= count < MOST
    assert session.outlook.is_within_luck
    space, again = session_in(tmp_path)
    assert run(space, again, flat) <= 2 * PATIENCE and again.converged


def test_a_sampler_that_repeats_itself_does_not_end_a_search_over_ranges(tmp_path):
    space = affordable(toy_space(sampler="random", trials=5))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    study = SearchStudy(name="toy", url=f"sqlite:///{tmp_path}/study.db", space=space, ledger=ledger)
    session = SearchSession(study, ledger, trials=5)
    number, config = session.propose()
    session.complete(number, measure(config, space))
    always = space.parameters(config, conditional=True)
    study._study.sampler = optuna.samplers.PartialFixedSampler(always, optuna.samplers.RandomSampler(seed=0))
    assert run(space, session, measure) == 4
    assert len({record.config for record in ledger.records}) == 5


def test_it_needs_a_sampler_that_knows_what_to_expect():
    with pytest.raises(ConfigError, match="stop: converged needs sampler front, which knows what to expect; got tpe"):
        toy_space(stop="converged")
    with pytest.raises(ConfigError, match="converged"):
        toy_space(stop="convergd", sampler="front")
