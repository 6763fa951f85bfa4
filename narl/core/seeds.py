"""Independent random streams from one seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from narl.core.errors import ConfigError


def derive_seed(seed: int, *purpose: object) -> int:
    """Derive a 63-bit seed that depends on `seed` and on what it is for, and on nothing else."""
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_numbers(seeds: int | Sequence[int], first: int) -> tuple[int, ...]:
    """List `seeds` themselves, or so many from `first` on.

    Raises:
        ConfigError: no seed, one given twice, or one below 0.
    """
    numbers = tuple(range(first, first + seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or len(set(numbers)) != len(numbers) or min(numbers) < 0:
        raise ConfigError(f"seeds must be a number above 0, or distinct whole numbers from 0 on, got {seeds}")
    return numbers
