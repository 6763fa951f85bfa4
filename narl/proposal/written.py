"""Pipeline and search space as YAML with comments that say where each value comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from narl.config.pipeline import TO_SORT
from narl.core.errors import shortened
from narl.core.printable import printable
from narl.data.labelled import Labelled
from narl.data.splits import SPLITS
from narl.evaluation.intervals import known_to
from narl.proposal.numbers import STEPS, steps_an_epoch
from narl.proposal.roles import Roles, floor_of

WIDTH = 120


def rests_on(labelled: Labelled, split: str) -> str:
    """Write how many images the accuracies of a split rest on, and how well that makes them known."""
    count = len(labelled.indices[split])
    return f"{split} {count} images: an accuracy is known to ± {known_to(count):.0f} points (95 %)"


def pipeline_text(
    content: dict[str, Any], labelled: Labelled, roles: Roles, *, how: Sequence[str], pictures: tuple[int, int]
) -> str:
    """Write a pipeline.

    Args:
        content: of the file, key by key.
        how: the source is read, a line each.
        pictures: median width and height, pixels.
    """
    others = [column for column in roles.columns if column not in (roles.utility, roles.private, roles.group)]
    counts = " + ".join(str(len(labelled.indices[split])) for split in SPLITS)
    column, private = roles.utility, roles.private
    if TO_SORT in _map(content):
        useful = [
            f"The useful label: what the server is meant to read. There is one label alone, {_quoted(private.name)}, so this",
            "one has to be made from its classes. Say what it is called, rename its values as you like, move every class",
            f"to one of them and delete the line {TO_SORT!r}: until then nothing runs.",
        ]
    else:
        useful = [f"The useful label, which the server is meant to read: {roles.why['utility']}."]
        if column is not None and not _map(content):
            floor = floor_of(labelled.source, column.name, private.name)
            useful.append(f"It alone tells {floor:.1f} % of the private one: Δ cannot exceed {100 - floor:.1f} points.")
    hidden = [f"The private label, which nobody is meant to read: {roles.why['private']}."]
    for other in others[:10]:
        hidden.append(f"Another column: {_quoted(other.name)}, {_described(len(other.classes), other.unfit)}.")
    return _document(
        "How these images flow: what is read, what is hidden, who trains and who tests. Paths are relative to this file.",
        content,
        {
            "source": [f"{line[:1].upper()}{line[1:]}." for line in how],
            "utility": useful,
            "private": hidden,
            "splits": [
                f"{' + '.join(SPLITS)}: {counts} images. The search chooses on validation images,",
                "narl train reports on test images.",
                *(rests_on(labelled, split) for split in SPLITS[1:]),
                roles.why.get(
                    "group", "If images belong together (one person, one video), name their column: group: …"
                ),
            ],
            "image": [
                f"Squares of so many pixels a side; your pictures have {pictures[0]} x {pictures[1]} (median). Costs grow as "
                "the square.",
            ],
            "augment": [
                "Training images are shifted by so many pixels. flip: true mirrors them too; not if they show text."
            ],
        },
    )


def space_text(content: dict[str, Any], labelled: Labelled) -> str:
    """Write a search space."""
    train, training = len(labelled.indices["train"]), content["training"]
    steps = training["epochs"] * steps_an_epoch(train, training["batch_size"])
    return _document(
        "What to search: which client hides the private label, still shows the useful one, and costs little?",
        content,
        {
            "architectures": ["Small networks for weak devices. Others, with what they cost: narl profile"],
            "sigma": [
                "Noise of training, in units of the features: from 1/8 of the distance between two images' features to 1/1.5,",
                "measured on a sample with untrained clients. That of the trained client is chosen afterwards (best).",
            ],
            "lambda": ["Weight of hiding against being useful: three decades, as nobody knows before."],
            "trials": ["So many at most, and none starts after so many minutes; narl search … --resume goes on."],
            "training": [f"{steps} optimiser steps, about {STEPS} whatever the number of images ({train} train)."],
            "attack": ["Brief, for a search: narl train and narl evaluate have adversaries of their own patience."],
        },
    )


def _described(classes: int, unfit: str) -> str:
    return f"{classes} classes" if not unfit else f"no label: {shortened(printable(unfit), 200)}"


def _map(content: dict[str, Any]) -> dict[str, Any]:
    return content["utility"].get("map", {}) if isinstance(content["utility"], dict) else {}


def _quoted(name: str) -> str:
    return shortened(repr(name), 60)


def _document(head: str, content: dict[str, Any], comments: dict[str, Any]) -> str:
    lines = [f"# {head}"]
    for key, value in content.items():
        lines += [f"# {printable(line)}" for line in comments.get(key, ())]
        lines.append(_entry(key, value))
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any) -> str:
    """Write a key on one line if it is short and holds nothing nested, else what is below it line by line."""
    line = _flow({key: value})[1:-1]
    nested = isinstance(value, dict) and any(isinstance(item, dict | list) for item in value.values())
    if not isinstance(value, dict | list) or (len(line) <= WIDTH and not nested):
        return line
    below = [f"- {_flow([item])[1:-1]}" for item in value] if isinstance(value, list) else _entries(value)
    return "\n".join([f"{_flow([key])[1:-1]}:", *(f"  {row}" for entry in below for row in entry.split("\n"))])


def _entries(content: dict[str, Any]) -> list[str]:
    return [_entry(key, value) for key, value in content.items()]


def _flow(value: Any) -> str:
    """Write a value as YAML on one line, however long."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, sort_keys=False, width=float("inf")
    )
    return str(text).strip()


class _Dumper(yaml.SafeDumper):
    """Quotes and escapes what is not printable: YAML folds line ends of every kind, U+0085 and U+2028 too."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"'
    ),
)
