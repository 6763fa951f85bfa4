"""The page of the three kinds of file, printed from the models that check them: every key, its values, default, meaning."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from docstrings import entries_of, literally, prose_of
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from narl.config import measured, method_space, pipeline, search_space, trial, values
from narl.core.constraints import Constraints
from narl.core.method_options import METHODS
from narl.core.objectives import OBJECTIVES
from narl.core.point import Point
from narl.core.strict import Strict

HEAD = """# Keys of the files

narl reads three kinds of YAML file: a pipeline says how images flow, a search space what to try, and a configuration, as
`narl best-config` prints it, what `narl train` trains. They are read strictly: a key that is not here is an error, with
the nearest name; so is true or false where a number is expected. Paths are relative to the file that they stand in.
"""

# A chapter for each kind of file, then what several have.
CHAPTERS: dict[str, tuple[tuple[type[Strict], str], ...]] = {
    "Pipeline": (
        (pipeline.Pipeline, "A pipeline file"),
        (pipeline.DigitsSource, "source: digits"),
        (pipeline.Cifar10Source, "source: cifar10"),
        (pipeline.CelebASource, "source: celeba"),
        (pipeline.FairFaceSource, "source: fairface"),
        (pipeline.ImageFolderSource, "source: image_folder"),
        (pipeline.TableSource, "source: table"),
        (pipeline.LabelSpec, "utility, private"),
        (pipeline.Splits, "splits"),
        (pipeline.Image, "image"),
        (pipeline.Augment, "augment"),
        (pipeline.Beton, "beton"),
    ),
    "Search space": (
        (search_space.SearchSpace, "A search space file"),
        (method_space.MethodSpace, "method: options"),
        (method_space.Architecture, "architectures: options"),
        (values.Range, "A range"),
        (values.Choices, "A list of values"),
        (Constraints, "constraints"),
        (search_space.Resources, "resources"),
        (measured.Measured, "measured"),
        (measured.MeasuredClient, "measured: clients"),
    ),
    "Configuration": ((trial.TrainConfig, "A configuration file"), (Point, "trial"), (trial.FoundBy, "found_by")),
    "Training and attack": ((trial.Training, "training"), (trial.Attack, "attack")),
}
TITLES = {model: title for models in CHAPTERS.values() for model, title in models}
PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "pattern": "`{}`"}
BOUNDS |= {"min_length": "at least {} of them", "max_length": "at most {} of them"}


@dataclass(frozen=True)
class Key:
    """A key of a file: as it is written, which values are legal, the default, what it means."""

    name: str
    values: str
    default: str
    meaning: str


def page() -> str:
    """Markdown."""
    parts = [HEAD]
    for chapter, models in CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        for model, title in models:
            parts.append(f"### {title}\n\n{literally(prose_of(model.__doc__))}\n")
            parts += [f"`{key.name}`: {key.values}{key.default}\n:   {key.meaning}\n" for key in keys(model)]
    return "\n".join([*parts, *_methods(), *_objectives()])


def keys(model: type[Strict]) -> list[Key]:
    """Every key of a model, in its order."""
    listed = entries_of(model.__doc__, "Attributes")
    said = {name: meaning for names, meaning in listed.items() for name in names.split(", ")}
    return [
        Key(
            field.alias or name,
            _values(field.annotation) + _within(field.metadata),
            "" if field.is_required() else f"; default `{_written(field.default)}`",
            literally(said.get(name, "which of the sources" if name == "kind" else "")),
        )
        for name, field in model.model_fields.items()
    ]


def _values(annotation: Any) -> str:
    """What is legal, in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(inner[0]) + _within(inner[1:])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_values(each) for each in inner)
    if origin is tuple or origin is list:
        return f"list of {_values(inner[0])}"
    if origin is dict:
        return f"mapping of names to {_values(inner[1])}"
    if annotation in TITLES:
        return f"[{TITLES[annotation]}](#{_anchor(TITLES[annotation])})"
    return PLAIN[annotation]


def _within(metadata: Sequence[Any]) -> str:
    """Bounds in brackets."""
    found = [
        words.format(_number(bound))
        for each in metadata
        for limits in (each.metadata if isinstance(each, FieldInfo) else [each])
        for name, words in BOUNDS.items()
        if (bound := getattr(limits, name, None)) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def _number(value: Any) -> str:
    if value == 2**63:
        return "2⁶³"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _written(value: Any) -> str:
    """A default as YAML has it."""
    if isinstance(value, BaseModel):
        return "{}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_written(each)}" for name, each in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _methods() -> Iterator[str]:
    yield "## Methods: their own settings\n\n[What the methods are](../methods.md).\n"
    for name, options in METHODS.items():
        uses = [word for word, used in (("split", options.uses_split), ("sigma", options.uses_sigma)) if used]
        uses += ["lambda"] if options.uses_lambda else []
        uses += ["bound", "clip_rms"] if options.bounds_features else []
        uses += ["noise", "sigma_inference"] if options.noise_on_features else []
        used = f" Uses {', '.join(f'`{each}`' for each in uses)}." if uses else ""
        yield f"### {name}\n\n{literally(options.client)}.{used}\n"
        for setting, about in options.settings.items():
            kind = "whole number" if about.whole else "number"
            yield f"`{setting}`: {kind}, {about.low:g} to {about.high:g}; default `{about.default:.4g}`"
            yield f":   {literally(about.meaning)}\n"


def _objectives() -> Iterator[str]:
    yield "## Objectives and budgets\n\n| name | | unit | |\n|---|---|---|---|"
    for each in OBJECTIVES.values():
        yield f"| `{each.name}` | {each.direction} | {each.unit} | {each.label} |"
    yield "\nBudgets are bounds on costs. `delta_at_queries(16)` (likewise `leakage`, `delta_certified`,"
    yield "`leakage_bound`, `identification`) is against an attacker who averages 16 answers to each image.\n"
