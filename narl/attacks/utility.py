"""What the service reads: a fresh M2 (§4.2), which trains on if the closed form shows that more can be read.

Leakage is subtracted from utility, so an M2 that stopped too early makes a client look worse than it is. If Bayes' rule
over training images reads the useful label better, M2 of Algorithm 1 trains on under the attack's noise: it has seen
the client learn and knows its features. Without one, the fresh M2 trains on. Validation images choose between the two.
"""

from __future__ import annotations

import copy
from collections.abc import Generator as Steps

from torch import nn

from narl.attacks.exact.of_target import Exact
from narl.attacks.target import AttackEpoch, Reading, Target
from narl.core.seeds import derive_seed
from narl.models.standardise import Standardised
from narl.training.classification import num_outputs

# Points by which the closed form must read more.
GAP = 1.0


def read_utility(target: Target, exact: Exact | None, trained: nn.Module | None) -> Steps[AttackEpoch, None, Reading]:
    """Read the useful label with M2.

    Args:
        exact: of one answer at least; None: the fresh M2 is taken as it is.
        trained: M2 as it was trained with the client, which takes z as it is; it is not changed.

    Raises:
        DivergedTraining: its loss is not finite.
    """
    labels, outputs = target.labels("utility"), num_outputs(len(target.dataset.utility_classes))
    network = target.halves.rest(num_outputs=outputs, seed=derive_seed(target.seed, "utility"))
    ceiling = 100.0 if exact is None else exact.bounds.labels["utility"][1].percent
    fresh = yield from target.read("utility", network, labels, ceiling=ceiling)
    if lacking(exact, fresh) < GAP:
        return fresh
    start = fresh.network if trained is None else Standardised(trained, target.halves.feature_shape[0])
    assert start is not None
    # A trained network is not slow to start.
    eager = target.with_settings(target.settings.model_copy(update={"min_epochs": 1}))
    name = "utility again"
    longer = yield from eager.read(name, copy.deepcopy(start).requires_grad_(), labels, ceiling=ceiling)
    return max(fresh, longer, key=lambda reading: max(reading.curve))


def lacking(exact: Exact | None, reading: Reading) -> float:
    """Compute the points by which the closed form reads more of the useful label than M2; 0 without a closed form."""
    if exact is None:
        return 0.0
    return exact.readings["utility"][1].scores.accuracy - reading.scores.accuracy
