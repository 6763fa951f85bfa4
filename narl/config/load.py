"""YAML files to checked models: one clear message for everything that can be wrong in them."""

from __future__ import annotations

from os.path import isdir
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from narl.config.plain_yaml import parse
from narl.config.problems import explained
from narl.core.addresses import without_credentials
from narl.core.errors import ConfigError, did_you_mean, shortened
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
            without_credentials(
                explained(model, problem, content), *(v for v in [problem["input"]] if isinstance(v, str))
            )
            for problem in error.errors()[:MOST_PROBLEMS]
        ]
        if (more := error.error_count() - len(lines)) > 0:
            lines.append(f"and {more} more")
        raise ConfigError(f"{where}: " + "; ".join(lines)) from error
