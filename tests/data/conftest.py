from __future__ import annotations

from pathlib import Path

import pytest
from small_data import write_images


@pytest.fixture
def animals(tmp_path) -> Path:
    """A folder with eight cats and six dogs."""
    write_images(tmp_path / "animals" / "cat", 8, seed=1)
    write_images(tmp_path / "animals" / "dog", 6, seed=2)
    return tmp_path / "animals"
