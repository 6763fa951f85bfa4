"""Numbers of answers to one image that an attacker may average."""

from __future__ import annotations

import math

QUERIES = (1, 4, 16, 64, 256, math.inf)


def name_of(queries: float) -> str:
    """Write a number of answers: `16`, or `∞`."""
    return "∞" if math.isinf(queries) else f"{queries:g}"
