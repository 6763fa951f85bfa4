"""A search without Ray."""

from __future__ import annotations

import collections

import optuna
from toy import affordable, measure

from narl.config.search_space import SearchSpace
from narl.search.early_stopping import EarlyStopping
from narl.search.ledger import Ledger
from narl.search.session import SearchSession
from narl.search.study import SearchStudy

IN_MEMORY = "sqlite:///:memory:"


class Bench:
    """A search in a folder, without Ray."""

    def __init__(self, folder, space: SearchSpace, *, url: str | None = None, **session):
        self.space = affordable(space)
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.url = url or f"sqlite:///{folder / 'study.db'}"
        self.study = SearchStudy(name="toy", url=self.url, space=self.space, ledger=self.ledger)
        stopping = EarlyStopping(space.objectives, self.space.cost) if space.early_stopping else None
        self.session = SearchSession(self.study, self.ledger, trials=space.trials, stopping=stopping, **session)

    def run(self, count=10**9):
        ran = []
        while len(ran) < count and (proposal := self.session.propose()):
            trial_id, config = proposal
            self.session.complete(trial_id, measure(config, self.space))
            ran.append(config)
        return ran

    def trials(self):
        return optuna.load_study(study_name="toy", storage=self.url).get_trials()

    def states(self):
        return collections.Counter(t.state for t in self.trials())
