"""The strictness every configuration shares: unknown keys are errors, values are frozen once checked."""

from __future__ import annotations

from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, model_validator


class AtKey(ValueError):
    """What is wrong with the value at one key of a mapping that is checked as a whole."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key, self.message = key, message


class Strict(BaseModel):
    """A pydantic model that refuses unknown keys, takes no true or false for a number, and cannot change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _booleans_are_not_numbers(cls, content: Any) -> Any:
        if isinstance(content, dict):
            for name, info in cls.model_fields.items():
                value = content.get(info.alias or name, content.get(name))
                if info.annotation is not bool and (isinstance(value, bool) or _holds_boolean(value, info.annotation)):
                    raise AtKey(info.alias or name, "true and false are not legal here")
        return content


def _holds_boolean(value: Any, annotation: Any) -> bool:
    """Tell whether a list, or a mapping that is not a model of its own, has true or false in it."""
    if isinstance(value, dict) and get_origin(annotation) is dict:
        value = list(value.values())
    return isinstance(value, (list, tuple)) and any(isinstance(item, bool) for item in value)
