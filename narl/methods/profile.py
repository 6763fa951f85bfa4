"""What clients cost before any training, by architecture and split point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from narl.core.errors import ConfigError, unknown_name
from narl.core.method_options import METHODS
from narl.core.point import Point
from narl.core.records import ClientCost
from narl.methods.catalogue import halves_of
from narl.models.cost import check_dtype
from narl.models.zoo import ZOO, architecture


@dataclass(frozen=True)
class ClientProfile:
    """One client.

    Attributes:
        split: 0: the method has no split points.
        size: side of the square images in pixels.
        feature_shape: (C, h, w) of what is sent.
    """

    arch: str
    split: int
    size: int
    cost: ClientCost
    feature_shape: tuple[int, int, int]

    def to_json(self) -> dict[str, Any]:
        """Give a flat row: costs by name, as `narl profile --format json` prints it."""
        head = {"arch": self.arch, "split": self.split, "size": self.size}
        return {**head, **self.cost.known, "feature_shape": list(self.feature_shape)}


def profile(
    arch: str | Sequence[str] | None = None,
    split: int | Sequence[int] | None = None,
    *,
    size: int = 178,
    method: str = "narl",
    dtype: str = "float32",
    on_skipped: Callable[[str], object] = lambda reason: None,
) -> list[ClientProfile]:
    """Count what a method's client pays for one image, for every architecture and split point that is asked for.

    What is named must be legal. Of the whole zoo, what does not fit the size or lacks a split is skipped.

    Args:
        arch: networks; None: the whole zoo.
        split: split points; None: every one.
        size: side of the square images in pixels.
        method: whose client, with default settings.
        dtype: how features are sent: float32, float16 or int8.
        on_skipped: hears why something was skipped.

    Raises:
        ConfigError: a network, split point, size, method or dtype that is not legal, or nothing to show.
    """
    check_dtype(dtype)
    points = clients(arch, split, size=size, method=method, on_skipped=on_skipped)
    halves = [(point, halves_of(point, size)) for point in points]
    return [ClientProfile(p.arch, p.split, size, half.cost(dtype), half.feature_shape) for p, half in halves]


def clients(
    arch: str | Sequence[str] | None = None,
    split: int | Sequence[int] | None = None,
    *,
    size: int,
    method: str = "narl",
    on_skipped: Callable[[str], object] = lambda reason: None,
) -> list[Point]:
    """List the clients that `profile` counts; of a method with σ and λ, these are 1 and 0.

    Raises:
        ConfigError: see `profile`.
    """
    archs, splits = [arch] if isinstance(arch, str) else arch, [split] if isinstance(split, int) else split
    if method not in METHODS:
        raise ConfigError(unknown_name("method", method, METHODS))
    options = METHODS[method]
    if splits and not options.uses_split:
        raise ConfigError(f"method {method} has no split points: leave --split out")
    found: list[Point] = []
    skipped: dict[str, None] = {}
    for name in archs or ZOO:
        for number in splits or (architecture(name).split_points if options.uses_split else (0,)):
            try:
                point = Point(arch=name, split=number, sigma=float(options.uses_sigma), lambda_=0.0, method=method)
                halves_of(point, size)
                found.append(point)
            except ConfigError as error:
                if archs:
                    raise
                skipped[str(error)] = None
    if not found:
        raise ConfigError("no network fits: " + "; ".join(skipped))
    for reason in skipped:
        on_skipped(reason)
    return found
