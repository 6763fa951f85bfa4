"""Records that look like those of a real search, and a database for them."""

from __future__ import annotations

import pytest
from example_search import make_record, make_search


@pytest.fixture
def record():
    return make_record


@pytest.fixture
def search():
    return make_search


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database with its tables made, which takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
