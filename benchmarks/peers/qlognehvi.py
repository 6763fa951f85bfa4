"""BoTorch's noisy expected hypervolume improvement (qLogNEHVI) on a Gaussian process of Δ over client, log σ and log λ.

It knows what clients cost, as BoTorch's deterministic models let it, and from where the volume is measured: the Δ of
sending nothing, and costs a tenth beyond the dearest client's. The best of space-filling candidates is proposed.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from botorch import fit_gpytorch_mll
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.models import MixedSingleTaskGP, ModelList
from botorch.models.deterministic import GenericDeterministicModel
from botorch.optim import optimize_acqf_discrete
from botorch.sampling.get_sampler import get_sampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch.quasirandom import SobolEngine

from benchmarks.peers.flat_space import FlatSpace
from benchmarks.recorded.replay import REFERENCE
from narl.core.point import Point
from narl.core.records import TrialMetrics
from narl.search.space import AffordableSpace

# Space-filling proposals before the first of the model: twice the dimensions and two.
STARTUP = 8
# Of σ and λ for each client, of the posterior, and of fitting: a proposal takes a second.
CANDIDATES, SAMPLES, FITTING_STEPS = 64, 64, 75
_CLIENT = 2  # in a row of (log σ and log λ on [0, 1], client)


class _QLogNEHVI:
    def __init__(self, space: AffordableSpace) -> None:
        self._flat = flat = FlatSpace(space)
        torch.manual_seed(flat.seed)
        self._sobol = SobolEngine(2, scramble=True, seed=flat.seed)
        first = SobolEngine(3, scramble=True, seed=flat.seed).draw(STARTUP, dtype=torch.float64)
        first[:, _CLIENT] = (first[:, _CLIENT] * len(flat.clients)).floor()
        self._first = list(first)
        each = [torch.tensor([0.0, 0.0, client], dtype=torch.float64) for client in range(len(flat.clients))]
        self._costs = torch.tensor([flat.losses(self._point(row), 0.0)[1:] for row in each], dtype=torch.float64)
        self._numbers = itertools.count()
        self._running: dict[int, tuple[torch.Tensor, Point]] = {}
        self._rows: list[torch.Tensor] = []
        self._deltas: list[float] = []  # in units of 100 points
        self._nothing = 0.0

    def propose(self) -> tuple[int, Point]:
        number = next(self._numbers)
        row = self._first.pop(0) if self._first else self._best_row()
        point = self._point(row)
        self._running[number] = row, point
        return number, point

    def progress(
        self, trial_id: int, phase: str, epoch: int, detail: str, *, deltas: Mapping[str, float] | None = None
    ) -> bool:
        return True

    def complete(self, trial_id: int, outcome: dict[str, Any]) -> None:
        row, point = self._running.pop(trial_id)
        self._rows.append(row)
        self._deltas.append(-self._flat.final_losses(point, outcome)[0])
        nothing = TrialMetrics.from_json(outcome["metrics"]).nothing
        self._nothing = nothing.delta / 100 if nothing else 0.0

    def _best_row(self) -> torch.Tensor:
        rows, deltas = torch.stack(self._rows), torch.tensor(self._deltas, dtype=torch.float64).unsqueeze(1)
        pending = [row for row, _ in self._running.values()]
        num_costs = self._costs.shape[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its fits
            delta = MixedSingleTaskGP(rows, deltas, cat_dims=[_CLIENT])
            likelihood = ExactMarginalLogLikelihood(delta.likelihood, delta)
            fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": FITTING_STEPS}})
            model = ModelList(delta, GenericDeterministicModel(self._less_cost, num_costs))
            gain = qLogNoisyExpectedHypervolumeImprovement(
                model,
                ref_point=[self._nothing, *[-REFERENCE] * num_costs],
                X_baseline=rows,
                sampler=get_sampler(model.posterior(rows), torch.Size([SAMPLES])),
                prune_baseline=True,
                X_pending=torch.stack(pending) if pending else None,
                cache_root=False,  # a model of what is known has none
            )
            best, _ = optimize_acqf_discrete(gain, q=1, choices=self._candidates())
        return best[0]

    def _less_cost(self, rows: torch.Tensor) -> torch.Tensor:
        return -self._costs[rows[..., _CLIENT].long()]

    def _candidates(self) -> torch.Tensor:
        """(candidates, 3): the same σ and λ for each client."""
        shares = self._sobol.draw(CANDIDATES, dtype=torch.float64)
        clients = torch.arange(len(self._costs), dtype=torch.float64)
        return torch.cat([shares.repeat(len(clients), 1), clients.repeat_interleave(CANDIDATES).unsqueeze(1)], dim=1)

    def _point(self, row: torch.Tensor) -> Point:
        sigma, lambda_ = (
            min(low * math.exp(share * math.log(high / low)), high)
            for share, (low, high) in zip(row.tolist(), map(self._flat.range, ("sigma", "lambda")), strict=False)
        )
        return self._flat.point(int(row[_CLIENT]), sigma, lambda_)


search = _QLogNEHVI
