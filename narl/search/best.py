"""The best configuration that a search found, within what a client can afford and a service needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from narl.config.measured import Measured
from narl.config.trial import TrainConfig
from narl.core.chance import least_difference
from narl.core.constraints import Constraints
from narl.core.errors import ConfigError, unknown_name
from narl.core.knee import knee
from narl.core.objectives import COST_NAMES
from narl.core.pareto import best_within, candidates, within
from narl.core.records import TrialRecord
from narl.search.confirmed import CONFIDENCE, Confirmation
from narl.search.folder import SearchFolder, named_search
from narl.search.ledger import read_ledger
from narl.search.other_sigma import meeting

# What bounds each cost.
BUDGETS = {
    "client_gflops": "budget_gflops",
    "client_memory_mib": "budget_memory_mib",
    "uplink_kib": "budget_uplink_kib",
    "peak_activation_mib": "budget_activation_mib",
    "client_latency_ms": "budget_latency_ms",
}


@dataclass(frozen=True, kw_only=True)
class Demands:
    """See `best_config`; None: no bound. `confirmation` is what `about` found where `confirmed` is asked for."""

    budget_gflops: float | None = None
    budget_memory_mib: float | None = None
    budget_uplink_kib: float | None = None
    budget_activation_mib: float | None = None
    budget_latency_ms: float | None = None
    measured: Path | str | None = None
    min_utility: float | None = None
    max_leakage: float | None = None
    max_identification: float | None = None
    certified: bool = False
    confidence: float | None = None
    knee: str | None = None
    confirmed: bool = False
    with_worthless: bool = False
    confirmation: Confirmation | None = None

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0.5 < self.confidence < 1:
            raise ConfigError(f"`confidence` must be between 0.5 and 1, both excluded, got {self.confidence:g}")
        if self.knee is not None and self.knee not in COST_NAMES:
            raise ConfigError(unknown_name("cost", self.knee, COST_NAMES))

    def about(self, folder: SearchFolder) -> Demands:
        """Return the same, with what was confirmed of the search if that is asked for.

        Raises:
            ConfigError: nothing was, or another objective.
        """
        if not self.confirmed:
            return self
        found = Confirmation.load(folder.path)
        if found is None:
            raise ConfigError(f"nothing of search {folder.name!r} is confirmed: narl confirm {folder.name} does it")
        if found.objective != self.best:
            raise ConfigError(f"of search {folder.name!r} {found.objective} is confirmed, and asked for is {self.best}")
        return replace(self, confirmation=found)

    @property
    def best(self) -> str:
        """The objective that is to be highest."""
        return "delta_certified" if self.certified else "delta"

    @property
    def at_most(self) -> dict[str, float]:
        """Upper bounds by objective."""
        bounds = {cost: getattr(self, budget) for cost, budget in BUDGETS.items()}
        bounds |= {"leakage": self.max_leakage, "identification": self.max_identification}
        return {name: bound for name, bound in bounds.items() if bound is not None}

    @property
    def at_least(self) -> dict[str, float]:
        """Lower bounds by objective."""
        return {} if self.min_utility is None else {"utility": self.min_utility}

    def with_budget(self, cost: str, most: float) -> Demands:
        """Return the same with another bound of that cost."""
        changed: dict[str, Any] = {BUDGETS[cost]: most}
        return replace(self, **changed)

    def worth(self, record: TrialRecord) -> float:
        """Give what is to be highest: `best`, or what it exceeds with `confidence`, in points; of what is confirmed, the
        lower bound.

        Raises:
            ConfigError: it was not measured, or nobody recorded on how many images.
        """
        if self.confirmation is not None:
            return self.confirmation.lower(self.confirmation.by_id[record.trial_id], self.confidence or CONFIDENCE)
        m = record.measured
        value = m.value(self.best)
        if self.confidence is None:
            return value
        if m.num_samples is None:
            raise ConfigError(
                f"trial {record.trial_id} does not say on how many images it was measured: no `confidence`"
            )
        return least_difference(m.utility, m.utility - value, m.num_samples, self.confidence)

    def worth_of(self, numbers: Mapping[str, float]) -> float | None:
        """Give `best` among numbers by objective; None if they lack what is asked for, or are beyond a bound."""
        if self.best not in numbers or not {*self.at_most, *self.at_least} <= numbers.keys():
            return None
        fits = all(numbers[name] <= bound for name, bound in self.at_most.items())
        fits = fits and all(numbers[name] >= bound for name, bound in self.at_least.items())
        return numbers[self.best] if fits else None

    def records_of(self, folder: SearchFolder) -> list[TrialRecord]:
        """Read the trials of a search, with what their clients took on the device of `measured`.

        Raises:
            ConfigError: a client that was not measured; names the command that does it.
            NarlError: a damaged ledger.
        """
        records = read_ledger(folder.ledger_path)
        if self.measured is None:
            return records
        measured, size = Measured.load(self.measured), folder.load_space().pipeline.image.size
        measured.refuse_lacking((record.config for record in records if record.metrics is not None), size)
        return [
            record
            if record.metrics is None
            else replace(record, metrics=record.metrics.with_latency(measured.latency_ms(record.config, size)))
            for record in records
        ]

    def at_fitting_sigma(self, records: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Let clients that miss a bound of utility or leakage meet it at another σ (narl/search/other_sigma.py).

        Not where identification is bounded, which is known at a trial's own σ alone. Only what is confirmed counts where
        that is asked for, as it was confirmed.
        """
        if self.confirmation is not None:
            return [record for record in records if record.trial_id in self.confirmation.by_id]
        asked = Constraints(min_utility=self.min_utility, max_leakage=self.max_leakage)
        if not asked or self.max_identification is not None:
            return list(records)
        return [meeting(record, asked) for record in records]

    def fitting(self, records: Sequence[TrialRecord]) -> list[TrialRecord]:
        """List the records within every bound that count, at their own σ or another."""
        fitting = within(self.at_fitting_sigma(records), at_most=self.at_most, at_least=self.at_least)
        return candidates(fitting, worthless=self.with_worthless)

    def best_of(self, records: Sequence[TrialRecord]) -> TrialRecord:
        """Choose the record of highest worth within every bound, or with `knee` the one beyond which more cost buys least.

        Raises:
            NothingFeasible: none fits.
        """
        found = best_within(
            self.at_fitting_sigma(records),
            at_most=self.at_most,
            at_least=self.at_least,
            worth=self.worth,
            worthless=self.with_worthless,
        )
        at = self.knee_of(records)
        return found if at is None else at

    def knee_of(self, records: Sequence[TrialRecord]) -> TrialRecord | None:
        """Find the knee (narl/core/knee.py) of worth over the cost that `knee` names, among records within every bound.

        None if it is not asked for, or no record lies above the chord.
        """
        if self.knee is None:
            return None
        fitting = self.fitting(records)
        at = knee([r.measured.value(self.knee) for r in fitting], [self.worth(r) for r in fitting])
        return None if at is None else fitting[at]

    def refused(self, records: Sequence[TrialRecord], chosen: TrialRecord) -> list[TrialRecord]:
        """List the records within the bounds that are better than `chosen` and do not count, the best first."""
        if self.with_worthless:
            return []
        best = self.worth(chosen)
        fitting = within(self.at_fitting_sigma(records), at_most=self.at_most, at_least=self.at_least)
        better = [r for r in fitting if r.why_not_counted and self.worth(r) > best]
        return sorted(better, key=self.worth, reverse=True)


def best_config(
    search: SearchFolder | Path | str | None = None,
    *,
    runs: Path | str | None = None,
    budget_gflops: float | None = None,
    budget_memory_mib: float | None = None,
    budget_uplink_kib: float | None = None,
    budget_activation_mib: float | None = None,
    budget_latency_ms: float | None = None,
    measured: Path | str | None = None,
    min_utility: float | None = None,
    max_leakage: float | None = None,
    max_identification: float | None = None,
    certified: bool = False,
    confidence: float | None = None,
    knee: str | None = None,
    confirmed: bool = False,
    with_worthless: bool = False,
) -> TrainConfig:
    """Choose the configuration of highest Δ that a search measured within every bound, for `train` and `evaluate`.

    A client that misses `min_utility` or `max_leakage` as it was measured may meet it with noise of another σ: what it
    is then follows in closed form from the profile of its trial, and `sigma_inference` of the answer is that σ.

    Args:
        search: its folder, as `SearchResult.folder` or a path, or its name; None: the one most recently written to.
        runs: where to look for searches by name: a folder, or what `search` was given as `storage`; None: `$NARL_RUNS`
            or `narl-runs`.
        budget_gflops: most client GFLOPs per image.
        budget_memory_mib: most client memory, MiB.
        budget_uplink_kib: most KiB sent per image.
        budget_activation_mib: most peak activations, MiB.
        budget_latency_ms: most milliseconds an answer, on the device of `measured`, or of the search's own.
        measured: a file that `narl profile --measure --format json` or an export's `narl_measure.py` wrote.
        min_utility: least utility accuracy, percent.
        max_leakage: most leakage accuracy, percent.
        max_identification: most answers for which anybody can tell which of 100 images they are about, percent.
        certified: best is the Δ that holds against every reader, utility − bound.
        confidence: best is what Δ exceeds with this probability, between 0.5 and 1, over other images like the validation
            images. It covers neither other seeds and trainings nor that the best of several was chosen.
        knee: a cost, `client_gflops` say: choose the knee of Δ over its logarithm, not the highest Δ.
        confirmed: choose among clients that `narl.confirm` trained with fresh seeds, for the lower bound of Δ on test
            images (at `confidence`, or 0.95, for all of them at once); other bounds are of what the search measured.
        with_worthless: count trials that are no better than sending nothing, too.

    Raises:
        ConfigError: no such search, or a number that it, or `measured`, does not have.
        NothingFeasible: no trial fits; the message names the nearest.
    """
    demands = Demands(
        budget_gflops=budget_gflops,
        budget_memory_mib=budget_memory_mib,
        budget_uplink_kib=budget_uplink_kib,
        budget_activation_mib=budget_activation_mib,
        budget_latency_ms=budget_latency_ms,
        measured=measured,
        min_utility=min_utility,
        max_leakage=max_leakage,
        max_identification=max_identification,
        certified=certified,
        confidence=confidence,
        knee=knee,
        confirmed=confirmed,
        with_worthless=with_worthless,
    )
    folder = search if isinstance(search, SearchFolder) else named_search(search, runs)
    demands = demands.about(folder)
    return folder.train_config(demands.best_of(demands.records_of(folder)))
