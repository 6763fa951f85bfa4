"""How a client that narl did not train is attacked."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from narl.config.pipeline import Pipeline
from narl.config.trial import Attack, audited_columns_are_others
from narl.core.strict import Strict


class OwnClientConfig(Strict):
    """A `narl.config.trial.AttackConfig`; see `narl.config.trial.TrainConfig` for what both have.

    Attributes:
        seed: of everything that attacks draw.
    """

    pipeline: Pipeline
    attack: Attack = Attack()
    uplink_dtype: Literal["float32", "float16", "int8"] = "float32"
    audit: tuple[str, ...] = ()
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="after")
    def _audited_columns_are_others(self) -> Self:
        audited_columns_are_others(self.pipeline, self.audit)
        return self

    def with_seed(self, seed: int) -> Self:
        return self.model_copy(update={"seed": seed})

    def with_attack(self, **changes: Any) -> Self:
        return self.model_copy(update={"attack": self.attack.model_copy(update=changes)})
