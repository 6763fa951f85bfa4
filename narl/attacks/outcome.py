"""What a trial leaves: readings, and the metrics and tags that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from narl.attacks.averaging import Averaging
from narl.attacks.exact.of_target import Exact
from narl.attacks.leakage import Leakage
from narl.attacks.sigma_profile import asked_of
from narl.attacks.target import Target
from narl.core.records import NETWORKS_TAG, ClientCost, SigmaLevel, TrialMetrics
from narl.methods.trained import Trained
from narl.models.split import Obfuscator


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial leaves: what attackers read, and the client as it was attacked, for further attacks.

    Metrics and tags follow from the readings, so they are never older than these.

    Attributes:
        averaging: of one answer at least.
        cost: what the client pays.
        trained: what was attacked.
        attack_seconds: of all attacks, those before an interruption among them.
        measured_with: tags that no reading changes.
        sigma_profile: what the client would be at other σ, on validation images.
    """

    target: Target
    leakage: Leakage
    averaging: Averaging
    cost: ClientCost
    trained: Trained
    attack_seconds: float
    measured_with: dict[str, str]
    sigma_profile: tuple[SigmaLevel, ...] = ()

    @property
    def obfuscator(self) -> Obfuscator:
        return self.target.client

    @property
    def curves(self) -> dict[str, list[float]]:
        """Of training and of each attacking network, one value an epoch."""
        return {**self.trained.curves, **self.leakage.curves}

    @property
    def tags(self) -> dict[str, str]:
        """Among them `unconverged`: the networks that `max_epochs` stopped, if any; `networks`: that they were spared;
        `doubts`: why leakage may be more than was read, if it may; `utility_doubts`: the same of utility; `control`:
        how strong its adversaries are, see `narl.attacks.strength`; `batch_parts` and `attack_batch_parts`: in how many
        GPU memory held a batch, if it did not hold it whole."""
        unconverged = (*self.leakage.unconverged, *self.averaging.unconverged)
        named = {"unconverged": ",".join(unconverged)} if unconverged else {}
        if self.target.settings.networks and not self.leakage.networks_attacked:
            named[NETWORKS_TAG] = "not trained: it cannot be on the front"
        if doubts := (*self.leakage.doubts(), *self.averaging.doubts()):
            named["doubts"] = "; ".join(doubts)
        if self.leakage.strength is not None:
            named["control"] = str(self.leakage.strength)
        if doubts := tuple(self.leakage.utility_doubts()):
            named["utility_doubts"] = "; ".join(doubts)
        if parts := self.target.batch_parts:
            named["attack_batch_parts"] = ",".join(f"{name} {count}" for name, count in parts.items())
        return {**self.measured_with, **named, **self.trained.tags}

    @property
    def metrics(self) -> TrialMetrics:
        leakage, sigma, std = self.leakage, self.obfuscator.noise.sigma, self.leakage.feature_std
        by_queries, queries = self.averaging.leakage, self.target.settings.queries
        certified = {} if leakage.exact is None else _certified(leakage.exact, queries)
        return TrialMetrics(
            utility=leakage.utility,
            leakage=leakage.leakage,
            strongest_adversary=leakage.strongest_adversary,
            label_floor=leakage.label_floor,
            delta=leakage.utility - leakage.leakage,
            delta_paper=leakage.utility - leakage.paper_adversary,
            feature_rms=leakage.feature_rms,
            snr_db=20 * math.log10(std / sigma) if sigma > 0 and std > 0 else None,
            cost=self.cost,
            adversaries=leakage.adversaries,
            train_seconds=self.trained.seconds,
            attack_seconds=self.attack_seconds,
            leakage_at_queries={str(n): by_queries[n] for n in queries},
            num_samples=leakage.num_samples,
            utility_chance=leakage.utility_reading.scores.chance,
            private_chance=leakage.strongest.scores.chance,
            sigma_inference=sigma if asked_of(self.target) is not None else None,
            sigma_profile=self.sigma_profile,
            **certified,
        )


def _certified(exact: Exact, queries: Sequence[int]) -> dict[str, Any]:
    """Compute the metrics that hold for every reader."""
    bounds = {n: bound.percent for n, bound in exact.bounds.labels["private"].items()}
    galleries = exact.bounds.identification
    named = {n: by_size[max(size for size in by_size if size <= 100)].percent for n, by_size in galleries.items()}
    return {
        "leakage_bound": bounds[1],
        "utility_bound": exact.bounds.labels["utility"][1].percent,
        "identification": named.get(1),
        "leakage_bound_at_queries": {str(n): bounds[n] for n in queries},
        "identification_at_queries": {str(n): named[n] for n in queries if n in named},
    }
