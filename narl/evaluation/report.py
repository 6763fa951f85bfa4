"""What one seed of an evaluation reports, and what several say together: the same for train, evaluate and compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_serializer

from narl.core.errors import DAMAGED, DataError
from narl.core.records import ClientCost
from narl.core.worth import Nothing, sending_nothing
from narl.data.class_counts import ClassCounts
from narl.evaluation.released import current_seed, current_summary

Interval = tuple[float, float]


class _Report(BaseModel):
    """Typed numbers and what attacks found, in one JSON object: `findings` lie beside the numbers there.

    Attributes:
        findings: entries of `narl.attacks.finding.Finding`, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    findings: dict[str, Any] = {}

    @field_serializer("cost", check_fields=False)
    def _what_is_known(self, cost: ClientCost) -> dict[str, float]:
        return cost.known

    def to_json(self) -> dict[str, Any]:
        numbers = self.model_dump(mode="json", exclude={"findings"})
        return {**numbers, **self.findings}

    @classmethod
    def from_json(cls, row: Any) -> Self:
        """Read what `to_json` gave, in this version or in 0.2.

        Raises:
            DataError: it is something else; names the first thing that is wrong.
        """
        try:
            if not isinstance(row, Mapping):
                raise ValueError("it is not a mapping")
            row = cls._current(row)
            own = cls.model_fields.keys() - {"findings"}
            findings = {name: value for name, value in row.items() if name not in own}
            return cls(**{name: value for name, value in row.items() if name in own}, findings=findings)
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        except KeyError as error:
            raise DataError(f"it has no {error}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{error}") from error

    @classmethod
    def _current(cls, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Convert `row` to the words of this version."""
        raise NotImplementedError


class SeedReport(_Report):
    """What fresh networks read of one client. Accuracies in percent, Δ and advantages in points.

    Attributes:
        utility: of the fresh utility network.
        leakage: of the strongest adversary, not below `label_floor` unless the bound is.
        leakage_bound: what nobody exceeds on these images; None if the Bayes attacker did not attack.
        delta: `utility - leakage`.
        delta_paper: utility minus what `paper_adversary` reads, unclamped.
        strongest_adversary: unclamped.
        label_floor: what the utility label alone gives away.
        utility_bound, utility_chance, private_chance: see `narl.core.records.TrialMetrics`.
        advantage: `leakage - label_floor`.
        balanced_leakage: the most that an adversary reads as the mean over classes.
        worst_class_leakage: the most that an adversary reads of one class.
        leakage_by_class: of the strongest adversary.
        adversaries: accuracy by name.
        paper_adversary: the name of the adversary that the paper reports.
        feature_rms: root mean square of M1(x).
        snr_db: of what is sent; None without noise.
        sigma_inference: σ of the noise, where it is not the one of training, or was chosen.
        num_samples: images of the reported split.
        doubts: reasons not to trust the numbers, in words.
        train_seconds, attack_seconds: wall time, of all attacks.
        cost: what the client pays.
        tags: device, precision and whatever else is worth showing.
    """

    utility: float
    leakage: float
    delta: float
    delta_paper: float
    strongest_adversary: float
    label_floor: float
    advantage: float
    # `narl train` of 0.2 told none of these three.
    balanced_leakage: float | None = None
    worst_class_leakage: float | None = None
    leakage_by_class: tuple[float, ...] | None = None
    adversaries: dict[str, float]
    paper_adversary: str
    feature_rms: float
    snr_db: float | None
    num_samples: int
    doubts: tuple[str, ...]
    train_seconds: float
    attack_seconds: float
    cost: ClientCost
    tags: dict[str, str]
    leakage_bound: float | None = None
    utility_bound: float | None = None
    utility_chance: float | None = None
    private_chance: float | None = None
    sigma_inference: float | None = None

    @classmethod
    def _current(cls, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return current_seed(row)


class Summary(_Report):
    """Means over seeds, each with a 95 % interval.

    Attributes:
        reported_on: the split.
        num_samples: its images.
        seeds: in order.
        client: whether each seed has its own, in words.
        mean: of `narl.evaluation.summary.REPORTED`, and of `leakage_bound` where the Bayes attacker attacked.
        interval95: of what is in `mean`, over images and seeds, and of what attacks add.
        label_floor: see `SeedReport`; the same for all seeds.
        snr_db: mean over seeds.
        cost: what the client pays.
        doubts: each once, with the seeds that have it unless all do.
        by_seed: every seed's report.
        classes: of both labels, and how many images of each are in which split; None where that was not told.
    """

    reported_on: str
    num_samples: int
    seeds: tuple[int, ...]
    client: str
    mean: dict[str, float]
    interval95: dict[str, Interval | dict[str, Interval]]
    label_floor: float
    snr_db: float | None
    cost: ClientCost
    doubts: tuple[str, ...]
    by_seed: dict[int, SeedReport]
    classes: ClassCounts | None = None

    @property
    def nothing(self) -> Nothing | None:
        """What sending nothing would give, the same for all seeds; see `narl.core.worth.sending_nothing`."""
        first = next(iter(self.by_seed.values()), None)
        return None if first is None else sending_nothing(first)

    def interval(self, name: str) -> Interval:
        """Return the 95 % interval of the number `name` of `mean`."""
        found = self.interval95[name]
        assert isinstance(found, tuple)
        return found

    def to_json(self) -> dict[str, Any]:
        each = {str(seed): report.to_json() for seed, report in self.by_seed.items()}
        return {**super().to_json(), "by_seed": each}

    @classmethod
    def _current(cls, row: Mapping[str, Any]) -> Mapping[str, Any]:
        row = current_summary(row)
        return {**row, "by_seed": {seed: SeedReport.from_json(each) for seed, each in row["by_seed"].items()}}

    @classmethod
    def load(cls, path: Path) -> Summary:
        """Load the report in a JSON file: report.json of `narl evaluate`, metrics.json of `narl train`.

        Raises:
            DataError: the file cannot be read, or holds something else.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, *DAMAGED, DataError) as error:
            raise DataError(f"{path} is not the report of an evaluation: {error}") from error
