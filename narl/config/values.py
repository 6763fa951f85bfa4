"""Numbers to search: a range or a list, and the short ways to write them."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from narl.core.errors import shortened
from narl.core.point import LARGEST
from narl.core.strict import Strict


class Range(Strict):
    """Values between two bounds.

    Attributes:
        low, high: the bounds, both included.
        log: on a logarithmic scale.
    """

    low: float = Field(ge=0, le=LARGEST)
    high: float = Field(ge=0, le=LARGEST)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low == 0:
            raise ValueError("a logarithmic range must start above 0")
        return self


class Choices(Strict):
    """One of the listed values. A list is short for it, and a number for a list of that number alone.

    Attributes:
        choices: the values, each once, 0 or more.
    """

    choices: tuple[Annotated[float, Field(le=LARGEST)], ...] = Field(min_length=1, max_length=10_000)

    @field_validator("choices")
    @classmethod
    def _legal(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(v < 0 for v in value):
            raise ValueError(f"values must be >= 0, got {min(value):g}")
        if len(set(value)) != len(value):
            raise ValueError("values must be distinct")
        return value


def _written_out(value: Any) -> Any:
    """A number is one choice; a list is choices."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)  # YAML takes 1e-3, without a dot, for a string
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value <= LARGEST:
            raise ValueError(f"must be a finite number >= 0, at most {LARGEST:g}, got {shortened(str(value))}")
        return {"choices": [value]}
    if isinstance(value, (list, tuple)):
        return {"choices": value}
    if not isinstance(value, (dict, Range, Choices)):
        raise ValueError("expected a number, a list of numbers or {low, high}")
    return value


def _range_or_choices(value: Any) -> str:
    chosen = isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value)
    return "choices" if chosen else "range"


# Told apart by their keys, so that a mistake in one is not explained by the rules of the other.
Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(_range_or_choices),
    BeforeValidator(_written_out),
]
