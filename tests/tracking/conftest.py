"""Records that look like those of a real search."""

from __future__ import annotations

import pytest
from example_search import make_record, make_search


@pytest.fixture
def record():
    return make_record


@pytest.fixture
def search():
    return make_search
