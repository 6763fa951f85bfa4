"""Class names to label numbers, as a `LabelSpec` says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from narl.config.pipeline import LabelSpec
from narl.core.errors import DataError, did_you_mean, shortened, unknown_name

FEWEST = 3  # one image each for train, validation and test


def encode_labels(
    spec: LabelSpec, columns: Mapping[str, Sequence[str]], *, key: str = "label"
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the label values in order, and the int64 [N] position of every image's value among them.

    Without a map the values are the class names in natural order ("2" before "10"); with one, its keys in its order.

    Args:
        key: of the label in the pipeline's file, `utility` or `private`, for messages.

    Raises:
        DataError: an unknown column, a map that does not fit the classes, or a value with fewer than 3 images.
    """
    if spec.column not in columns:
        place = key if spec.column == spec.name else f"{key}.column"  # a plain string is short for both
        raise DataError(f"{place}: {unknown_name('column', spec.column, columns)}")
    names = columns[spec.column]
    if spec.map is None:
        values, labels = number_classes(names)
    else:
        values = tuple(spec.map)
        present = sorted(set(names), key=natural_order)
        value_of = {_meant(name, present): value for value, classes in spec.map.items() for name in classes}
        _check_map(key, value_of, present)
        number = {value: i for i, value in enumerate(values)}
        labels = np.array([number[value_of[name]] for name in names], dtype=np.int64)
    if len(values) < 2:
        raise DataError(
            f"{key}: column {spec.column!r} has the one value {', '.join(map(shortened, values))}; there is nothing to tell apart"
        )
    counts = Counter(labels.tolist())
    for i, value in enumerate(values):
        if counts[i] < FEWEST:
            raise DataError(f"{key}: value {shortened(value)!r} has {counts[i]} images, needs at least {FEWEST}")
    return values, labels


def number_classes(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the classes among the N `names` in natural order, and the int64 [N] position of every image's class."""
    classes = tuple(sorted(set(names), key=natural_order))
    number = {name: i for i, name in enumerate(classes)}
    return classes, np.array([number[name] for name in names], dtype=np.int64)


def natural_order(name: str) -> tuple[list[object], str]:
    """Make a sort key under which numbers within names compare by value, and which no two names share."""
    parts: list[object] = re.split(r"([0-9]+)", name)
    for i in range(1, len(parts), 2):  # not `int`, which refuses numbers of thousands of digits
        digits = str(parts[i]).lstrip("0")
        parts[i] = (len(digits), digits)
    return parts, name


def _meant(name: str, present: Sequence[str]) -> str:
    """Find the one class that a map's name can mean: itself, or the only one that is the same number or truth value."""
    if name in present:
        return name
    same = [other for other in present if _value(other) is not None and _value(other) == _value(name)]
    return same[0] if len(same) == 1 else name


def _value(name: str) -> float | str | None:
    if name.casefold() in ("true", "false"):
        return name.casefold()
    return float(name) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", name) else None


def _check_map(key: str, value_of: Mapping[str, str], present: Sequence[str]) -> None:
    for name in value_of:
        if name not in present:
            raise DataError(f"{key}.map: it names an {unknown_name('class', name, present)}")
    for name in present:
        if name not in value_of:
            near = did_you_mean(name, value_of)
            raise DataError(f"{key}.map: class {shortened(name)!r} is in no list of it{near}")
