"""What pydantic finds wrong with a configuration, in words, and where, by the keys that are in the file.

Pydantic's places also name the member of a union that a value was checked as (`sigma.range.low`), and the form that a
short way to write something stands for; neither is in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from narl.core.errors import did_you_mean, shortened, unknown_name
from narl.core.strict import AtKey

Place = tuple[Any, ...]


def explained(model: type[BaseModel], problem: Mapping[str, Any], content: Any) -> str:
    """Say what is wrong and where.

    Args:
        model: that was to be built.
        problem: one of pydantic's `ValidationError.errors()`.
        content: that it was to be built from.
    """
    loc, kind = problem["loc"], problem["type"]
    if kind == "union_tag_not_found":
        loc, kind = (*loc, problem["ctx"]["discriminator"].strip("'")), "missing"
    if kind == "missing":
        return f"missing key {_shown((*place_of(content, loc[:-1]), loc[-1]))!r}"
    place = _shown(place_of(content, loc))
    if kind == "extra_forbidden":
        allowed = _keys_at(model, loc[:-1])
        listed = f" (allowed: {', '.join(sorted(allowed))})" if allowed else ""
        return f"unknown key {place!r}{did_you_mean(loc[-1], allowed)}{listed}"
    if kind == "union_tag_invalid":
        tags = [tag.strip("'") for tag in problem["ctx"]["expected_tags"].split(", ")]
        return f"{place}: {unknown_name('kind', problem['ctx']['tag'], tags)}"
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in re.split(", | or ", problem["ctx"]["expected"])]
        return f"{place}: {unknown_name('value', problem['input'], choices)}"
    message = problem["msg"].removeprefix("Value error, ")
    if isinstance(error := problem.get("ctx", {}).get("error"), AtKey):
        place, message = _shown(place_of(content, (*loc, error.key))), error.message
    given = "" if isinstance(problem["input"], dict) else f" (given: {shortened(repr(problem['input']))})"
    return f"{place}: {message}{given}" if place else f"{message}"


def place_of(content: Any, loc: Sequence[Any]) -> Place:
    """Leave out of pydantic's place `loc` what is no key and no position in `content`.

    Of several ways to do so, that which ends with the last part is taken, then the longest.
    """
    return max(_places(content, tuple(loc)), key=lambda found: (found[1], len(found[0])))[0]


def _places(content: Any, loc: Place) -> list[tuple[Place, bool]]:
    """List every way to walk down `content` along a part of `loc`, and whether it ends with the last part."""
    if not loc:
        return [((), False)]
    first, rest = loc[0], loc[1:]
    found = _places(content, rest)
    is_key = isinstance(content, Mapping) and first in content
    is_position = isinstance(content, list | tuple) and isinstance(first, int) and first < len(content)
    if is_key or is_position:
        below = _places(content[first], rest)
        found += [((first, *place), ends or not rest) for place, ends in below]
    return found


def _shown(place: Place) -> str:
    return shortened(".".join(map(str, place)))


def _keys_at(model: Any, loc: Place) -> set[str]:
    """List the legal keys of the model at pydantic's place `loc` below `model`, as far as the annotations tell."""
    candidates = [model]
    for part in loc:
        following = []
        for candidate in candidates:
            if not (isinstance(candidate, type) and issubclass(candidate, BaseModel)):
                continue
            if isinstance(part, int):
                following.append(candidate)
            for name, info in candidate.model_fields.items():
                if part in (name, info.alias):
                    following.extend(_models_in(info.annotation))
                if name == "kind" and part in get_args(info.annotation):
                    following.append(candidate)  # the discriminator of a union repeats in `loc`
        if following:
            candidates = following
    keys: set[str] = set()
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            keys |= {info.alias or name for name, info in candidate.model_fields.items()}
    return keys


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in _models_in(part)]
