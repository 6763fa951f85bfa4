from __future__ import annotations

import pytest

from narl.core.errors import ConfigError
from narl.core.seeds import seed_numbers


def test_seeds_are_counted_or_named():
    assert seed_numbers(3, 5) == (5, 6, 7) and seed_numbers([9, 1], 5) == (9, 1)
    for illegal in ([], [1, 1], [-1], -2):
        with pytest.raises(ConfigError, match="seeds"):
            seed_numbers(illegal, 0)
