"""A search's folder and MLflow's may have any name that a folder can have."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from example_search import make_search
from mlflow import MlflowClient

from narl.search.folder import SearchFolder
from narl.storage.databases import sqlite_path, sqlite_url
from narl.tracking.connection import default_uri
from narl.tracking.mirror import MLflowMirror


@pytest.mark.parametrize("name", ["per%cent%41", "what?", "a#b", "a b", "naïve", "plain"])
def test_study_and_mlflow_and_its_files_lie_where_they_should(name, tmp_path, monkeypatch, empty_database):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert sqlite_path(sqlite_url(folder / "study.db")) == folder / "study.db"
    MLflowMirror("digits", ("delta", "client_gflops"), {}).finish(make_search(3))
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert ("narl/digits",) in database.execute("SELECT name FROM experiments").fetchall()
    assert list(tmp_path.rglob("mlflow.db")) == [folder / "mlflow.db"]
    assert list((folder / "mlruns").rglob("front.png"))
    client = MlflowClient(default_uri())
    (experiment,) = client.search_experiments(filter_string="name = 'narl/digits'")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`narl.search` = 'digits'")
    assert "front.png" in {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert SearchFolder(folder / "digits").study_url.startswith("sqlite:///")
