"""How one configuration is trained and attacked, and the file that `narl train` takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from narl.config.load import build, read_yaml
from narl.config.pipeline import Pipeline, with_absolute_paths
from narl.core.paths import user_path
from narl.core.point import Point
from narl.core.strict import Strict

Precision = Literal["auto", "float32", "bfloat16"]
AdversaryName = Literal["bayes", "rest", "mlp", "conv"]

BEST_NEEDS_BAYES = "sigma_inference best is chosen in closed form: attack.adversaries must list bayes"


class Training(Strict):
    """Algorithm 1's settings (paper §4.1): one Adam a network.

    Attributes:
        epochs: passes over the training images. Steps decide: 200 images in batches of 128 are 2 an epoch.
        batch_size: images of a step.
        learning_rate: of Adam.
        precision: `auto` picks what is fastest for the architecture on the device.
    """

    epochs: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(128, ge=2, le=65_536)
    learning_rate: float = Field(1e-3, gt=0, le=1e15)
    precision: Precision = "auto"


class Attack(Strict):
    """The evaluation of §4.2: fresh networks on the frozen obfuscator, trained until they stop improving.

    Attributes:
        epoch_steps: an attack's epoch has at least so many optimiser steps, and so makes several passes over few
            images: steps decide what a network has learnt.
        clean_epochs: an adversary's first epochs are on features without noise and do not count below. What it reads of
            such features is its control: it tells whether the adversary is strong enough to be believed.
        max_epochs: no network trains longer; a network stopped by this is tagged `unconverged`.
        min_epochs: no network counts as converged sooner.
        patience: a network has converged when its validation accuracy has not improved for so many epochs.
        adversaries: which adversaries attack; leakage is the strongest one's accuracy. `bayes` is not trained: it
            knows the noise, and bounds what anyone can read as well (docs/certificate.md). Fresh networks: `rest` is
            the remainder of the client's architecture (the paper's), `mlp` a wider head on pooled features, `conv` a
            residual network on the whole map.
        batch_size, learning_rate: as in training.
        seeds: fresh initialisations of each adversary.
        views: of each training image: as it is, and `views` - 1 times changed as in training. Has no effect without
            augmentation.
        queries: numbers of answers to one image whose mean is attacked as well, say 16: metrics `leakage_at_queries`.
    """

    epoch_steps: int = Field(16, ge=1, le=100_000)
    clean_epochs: int = Field(4, ge=0, le=100_000)
    max_epochs: int = Field(30, ge=1, le=100_000)
    min_epochs: int = Field(6, ge=1, le=100_000)
    patience: int = Field(4, ge=1, le=100_000)
    batch_size: int = Field(128, ge=2, le=65_536)
    learning_rate: float = Field(1e-3, gt=0, le=1e15)
    adversaries: tuple[AdversaryName, ...] = ("bayes", "rest", "mlp")
    seeds: int = Field(1, ge=1, le=100)
    views: int = Field(4, ge=1, le=64)
    queries: tuple[Annotated[int, Field(ge=1, le=10**9)], ...] = Field((), max_length=64)

    @property
    def is_exact(self) -> bool:
        """Whether the Bayes attacker and its bound are among the adversaries."""
        return "bayes" in self.adversaries

    @property
    def networks(self) -> tuple[AdversaryName, ...]:
        """The adversaries that are trained."""
        return tuple(name for name in self.adversaries if name != "bayes")

    def passes(self, images: int) -> int:
        """Count the passes over so many images in an epoch."""
        return math.ceil(self.epoch_steps / math.ceil(images / self.batch_size))

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row = handler(self)
        return {key: value for key, value in row.items() if key != "queries" or value}

    @model_validator(mode="after")
    def _room_to_converge(self) -> Self:
        if self.min_epochs > self.max_epochs:
            raise ValueError(f"min_epochs {self.min_epochs} is above max_epochs {self.max_epochs}")
        return self

    @field_validator("adversaries")
    @classmethod
    def _some_and_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one adversary, each once")
        return value


class FoundBy(Strict):
    """Where a configuration came from and what the search measured for it, on validation data.

    Attributes:
        search, trial_id: its name, and the trial's number.
        delta, utility, leakage: percent, Δ in percentage points.
        client_gflops, client_memory_mib: what the client costs.
        leakage_bound: nobody exceeds it on these images; null in searches of 0.2, or without the attacker `bayes`.
    """

    search: str
    trial_id: int
    delta: float
    utility: float
    leakage: float
    leakage_bound: float | None = None
    client_gflops: float
    client_memory_mib: float

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class AttackConfig(Protocol):
    """What attacks ask of a configuration, no matter what trains its client; see `TrainConfig`."""

    @property
    def pipeline(self) -> Pipeline: ...

    @property
    def attack(self) -> Attack: ...

    @property
    def audit(self) -> tuple[str, ...]: ...

    @property
    def uplink_dtype(self) -> str: ...

    @property
    def seed(self) -> int:
        """Of everything random."""

    def with_seed(self, seed: int) -> Self:
        """The same configuration under another seed."""

    def with_attack(self, **changes: Any) -> Self:
        """The same configuration with some settings of `attack` replaced, unchecked."""


class TrainConfig(Strict):
    """One configuration to train, as `narl best-config` prints it and `narl train` takes it.

    Attributes:
        pipeline: the images, or the name of a pipeline file, relative to this one.
        trial: the point of the design space.
        training: how the client is trained.
        attack: how it is attacked.
        uplink_dtype: what a value of z is counted as when sent; accuracies are measured on unrounded features.
        found_by: the search that proposed it.
        audit: label columns, neither utility nor private, that `narl evaluate` attacks as well.
    """

    pipeline: Pipeline
    trial: Point
    training: Training = Training()
    attack: Attack = Attack()
    uplink_dtype: Literal["float32", "float16", "int8"] = "float32"
    found_by: FoundBy | None = None
    audit: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _audited_columns_are_others(self) -> Self:
        audited_columns_are_others(self.pipeline, self.audit)
        return self

    @model_validator(mode="after")
    def _best_sigma_can_be_chosen(self) -> Self:
        if self.trial.sigma_inference == "best" and not self.attack.is_exact:
            raise ValueError(BEST_NEEDS_BAYES)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row = handler(self)
        return {key: value for key, value in row.items() if key != "audit" or value}

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Load the configuration in a YAML file; `pipeline` may be the content itself or the name of a pipeline file.

        Raises:
            ConfigError: unreadable file or illegal content.
        """
        path = Path(path)
        config = build(cls, with_pipeline(read_yaml(path), path.parent), str(path))
        return config.model_copy(update={"pipeline": with_absolute_paths(config.pipeline, path.parent)})

    @property
    def seed(self) -> int:
        return self.trial.seed

    def with_seed(self, seed: int) -> Self:
        return self.model_copy(update={"trial": self.trial.model_copy(update={"seed": seed})})

    def with_attack(self, **changes: Any) -> Self:
        return self.model_copy(update={"attack": self.attack.model_copy(update=changes)})


def audited_columns_are_others(pipeline: Pipeline, audit: tuple[str, ...]) -> None:
    """Raise ValueError if `audit` names the utility or the private label, which are attacked anyway."""
    for label in ("utility", "private"):
        if (name := getattr(pipeline, label).name) in audit:
            raise ValueError(f"audit names {name!r}, which is the {label} label and needs no audit")


def with_pipeline(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Replace a `pipeline` that names a file by that file's content."""
    given = content.get("pipeline")
    if isinstance(given, str):
        return {**content, "pipeline": Pipeline.load(folder / user_path(given)).model_dump()}
    return content
