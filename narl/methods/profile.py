"""What clients cost before any training, by architecture and split point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
        return {**head, **asdict(self.cost), "feature_shape": list(self.feature_shape)}


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
    archs, splits = [arch] if isinstance(arch, str) else arch, [split] if isinstance(split, int) else split
    check_dtype(dtype)
    if method not in METHODS:
        raise ConfigError(unknown_name("method", method, METHODS))
    if splits and not METHODS[method].uses_split:
        raise ConfigError(f"method {method} has no split points: leave --split out")
    rows: list[ClientProfile] = []
    skipped: dict[str, None] = {}
    for name in archs or ZOO:
        for number in splits or (architecture(name).split_points if METHODS[method].uses_split else (0,)):
            try:
                halves = halves_of(Point(arch=name, split=number, sigma=0.0, lambda_=0.0, method=method), size)
                rows.append(ClientProfile(name, number, size, halves.cost(dtype), halves.feature_shape))
            except ConfigError as error:
                if archs:
                    raise
                skipped[str(error)] = None
    if not rows:
        raise ConfigError("no network fits: " + "; ".join(skipped))
    for reason in skipped:
        on_skipped(reason)
    return rows
