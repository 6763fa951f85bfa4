"""What every test of a method builds it from."""

from __future__ import annotations

import torch

from narl.core.point import Point
from narl.methods.base import Ingredients
from narl.methods.catalogue import halves_of


def ingredients_of(
    point: Point, *, size: int = 32, private_outputs: int = 5, learning_rate: float = 1e-3, halves=None
) -> Ingredients:
    """For a binary useful label, in float32 on the CPU; `halves` are the method's own by default."""
    return Ingredients(
        point=point,
        halves=halves or halves_of(point, size),
        utility_outputs=1,
        private_outputs=private_outputs,
        learning_rate=learning_rate,
        precision_setting="float32",
        device=torch.device("cpu"),
    )
