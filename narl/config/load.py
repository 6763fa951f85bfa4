"""YAML files to checked models: one clear message for everything that can be wrong in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os.path import isdir
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from narl.config.plain_yaml import parse
from narl.core.addresses import without_credentials
from narl.core.errors import ConfigError, did_you_mean, shortened, unknown_name
from narl.core.paths import user_path

# At most so many problems of a file are reported at once.
MOST_PROBLEMS = 10

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no path at all
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*")]) if isdir(path.parent) else ""
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ConfigError(f"cannot read {path}: {reason}{near}") from error
    try:
        content = parse(text)
    except yaml.YAMLError as error:
        reason = shortened(without_credentials(" ".join(str(error).split())))
        raise ConfigError(f"{path} is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {type(content).__name__}")
    return content


class Loadable(Protocol):
    """A model that a YAML file can hold whole."""

    @classmethod
    def load(cls, path: Path | str) -> Self: ...


Loaded = TypeVar("Loaded", bound=Loadable)


def loaded(model: type[Loaded], given: Loaded | Path | str) -> Loaded:
    """Return `given`, or load the YAML file of that name.

    Raises:
        ConfigError: unreadable file, illegal content, or something else.
    """
    if isinstance(given, Path | str):
        return model.load(user_path(given))
    if not isinstance(given, model):
        raise ConfigError(f"expected a {model.__name__} or the path of a YAML file, got {type(given).__name__}")
    return given


def build(model: type[Model], content: Any, where: str) -> Model:
    """Build a checked `model` from `content`.

    Raises:
        ConfigError: with one line per problem, each naming the place and, for a key, the nearest legal one.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [
            without_credentials(_explain(model, problem), *(v for v in [problem["input"]] if isinstance(v, str)))
            for problem in error.errors()[:MOST_PROBLEMS]
        ]
        if (more := error.error_count() - len(lines)) > 0:
            lines.append(f"and {more} more")
        raise ConfigError(f"{where}: " + "; ".join(lines)) from error


def _explain(model: type[BaseModel], problem: Mapping[str, Any]) -> str:
    place = shortened(".".join(str(part) for part in problem["loc"]))
    if problem["type"] == "extra_forbidden":
        allowed = _keys_at(model, problem["loc"][:-1])
        listed = f" (allowed: {', '.join(sorted(allowed))})" if allowed else ""
        return f"unknown key {place!r}{did_you_mean(problem['loc'][-1], allowed)}{listed}"
    if problem["type"] == "missing":
        return f"missing key {place!r}"
    if problem["type"] == "union_tag_invalid":
        tags = [tag.strip("'") for tag in problem["ctx"]["expected_tags"].split(", ")]
        return f"{place}: {unknown_name('kind', problem['ctx']['tag'], tags)}"
    if problem["type"] == "literal_error":
        choices = [choice.strip("'") for choice in re.split(", | or ", problem["ctx"]["expected"])]
        return f"{place}: {unknown_name('value', problem['input'], choices)}"
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], dict) else f" (given: {shortened(repr(problem['input']))})"
    return f"{place}: {message}{given}" if place else f"{message}"


def _keys_at(model: Any, loc: tuple[Any, ...]) -> set[str]:
    """List the legal keys of the model at `loc` below `model`, as far as the annotations tell."""
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
