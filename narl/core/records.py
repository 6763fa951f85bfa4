"""What a trial was asked to do and what came of it: frozen, comparable, JSON both ways.

Accuracies are percentages (0-100); `delta` is in percentage points; costs carry their unit in the name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

from narl.core.errors import ConfigError
from narl.core.objectives import CERTIFIED, COST_NAMES, DELTAS, bound_sign, objective
from narl.core.point import Point
from narl.core.worth import Nothing, is_a_guess, sending_nothing, why_worthless

# What each Δ subtracts from utility.
_SUBTRACTED = {"delta": "leakage", "delta_certified": "leakage_bound"}


def curve_in_training(delta: str) -> str:
    """Name the learning curve of an objective that is read in closed form after each epoch."""
    return f"{delta}_in_training"


# A record with this tag says so: networks did not attack, since the trial cannot be on the front.
NETWORKS_TAG = "networks"
# And with this one, which constraint of the search it misses (narl/core/constraints.py).
UNMET_TAG = "unmet"


@dataclass(frozen=True)
class ClientCost:
    """What one image costs the client, known before any training.

    Attributes:
        client_gflops: operations of M1 for one image, in 1e9 (accounting: narl/models/cost.py).
        client_memory_mib: parameters and buffers of M1, in 2**20 bytes.
        uplink_kib: bytes of z as sent, in 2**10 bytes.
        peak_activation_mib: the most activation bytes alive at once in M1's forward pass, in 2**20 bytes.
        client_latency_ms: median time of an answer on a device, milliseconds; None where nobody measured it.
    """

    client_gflops: float
    client_memory_mib: float
    uplink_kib: float
    peak_activation_mib: float
    client_latency_ms: float | None = None

    @property
    def known(self) -> dict[str, float]:
        """Costs by name, those that are known."""
        return {name: value for name, value in vars(self).items() if value is not None}


class SigmaLevel(NamedTuple):
    """What is read in closed form of a trained client that adds noise of one σ, percent of validation images.

    Attributes:
        sigma: in units of z.
        utility: of the useful label.
        leakage: of the private label; as in `TrialMetrics` not below the label floor, unless the bound is.
        bound: what nobody exceeds of the private label.
    """

    sigma: float
    utility: float
    leakage: float
    bound: float

    @property
    def delta(self) -> float:
        return self.utility - self.leakage

    @property
    def delta_certified(self) -> float:
        return self.utility - self.bound


def best_deltas(profile: Sequence[SigmaLevel]) -> dict[str, float]:
    """Give the best Δ over σ, by objective; nothing of an empty profile."""
    return {name: max(getattr(level, name) for level in profile) for name in DELTAS} if profile else {}


@dataclass(frozen=True)
class TrialMetrics:
    """Measured on one split of the data by networks trained afresh on the frozen obfuscator.

    Attributes:
        utility: accuracy of the fresh utility network.
        leakage: accuracy of the strongest adversary, not below `label_floor` unless the bound is.
        strongest_adversary: accuracy of the strongest adversary, unclamped.
        label_floor: what the utility label alone gives away about the private label.
        delta: `utility - leakage`.
        delta_paper: utility minus the accuracy of the paper's adversary, `rest` (of the strongest if `rest` does not
            attack), unclamped.
        feature_rms: root mean square of M1(x), noise excluded.
        snr_db: of z: 20 log10 of the root mean square of M1(x) about its mean over images, over that of the noise;
            infinite without noise (stored as None).
        cost: what the client pays.
        adversaries: accuracy of each adversary by name.
        train_seconds, attack_seconds: wall time.
        leakage_at_queries: `leakage` if the attacker averages n answers to each image, by n in decimal digits.
        leakage_bound: what nobody who has z alone exceeds on these images; 100 where the client adds no noise.
        identification: percent of answers that nobody exceeds in telling which of 100 images they are about (of the
            most that were measured, if there are fewer).
        leakage_bound_at_queries, identification_at_queries: the same of n answers, by n.
        utility_bound: what no server exceeds on these images.
        num_samples: images of the split.
        utility_chance, private_chance: the share of the label's largest class, which needs no z to name.
        sigma_inference: σ of the client's noise where it is not the one of training, or was chosen; None otherwise.
        sigma_profile: how the trained client would do at other σ, ascending; empty if the noise has no σ to vary
            (docs/certificate.md).

    The bounds, identification and the profile are None and empty where the Bayes attacker was not among the
    adversaries. They and what follows them are so in ledgers of versions before 0.3.
    """

    utility: float
    leakage: float
    strongest_adversary: float
    label_floor: float
    delta: float
    delta_paper: float
    feature_rms: float
    snr_db: float | None
    cost: ClientCost
    adversaries: dict[str, float]
    train_seconds: float
    attack_seconds: float
    leakage_at_queries: dict[str, float] = field(default_factory=dict)
    leakage_bound: float | None = None
    identification: float | None = None
    leakage_bound_at_queries: dict[str, float] = field(default_factory=dict)
    identification_at_queries: dict[str, float] = field(default_factory=dict)
    utility_bound: float | None = None
    num_samples: int | None = None
    utility_chance: float | None = None
    private_chance: float | None = None
    sigma_inference: float | None = None
    sigma_profile: tuple[SigmaLevel, ...] = ()

    @property
    def utility_is_a_guess(self) -> bool:
        """See `narl.core.worth.is_a_guess`."""
        return is_a_guess(self)

    @property
    def why_worthless(self) -> str:
        """See `narl.core.worth.why_worthless`; such a trial is no result."""
        return why_worthless(self)

    @property
    def nothing(self) -> Nothing | None:
        """See `narl.core.worth.sending_nothing`."""
        return sending_nothing(self)

    def hiding_nothing(self) -> TrialMetrics:
        """The same client as if everybody read everything."""
        shares = ("leakage", "leakage_bound", "identification")
        changed: dict[str, Any] = dict.fromkeys(("delta", "delta_paper"), self.utility - 100)
        for name in shares:
            changed[name] = None if getattr(self, name) is None else 100.0
            changed[f"{name}_at_queries"] = dict.fromkeys(getattr(self, f"{name}_at_queries"), 100.0)
        return replace(self, **changed)

    def with_latency(self, milliseconds: float | None) -> TrialMetrics:
        """The same client, whose latency on a device is known."""
        return replace(self, cost=replace(self.cost, client_latency_ms=milliseconds))

    @property
    def delta_certified(self) -> float | None:
        """`utility - leakage_bound`: Δ is no less, whatever attacks."""
        return None if self.leakage_bound is None else self.utility - self.leakage_bound

    def value(self, name: str) -> float:
        """Return the objective of that name (narl/core/objectives.py), in its unit.

        Raises:
            ConfigError: no such objective, or one that was not measured.
        """
        asked = objective(name)
        if name in COST_NAMES:
            if name not in self.cost.known:
                raise ConfigError(
                    f"{name} was not measured: give `measured`, a file that narl profile --measure --format json writes"
                )
            return self.cost.known[name]
        if asked.queries is None:
            value: float | None = getattr(self, name)
            if value is None:
                raise ConfigError(f"{name} was not measured: the search's attack.adversaries must list bayes")
            return value
        share = _SUBTRACTED.get(asked.plain, asked.plain)
        value = getattr(self, f"{share}_at_queries").get(str(asked.queries))
        if value is None:
            exact = " and attack.adversaries bayes" if asked.plain in CERTIFIED else ""
            raise ConfigError(f"{name} was not measured: the search's attack.queries must list that number{exact}")
        return self.utility - value if asked.plain in _SUBTRACTED else value

    def scalars(self) -> dict[str, float]:
        """Collect every finite number of the record, each under one flat name."""
        flat = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), float | int)}
        if self.delta_certified is not None:
            flat["delta_certified"] = self.delta_certified
        if self.nothing is not None:
            flat["delta_of_nothing"] = self.nothing.delta
        flat.update(self.cost.known)
        flat.update({f"adversary_{name}": value for name, value in self.adversaries.items()})
        # Without the parentheses, which MLflow refuses in a name.
        for share in ("leakage", "leakage_bound", "identification"):
            by_queries = getattr(self, f"{share}_at_queries")
            flat.update({f"{share}_at_{n}_queries": value for n, value in by_queries.items()})
        for delta, share in _SUBTRACTED.items():
            by_queries = getattr(self, f"{share}_at_queries")
            flat.update({f"{delta}_at_{n}_queries": self.utility - value for n, value in by_queries.items()})
        return flat

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "cost": self.cost.known}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrialMetrics:
        row = dict(row)
        row["cost"] = ClientCost(**row["cost"])
        row["sigma_profile"] = tuple(SigmaLevel(*level) for level in row.get("sigma_profile", ()))
        return cls(**row)


@dataclass(frozen=True)
class Stopped:
    """Why a trial was stopped before its end: it could no longer be on the front (narl/search/early_stopping.py).

    Attributes:
        epoch: after which it was stopped, from 0.
        delta: in closed form after that epoch, in percentage points.
        expected, at_most: Δ at the end, as trials that finished have gained from there.
        needed: Δ of a trial that costs no more.
        beaten_by: the number of that trial.
    """

    epoch: int
    delta: float
    expected: float
    at_most: float
    needed: float
    beaten_by: int

    def __str__(self) -> str:
        return (
            f"Δ {self.delta:.2f} after epoch {self.epoch + 1}, at most {self.at_most:.2f} at the end; "
            f"trial {self.beaten_by}, which costs no more, has {self.needed:.2f}"
        )


@dataclass(frozen=True)
class TrialRecord:
    """One line of the ledger.

    Attributes:
        trial_id: number of the trial in its search, from 0.
        status: `complete` with metrics, `stopped` with the reason, or `failed` with an error.
        curves: one list a learning curve, one value an epoch.
        telemetry: readings of the accelerator while the trial ran, empty without one.
        tags: anything else worth showing (precision, loader, device, node).
        log: the end of what the worker of a failed trial had to say (JSON: left out if empty).
        stopped: why a stopped trial was stopped (JSON: left out of others).
    """

    trial_id: int
    config: Point
    status: Literal["complete", "stopped", "failed"]
    metrics: TrialMetrics | None = None
    error: str | None = None
    started_at: float = 0.0
    finished_at: float = 0.0
    curves: dict[str, list[float]] = field(default_factory=dict)
    telemetry: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    log: str = ""
    stopped: Stopped | None = None

    def __post_init__(self) -> None:
        if (self.status == "complete") != (self.metrics is not None):
            raise ValueError(f"a {self.status!r} record of trial {self.trial_id} has metrics={self.metrics!r}")
        if (self.status == "stopped") != (self.stopped is not None):
            raise ValueError(f"a {self.status!r} record of trial {self.trial_id} has stopped={self.stopped!r}")
        if self.metrics is not None:
            for name, value in self.metrics.scalars().items():
                if not math.isfinite(value):
                    raise ValueError(f"trial {self.trial_id}: metric {name} is {value}, not a finite number")

    @property
    def measured(self) -> TrialMetrics:
        """The metrics of a complete trial.

        Raises:
            ValueError: the trial failed, or was stopped.
        """
        if self.metrics is None:
            raise ValueError(f"trial {self.trial_id} is {self.status} and has no metrics")
        return self.metrics

    @property
    def seconds(self) -> float:
        """Wall time from its start to its end."""
        return self.finished_at - self.started_at

    @property
    def why_no_result(self) -> str:
        """In words: `failed: DivergedTraining: …` or `stopped: Δ 47.10 after …`; empty if there is one."""
        reason = self.stopped if self.status == "stopped" else self.error
        return "" if self.status == "complete" else f"{self.status}: {reason}"

    @property
    def why_not_counted(self) -> str:
        """Why a complete trial is on no front: it is worthless, or misses a constraint of its search; or empty."""
        return self.measured.why_worthless or self.tags.get(UNMET_TAG, "")

    @property
    def networks_were_spared(self) -> bool:
        """True if no network attacked, since the trial could no longer be on the front whatever they read."""
        return NETWORKS_TAG in self.tags

    @property
    def doubts(self) -> str:
        """Why leakage may be more than was read, in words; empty if nothing says so.

        Versions before 0.3 named only the networks that had not converged.
        """
        if self.networks_were_spared:
            return "no network attacked, as the trial cannot be on the front"
        if "doubts" in self.tags:
            return self.tags["doubts"]
        m = self.metrics
        if m is not None and m.leakage_bound is not None and m.leakage >= m.leakage_bound:
            return ""
        names = [name for name in self.tags.get("unconverged", "").split(",") if name not in ("", "utility")]
        return f"{', '.join(names)} had not converged" if names else ""

    @property
    def leakage_is_lower_bound(self) -> bool:
        """Whether more may leak than was read, so that Δ is an upper bound."""
        return bool(self.doubts)

    @property
    def measured_point(self) -> Point:
        """`config` with the σ that its client was measured with, where that was chosen."""
        chosen = self.config.sigma_inference == "best"
        return self.config.at_inference(self.measured.sigma_inference) if chosen else self.config

    @property
    def sigma_at_inference(self) -> float | None:
        """σ of the measured client's noise, where it is not the one of training."""
        sigma = self.measured.sigma_inference
        return None if sigma == self.config.sigma else sigma

    def bound_sign(self, metric: str) -> str:
        """Tell what to write before a metric's value if leakage is doubted: `≤`, `≥`, or nothing."""
        return bound_sign(metric) if self.leakage_is_lower_bound else ""

    @property
    def shown_utility(self) -> str:
        """In percent, with what it is worth: `48.50 (a guess)`."""
        return f"{self.measured.utility:.2f}{' (a guess)' if self.measured.utility_is_a_guess else ''}"

    @property
    def leakage_bracket(self) -> str:
        """What was read and what nobody exceeds, in percent: `24.00–24.60`; without a bound `24.00` or `≥24.00`."""
        m = self.measured
        read = f"{m.leakage:.2f}"
        if m.leakage_bound is None:
            return f"{self.bound_sign('leakage')}{read}"
        bound = f"{m.leakage_bound:.2f}"
        return read if read == bound else f"{read}–{bound}"

    def to_json(self) -> dict[str, Any]:
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        row["config"] = self.config.to_json()
        row["metrics"] = self.metrics.to_json() if self.metrics else None
        row["stopped"] = asdict(self.stopped) if self.stopped else None
        for name in ("log", "stopped"):
            if not row[name]:
                del row[name]
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrialRecord:
        row = dict(row)
        row["config"] = Point.from_json(row["config"])
        if row.get("metrics") is not None:
            row["metrics"] = TrialMetrics.from_json(row["metrics"])
        if row.get("stopped") is not None:
            row["stopped"] = Stopped(**row["stopped"])
        return cls(**row)


def nothing_of(records: Iterable[TrialRecord]) -> Nothing | None:
    """Tell what a client that sends nothing would give on the images of a search; None if no trial recorded that."""
    told = (record.metrics.nothing for record in records if record.metrics is not None)
    return next((nothing for nothing in told if nothing is not None), None)
