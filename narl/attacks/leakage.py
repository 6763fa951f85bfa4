"""The evaluation of §4.2: what fresh networks read from a frozen obfuscator's output.

A fresh utility network and fresh adversaries are trained on z = M1(x) + η (train split), each network's
best epoch is chosen on the validation split (a network that has not converged by `max_epochs` is named in
`unconverged`, and what it reads is a lower bound), and accuracies are taken on the split that is reported. The
validation split chooses as well as reports during a search; a final result reports the test split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Steps
from dataclasses import dataclass, replace

from torch import Tensor, nn

from narl.attacks.exact.levels import ExactStep
from narl.attacks.exact.of_target import GALLERIES, Exact, exact_leakage
from narl.attacks.exact.results import Bound
from narl.attacks.label_floor import label_floor, leakage_of
from narl.attacks.queries import name_of
from narl.attacks.strength import Strength, strength
from narl.attacks.target import AttackEpoch, Reading, Target, strongest
from narl.attacks.utility import GAP, lacking, read_utility


@dataclass(frozen=True)
class Leakage:
    """Accuracies in percent on the reported split.

    Attributes:
        utility_reading: what the fresh M2 reads.
        readings: what each adversary reads, by name; the Bayes attacker's is `bayes`.
        label_floor: see narl.attacks.label_floor, of the reported split.
        feature_rms: root mean square of M1(x) on the reported split.
        feature_std: the same about the mean over images, value by value: what differs between images.
        exact: both ends of what can be read; None where the Bayes attacker is not among the adversaries.
    """

    utility_reading: Reading
    readings: dict[str, Reading]
    label_floor: float
    feature_rms: float
    feature_std: float
    exact: Exact | None = None

    @property
    def utility(self) -> float:
        return self.utility_reading.scores.accuracy

    @property
    def utility_network(self) -> nn.Module:
        """The fresh M2, with the weights that were measured."""
        network = self.utility_reading.network
        assert network is not None
        return network

    @property
    def num_samples(self) -> int:
        """Images of the reported split."""
        return len(self.utility_reading.scores.labels)

    @property
    def adversaries(self) -> dict[str, float]:
        """Accuracy of each adversary by name."""
        return {name: reading.scores.accuracy for name, reading in self.readings.items()}

    @property
    def networks_attacked(self) -> bool:
        """Whether adversaries were trained."""
        return any(name != "bayes" for name in self.readings)

    @property
    def strongest(self) -> Reading:
        return strongest(self.readings)

    @property
    def strongest_adversary(self) -> float:
        return self.strongest.scores.accuracy

    @property
    def paper_adversary_name(self) -> str:
        """The adversary whose accuracy the paper reports, `rest`; the strongest if `rest` does not attack."""
        rest = (name for name in self.readings if name in ("rest", "rest_0"))
        trained = {name: read for name, read in self.adversaries.items() if name != "bayes"} or self.adversaries
        return next(rest, max(trained, key=trained.__getitem__))

    @property
    def paper_adversary(self) -> float:
        """Percent."""
        return self.adversaries[self.paper_adversary_name]

    @property
    def leakage(self) -> float:
        """The strongest adversary's accuracy; not below the floor, unless nobody who has z alone can reach it."""
        return leakage_of(self.strongest_adversary, self.label_floor, self.bound)

    @property
    def bounds(self) -> dict[float, Bound]:
        """What nobody who has only the answers exceeds on these images, by their number; empty if no bound is known."""
        return {} if self.exact is None else self.exact.bounds.labels["private"]

    @property
    def bound(self) -> float:
        """The bound of one answer, percent; 100 if none is known."""
        return self.bounds[1].percent if self.bounds else 100.0

    @property
    def curves(self) -> dict[str, list[float]]:
        """Validation accuracy of each network by epoch."""
        return {f"attack_{name}": reading.curve for name, reading in self._all.items() if reading.curve}

    @property
    def unconverged(self) -> tuple[str, ...]:
        """Networks that `max_epochs` stopped, not the convergence rule."""
        return tuple(name for name, reading in self._all.items() if not reading.converged)

    def per_image(self) -> dict[str, Tensor]:
        """Give, by name, [N] each: whether each image's label was read, percent; and `private`, the labels."""
        values = {"utility": self.utility_reading.scores.percents}
        values |= {f"adversary/{name}": reading.scores.percents for name, reading in self.readings.items()}
        values |= {f"bound/{name_of(n)}": bound.per_image for n, bound in self.bounds.items()}
        return {**values, "private": self.strongest.scores.labels}

    def doubts(self) -> Iterator[str]:
        """Give reasons in words to believe that leakage is higher than this; none if nobody can read more."""
        if self.leakage >= self.bound:
            return
        for name, reading in self.readings.items():
            if not reading.converged:
                yield f"{name} was still improving, or still guessing, when its epochs ran out"
        if self.strength is not None and not self.strength.is_enough:
            yield f"no network is strong enough to be believed: {self.strength}"
        if self.strongest_adversary < self.label_floor <= self.bound:
            read, floor = self.strongest_adversary, self.label_floor
            yield f"no adversary reaches the label floor ({read:.2f} % < {floor:.2f} %): the floor is reported"

    @property
    def strength(self) -> Strength | None:
        """Of the networks among the adversaries; None if it is not known."""
        return strength(self.exact, self.readings)

    def utility_doubts(self) -> Iterator[str]:
        """Give reasons in words to believe that utility, and so Δ, is higher than this."""
        if (points := lacking(self.exact, self.utility_reading)) >= GAP:
            yield f"the closed form reads utility {self.utility + points:.2f} %, M2 {self.utility:.2f} %"

    @property
    def _all(self) -> dict[str, Reading]:
        return {"utility": self.utility_reading, **self.readings}


def attack(
    target: Target,
    queries: Sequence[float] = (),
    columns: Sequence[str] = (),
    *,
    is_futile: Callable[[Leakage], bool] = lambda by_bayes: False,
    trained: nn.Module | None = None,
) -> Steps[AttackEpoch | ExactStep, None, Leakage]:
    """Read what can be read in closed form, then train every fresh network; yields after each block and epoch.

    M2 is the first: what it reads limits how high Δ can be.

    Args:
        queries: numbers of answers, besides one and infinitely many (what networks are measured by, see
            `narl.attacks.strength`), that exact attackers read.
        columns: label columns, besides private and utility, that they read.
        is_futile: decides, by what is read without trained adversaries, whether these are spared; asked if `bayes`
            attacks.
        trained: M2 as it was trained with the client, if it was.

    Raises:
        DivergedTraining: an attacker's loss is not finite.
    """
    dataset = target.dataset
    exact = None
    if target.settings.is_exact:
        exact = yield from exact_leakage(target, (1, *queries, math.inf), columns=columns, galleries=GALLERIES)
    utility = yield from read_utility(target, exact, trained)
    feature_rms, feature_std = target.scales
    utility_labels, private_labels = dataset.labels(target.report_on)
    by_bayes = Leakage(
        utility_reading=utility,
        readings=bayes_reading(exact, 1),
        label_floor=label_floor(utility_labels.numpy(), private_labels.numpy()),
        feature_rms=feature_rms,
        feature_std=feature_std,
        exact=exact,
    )
    if exact is not None and is_futile(by_bayes):
        return by_bayes
    readings = yield from target.read_with_adversaries(
        target.labels("private"), len(dataset.private_classes), ceiling=ceiling(exact, "private")
    )
    return replace(by_bayes, readings={**by_bayes.readings, **readings})


def bayes_reading(exact: Exact | None, queries: float) -> dict[str, Reading]:
    """Give what the Bayes attacker reads of the private label in so many answers, as `bayes`; empty without it."""
    if exact is None or queries not in exact.readings["private"]:
        return {}
    return {"bayes": Reading(exact.readings["private"][queries].scores, None, [], True)}


def ceiling(exact: Exact | None, label: str, queries: float = 1) -> float:
    """Give the percent that nobody exceeds on the reported images; 100 if no bound is known."""
    known = {} if exact is None else exact.bounds.labels[label]
    return known[queries].percent if queries in known else 100.0
