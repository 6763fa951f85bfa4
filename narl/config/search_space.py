"""What to search: architectures, split points, σ, λ, objectives, budgets and the means to search with."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from narl.config.base import Strict
from narl.config.load import build, read_yaml
from narl.config.pipeline import Pipeline
from narl.config.trial import Attack, Training, with_pipeline
from narl.errors import unknown_name
from narl.objectives import OBJECTIVES
from narl.records import COST_NAMES, stable_hash

# What may differ between a search and its resumption: trials stay comparable.
FREE_KEYS = ("name", "trials", "time_budget_minutes", "resources", "sampler")

SamplerName = Literal["tpe", "nsga2", "nsga3", "gp", "random", "qmc"]


class Range(Strict):
    """Values from `low` to `high`, both included; on a logarithmic scale if `log`."""

    low: float = Field(ge=0)
    high: float = Field(ge=0)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self):
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low == 0:
            raise ValueError("a logarithmic range must start above 0")
        return self


class Choices(Strict):
    """One of the listed values."""

    choices: tuple[float, ...] = Field(min_length=1)

    @field_validator("choices")
    @classmethod
    def _legal(cls, value):
        if any(v < 0 for v in value):
            raise ValueError(f"values must be >= 0, got {min(value):g}")
        if len(set(value)) != len(value):
            raise ValueError("values must be distinct")
        return value


def _range_or_choices(value: Any) -> str:
    chosen = isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value)
    return "choices" if chosen else "range"


# Told apart by their keys, so that a mistake in one is not explained by the rules of the other.
Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")], Discriminator(_range_or_choices)
]


class Architecture(Strict):
    """Split points to search: `all`, or a list of them."""

    split_points: Literal["all"] | tuple[int, ...] = "all"

    @field_validator("split_points", mode="before")
    @classmethod
    def _list_or_all(cls, value):
        if value != "all" and not isinstance(value, (list, tuple)):
            raise ValueError("expected all, or a list of split points")
        return value

    @field_validator("split_points")
    @classmethod
    def _distinct(cls, value):
        if value != "all" and (not value or len(set(value)) != len(value)):
            raise ValueError("list at least one split point, each once")
        return value


class Resources(Strict):
    """What one trial occupies; how many run at once follows from what the cluster has.

    `gpus_per_trial` of null means: one if the cluster has any, else none. Fractions share a GPU.
    """

    cpus_per_trial: float = Field(1, gt=0)
    gpus_per_trial: float | None = Field(None, ge=0)


class SearchSpace(Strict):
    """One search. Budgets bound costs, which are known before training: what exceeds one is never trained.

    `uplink_dtype` is what a value of z is counted as when sent; accuracies are measured on unrounded features.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    pipeline: Pipeline
    method: Literal["narl"] = "narl"
    architectures: dict[str, Architecture] = Field(min_length=1)
    sigma: Values
    lambda_: Values = Field(alias="lambda")
    objectives: tuple[str, ...] = ("delta", "client_gflops", "client_memory_mib")
    budgets: dict[str, float] = {}
    uplink_dtype: Literal["float32", "float16", "int8"] = "float32"
    sampler: SamplerName = "tpe"
    trials: int = Field(24, ge=1)
    time_budget_minutes: float | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    training: Training = Training()
    attack: Attack = Attack()
    resources: Resources = Resources()

    @field_validator("sigma", "lambda_", mode="before")
    @classmethod
    def _shorthand(cls, value):
        """A number is one choice; a list is choices."""
        if isinstance(value, str):
            with suppress(ValueError):
                value = float(value)  # YAML takes 1e-3, without a dot, for a string
        if isinstance(value, (int, float)):
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"must be a finite number >= 0, got {value}")
            return {"choices": [value]}
        if isinstance(value, (list, tuple)):
            return {"choices": value}
        if not isinstance(value, (dict, Range, Choices)):
            raise ValueError("expected a number, a list of numbers or {low, high}")
        return value

    @field_validator("architectures", mode="before")
    @classmethod
    def _bare_name_means_all(cls, value):
        """`resnet18:` with nothing after it searches every split point."""
        if not isinstance(value, dict):
            return value
        return {name: {} if chosen is None else chosen for name, chosen in value.items()}

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, value):
        for name in value:
            if name not in OBJECTIVES:
                raise ValueError(unknown_name("objective", name, OBJECTIVES))
        if len(set(value)) != len(value) or not value:
            raise ValueError("name at least one objective, each once")
        return value

    @field_validator("budgets")
    @classmethod
    def _known_costs(cls, value):
        for name, bound in value.items():
            if name not in COST_NAMES:
                raise ValueError(unknown_name("budget", name, COST_NAMES))
            if bound <= 0:
                raise ValueError(f"budget {name} must be above 0, got {bound:g}")
        return value

    @property
    def content_hash(self) -> str:
        """Changes with anything that would make trials incomparable; not with how many run, how long or where."""
        content = self.model_dump(exclude=set(FREE_KEYS), by_alias=True)
        content["pipeline"]["loader"] = None
        content["pipeline"]["source"].pop("download", None)
        return stable_hash(content)


def load_search_space(path: Path | str) -> SearchSpace:
    """The search space in a YAML file; `pipeline` may be inline or the name of a file, relative to this one.

    Raises:
        ConfigError: unreadable file or illegal content.
    """
    path = Path(path)
    return build(SearchSpace, with_pipeline(read_yaml(path), path.parent), str(path))
