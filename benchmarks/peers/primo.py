"""PriMO of NePS: MO-ASHA that goes on with the best third after 2 epochs, then Bayesian optimisation of a weighted sum.

Nobody gives it a prior. A configuration that is promoted goes on where it paused. Of NePS 0.17.0 three things are
mended from outside:

- The weights are drawn once, which finds one point of a front: here anew for each proposal.
- Bayesian optimisation gives a proposal the number of one that still runs, and MO-ASHA fails where three trials run and
  none has finished: such trials are told when they end, as trials of one's own are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import neps
import numpy as np
import torch

from benchmarks.peers.flat_space import FlatSpace
from narl.core.point import Point
from narl.search.space import AffordableSpace

# Whole trainings' worth of epochs by MO-ASHA; with its default of the dimensions, none of 8 workers has finished one.
INITIAL = 6


class _PriMO:
    def __init__(self, space: AffordableSpace) -> None:
        self._flat = flat = FlatSpace(space)
        np.random.seed(flat.seed)  # it draws from both
        torch.manual_seed(flat.seed)
        (least, most), (lightest, heaviest) = flat.range("sigma"), flat.range("lambda")
        searched = neps.SearchSpace(
            {
                "client": neps.HPOCategorical(list(range(len(flat.clients)))),
                "sigma": neps.HPOFloat(least, most, log=True),
                "lambda_": neps.HPOFloat(lightest, heaviest, log=True),
                "epochs": neps.HPOInteger(1, flat.epochs, is_fidelity=True),
            }
        )
        self._primo = neps.algorithms.primo(searched, prior_centers={}, initial_design_size=INITIAL)
        self._optimizer = neps.AskAndTell(self._primo)
        self._numbers = itertools.count()
        self._running: dict[int, tuple[Any, Point]] = {}
        self._paused: dict[str, int] = {}  # numbers, by what NePS calls the configuration

    def propose(self) -> tuple[int, Point]:
        self._primo.scalarization_weights = None
        known = self._optimizer.trials
        trial = self._optimizer.ask()
        name, of_asha, _ = trial.id.partition("_rung_")
        number = self._paused.pop(name) if name in self._paused and of_asha else next(self._numbers)
        if not of_asha or all(other.report is None for other in known.values()):
            del known[trial.id]
        point = self._flat.point(*(trial.config[key] for key in ("client", "sigma", "lambda_")))
        self._running[number] = trial, point
        return number, point

    def progress(
        self, trial_id: int, phase: str, epoch: int, detail: str, *, deltas: Mapping[str, float] | None = None
    ) -> bool:
        trial, point = self._running[trial_id]
        if epoch + 1 < trial.config["epochs"] or trial.config["epochs"] == self._flat.epochs:
            return True
        assert deltas is not None
        name = self._tell(trial_id, self._flat.losses(point, deltas[self._flat.objectives[0]]))
        self._paused[name] = trial_id
        return False

    def complete(self, trial_id: int, outcome: dict[str, Any]) -> None:
        _, point = self._running[trial_id]
        self._tell(trial_id, self._flat.final_losses(point, outcome))

    def _tell(self, trial_id: int, losses: list[float]) -> str:
        """Return what NePS calls the configuration."""
        trial, _ = self._running.pop(trial_id)
        known, result = self._optimizer.trials, {"objective_to_minimize": losses}
        if known.get(trial.id) is trial:
            self._optimizer.tell(trial, result)
            return str(trial.id.partition("_")[0])
        name = str(1 + max((int(other.partition("_")[0]) for other in known), default=0))
        _, *rung = trial.id.partition("_rung_")
        self._optimizer.tell_custom(config_id="".join([name, *rung]), config=trial.config, result=result)
        return name


search = _PriMO
