"""What a trial was asked to do and what came of it: frozen, comparable, JSON both ways.

Accuracies are percentages (0-100); `delta` is in percentage points; costs carry their unit in the name.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

AT_QUERIES = re.compile(r"(delta|leakage)_at_queries\(([1-9]\d*)\)")
COST_NAMES = ("client_gflops", "client_memory_mib", "uplink_kib", "peak_activation_mib")


@dataclass(frozen=True)
class ClientCost:
    """What one image costs the client, known before any training.

    Attributes:
        client_gflops: operations of M1 for one image, in 1e9 (accounting: narl/models/cost.py).
        client_memory_mib: parameters and buffers of M1, in 2**20 bytes.
        uplink_kib: bytes of z as sent, in 2**10 bytes.
        peak_activation_mib: the most activation bytes alive at once in M1's forward pass, in 2**20 bytes.
    """

    client_gflops: float
    client_memory_mib: float
    uplink_kib: float
    peak_activation_mib: float


@dataclass(frozen=True)
class TrialConfig:
    """One point of the design space.

    Attributes:
        arch: name of a network of the zoo.
        split: split point; the client runs the first `split` stages. 0: none of them.
        sigma: standard deviation of the noise added to M1's output, >= 0.
        lambda_: weight of the leakage loss in M1's objective, >= 0 (JSON key: `lambda`).
        seed: seed of everything random in the trial.
        method: name of the training method.
        settings: the method's own numbers, sorted by name (JSON: a mapping, left out if empty).
        bound: what M1 ends with: `none`, `sigmoid` or `l2-clip` (JSON: left out if `none`).
        clip_rms: of `l2-clip`, > 0, in units of z; else 0 (JSON: left out if 0).
        noise: `fresh` for each answer, or `keyed` by the image (JSON: left out if `fresh`).
    """

    arch: str
    split: int
    sigma: float
    lambda_: float
    seed: int = 0
    method: str = "narl"
    settings: tuple[tuple[str, float], ...] = ()
    bound: str = "none"
    clip_rms: float = 0.0
    noise: str = "fresh"

    def to_json(self) -> dict[str, Any]:
        row = asdict(self)
        row["lambda"] = row.pop("lambda_")
        row["settings"] = dict(row["settings"])
        absent = {"settings": {}, "bound": "none", "clip_rms": 0.0, "noise": "fresh"}
        return {key: value for key, value in row.items() if key not in absent or value != absent[key]}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrialConfig:
        row = dict(row)
        row["lambda_"] = row.pop("lambda")
        row["settings"] = tuple(sorted(row.get("settings", {}).items()))
        return cls(**row)

    @property
    def client(self) -> str:
        """What the client runs, in short: `resnet18/3`; with its method unless that is narl, `disco:resnet18/3`;
        with what its features and noise have of their own, `resnet18/3+l2-clip+keyed`."""
        client = f"{self.arch}/{self.split}" if self.split else self.arch
        client = "+".join([client, *(word for word in (self.bound, self.noise) if word not in ("none", "fresh"))])
        return client if self.method == "narl" else f"{self.method}:{client}"

    @property
    def numbers(self) -> str:
        """What is searched besides the client, in short: `σ 3 λ 0.01`, and the method's settings."""
        named = {"σ": self.sigma, "λ": self.lambda_, **dict(self.settings)}
        if self.clip_rms:
            named["clip_rms"] = self.clip_rms
        return " ".join(f"{name} {value:.3g}" for name, value in named.items())

    @property
    def content_hash(self) -> str:
        """Twelve hex digits that depend on the content alone: equal configurations, equal hashes."""
        return stable_hash(self.to_json())


@dataclass(frozen=True)
class TrialMetrics:
    """Measured on one split of the data by networks trained afresh on the frozen obfuscator.

    Attributes:
        utility: accuracy of the fresh utility network.
        leakage: accuracy of the strongest adversary, never below `label_floor`.
        strongest_adversary: accuracy of the strongest adversary, unclamped.
        label_floor: what the utility label alone gives away about the private label.
        delta: `utility - leakage`.
        delta_paper: utility minus the accuracy of the paper's adversary, `rest` (of the strongest, where that does not
            attack), unclamped.
        feature_rms: root mean square of M1(x), noise excluded.
        snr_db: of z: 20 log10 of the root mean square of M1(x) about its mean over images, over that of the noise;
            infinite without noise (stored as None).
        cost: what the client pays.
        adversaries: accuracy of each adversary by name.
        train_seconds, attack_seconds: wall time.
        leakage_at_queries: `leakage` if the attacker averages n answers to each image, by n in decimal digits.
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

    def __getattr__(self, name: str) -> float:
        # Costs read like any other metric: metrics.client_gflops.
        if name in COST_NAMES:
            return getattr(object.__getattribute__(self, "cost"), name)
        if (asked := AT_QUERIES.fullmatch(name)) and asked[2] in self.leakage_at_queries:
            leakage = self.leakage_at_queries[asked[2]]
            return leakage if asked[1] == "leakage" else self.utility - leakage
        raise AttributeError(f"{type(self).__name__} has no metric {name!r}")

    def scalars(self) -> dict[str, float]:
        """Every finite number of the record under one flat name each."""
        flat = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("cost", "adversaries", "leakage_at_queries") and getattr(self, f.name) is not None
        }
        flat.update(asdict(self.cost))
        flat.update({f"adversary_{name}": value for name, value in self.adversaries.items()})
        # Without the parentheses, which MLflow refuses in a name.
        flat.update({f"leakage_at_{n}_queries": value for n, value in self.leakage_at_queries.items()})
        flat.update({f"delta_at_{n}_queries": self.utility - value for n, value in self.leakage_at_queries.items()})
        return flat

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrialMetrics:
        row = dict(row)
        row["cost"] = ClientCost(**row["cost"])
        return cls(**row)


@dataclass(frozen=True)
class TrialRecord:
    """One line of the ledger.

    Attributes:
        trial_id: number of the trial in its search, from 0.
        status: `complete` with metrics, or `failed` with an error.
        curves: one list a learning curve, one value an epoch.
        telemetry: readings of the accelerator while the trial ran, empty without one.
        tags: anything else worth showing (precision, loader, device, node).
        log: the end of what the worker of a failed trial had to say (JSON: left out if empty).
    """

    trial_id: int
    config: TrialConfig
    status: Literal["complete", "failed"]
    metrics: TrialMetrics | None = None
    error: str | None = None
    started_at: float = 0.0
    finished_at: float = 0.0
    curves: dict[str, list[float]] = field(default_factory=dict)
    telemetry: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def __post_init__(self) -> None:
        if (self.status == "complete") != (self.metrics is not None):
            raise ValueError(f"a {self.status!r} record of trial {self.trial_id} has metrics={self.metrics!r}")
        if self.metrics is not None:
            for name, value in self.metrics.scalars().items():
                if not math.isfinite(value):
                    raise ValueError(f"trial {self.trial_id}: metric {name} is {value}, not a finite number")

    @property
    def leakage_is_lower_bound(self) -> bool:
        """True if an adversary was still improving, or still guessing, when its epochs ran out: Δ is an upper bound."""
        return any(name != "utility" for name in self.tags.get("unconverged", "").split(",") if name)

    def bound_sign(self, metric: str) -> str:
        """What to write before a metric's value where adversaries had not converged: `≤`, `≥`, or nothing."""
        return bound_sign(metric) if self.leakage_is_lower_bound else ""

    def to_json(self) -> dict[str, Any]:
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        row["config"] = self.config.to_json()
        row["metrics"] = self.metrics.to_json() if self.metrics else None
        if not self.log:
            del row["log"]
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> TrialRecord:
        row = dict(row)
        row["config"] = TrialConfig.from_json(row["config"])
        if row.get("metrics") is not None:
            row["metrics"] = TrialMetrics.from_json(row["metrics"])
        return cls(**row)


def bound_sign(metric: str) -> str:
    """What adversaries that had not converged make of a metric: a lower bound (`≥`), an upper one (`≤`), neither."""
    return {"delta": "≤", "leakage": "≥"}.get(re.split(r"[_(]", metric)[0], "")


def stable_hash(value: Any) -> str:
    """Twelve hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
