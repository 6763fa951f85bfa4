"""The certificate: what an attacker in closed form reads of the private label, and what nobody can exceed.

Networks may be trained too little; these two are not trained. Their theory, and what they do not say:
narl.attacks.exact and docs/certificate.md.
"""

from __future__ import annotations

from collections.abc import Generator as Steps
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from narl.attacks.exact.levels import ExactStep
from narl.attacks.exact.of_target import GALLERIES, Exact, exact_leakage
from narl.attacks.finding import Case, Finding, Numbers, Part, Samples, mean_of_numbers
from narl.attacks.queries import name_of

CONFIDENCE = 0.95
# The Bayes attacker may read so many points more than every network before that is a reason for doubt.
TOLERANCE_POINTS = 1.0


@dataclass(frozen=True)
class Certificate(Finding):
    """Lower and upper end of what can be read, by label and number of answers.

    Attributes:
        by_adversaries: the leakage of one answer, percent: of networks alone where `bayes` is not among the
            adversaries.
    """

    name = "certificate"

    exact: Exact
    utility: float
    by_adversaries: float

    @classmethod
    def find(cls, case: Case) -> Steps[ExactStep, None, Certificate]:
        exact = case.leakage.exact
        if exact is None:
            exact = yield from exact_leakage(
                case.target, (1, *case.queries), columns=case.config.audit, galleries=GALLERIES
            )
        return cls(exact, case.leakage.utility, case.leakage.leakage)

    def numbers(self) -> dict[str, Any]:
        """Give percents: what the Bayes attacker reads of the reported images (`attacker`), what nobody exceeds on them
        (`bound`) and on the population they come from, at 95 % confidence (`at_most95`); `identification` is a bound
        by size of gallery.
        """
        labels = {
            label: {
                name_of(n): {
                    "attacker": self._reads(label, n),
                    "bound": bound.percent,
                    "at_most95": bound.certified(CONFIDENCE),
                }
                for n, bound in by_n.items()
            }
            for label, by_n in self.exact.bounds.labels.items()
        }
        identification: dict[str, dict[str, float]] = {}
        for n, by_size in self.exact.bounds.identification.items():
            for size, bound in by_size.items():
                identification.setdefault(str(size), {})[name_of(n)] = bound.percent
        return {self.name: {"labels": labels, "identification": identification}}

    def per_image(self) -> dict[str, Tensor]:
        found = {}
        for label, by_n in self.exact.bounds.labels.items():
            for n, bound in by_n.items():
                path = f"{self.name}/labels/{label}/{name_of(n)}"
                found[f"{path}/attacker"] = self.exact.readings[label][n].scores.percents
                found[f"{path}/bound"] = bound.per_image
        return found

    @classmethod
    def summarise(cls, each: Sequence[Numbers], samples: Samples) -> Part:
        """Summarise as any attack does, in percent."""
        entry, prefix = mean_of_numbers([numbers[cls.name] for numbers in each]), f"{cls.name}/"
        intervals = {
            name.removeprefix(prefix): samples.interval(samples.means(name), 0.0, 100.0)
            for name in samples.names(prefix)
        }
        return Part({cls.name: {**entry, "interval95": intervals}})

    def _reads(self, label: str, queries: float) -> float:
        """Percent that the Bayes attacker reads; more than the bound is luck of the draws."""
        return min(self.exact.bracket(label, queries))

    def doubts(self) -> Iterator[str]:
        reads = self._reads("private", 1.0)
        if reads > self.by_adversaries + TOLERANCE_POINTS:
            yield (
                f"the Bayes attacker reads {reads:.1f} %, more than any network: "
                f"Δ is at most {self.utility - reads:.1f}"
            )
