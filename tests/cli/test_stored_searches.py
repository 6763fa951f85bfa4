"""Answers from a search that lies in a bucket: what `narl search --storage` stored is read as a folder of searches is."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from example_pipelines import DIGITS

from narl.cli.main import main
from narl.config.search_space import SearchSpace
from narl.search.archive import Archive
from narl.search.folder import SearchFolder, find_search
from narl.search.ledger import Ledger

SPACE = {"pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": 0.5, "lambda": [0.01, 0.1]}


@pytest.fixture
def stored(tmp_path, monkeypatch, place, record, empty_database):
    """Two searches at `place`, `second` written to last; the folders that they came from are gone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    for name in ("NARL_RUNS", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NARL_CACHE", str(tmp_path / "cache"))
    for name, gflops in (("first", 1.0), ("second", 3.0)):
        folder = SearchFolder(tmp_path / "head" / name)
        folder.save_space(SearchSpace.model_validate(yaml.safe_load(yaml.safe_dump({"name": name} | SPACE))))
        ledger = Ledger(folder.ledger_path)
        for i in range(3):
            ledger.append(record(i, sigma=0.5 + i, gflops=gflops, utility=80 + i))
        Archive(place, folder).finish([])
        if "://" in place:
            time.sleep(1)  # S3 tells times of a second
    (tmp_path / "head").rename(tmp_path / "lost")
    return place


def test_every_question_is_answered_from_there(stored, capsys, tmp_path):
    assert main(["pareto", "--runs", stored, "--format", "json"]) == 0
    assert {row["client_gflops"] for row in json.loads(capsys.readouterr().out)} == {3.0}  # of the one written to last
    assert main(["best-config", "--runs", stored, "--name", "first"]) == 0
    best = yaml.safe_load(capsys.readouterr().out)
    assert (best["found_by"]["search"], best["found_by"]["trial_id"]) == ("first", 2)
    assert main(["sync", "--runs", stored]) == 0
    assert "sent 3 of 3 trials" in capsys.readouterr().out
    assert main(["sync", "--runs", stored]) == 0  # MLflow is rebuilt from the ledger, once
    assert "sent 0 of 3 trials" in capsys.readouterr().out
    assert main(["export", "--runs", stored, "--budget-gflops", "0.001", "--to", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "narl-runs").exists()


def test_it_may_be_named_by_the_environment(stored, capsys, monkeypatch):
    monkeypatch.setenv("NARL_RUNS", stored)
    assert main(["pareto", "--name", "first"]) == 0


def test_an_answer_is_of_what_is_there_now(stored, tmp_path, record):
    find_search(stored, "first")
    folder = SearchFolder(tmp_path / "lost" / "first")
    Ledger(folder.ledger_path).append(record(3))
    Archive(stored, folder).finish([])
    for name in ("first", None):  # it is the newest now, too
        there = find_search(stored, name)
        assert (there.name, there.ledger_path.read_bytes()) == ("first", folder.ledger_path.read_bytes())


def test_what_is_not_there_is_said_in_one_line(stored, capsys, tmp_path):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s"} | SPACE))
    for argv, reason in {
        ("pareto", "--runs", stored, "--name", "frist"): "did you mean 'first'?",
        ("pareto", "--runs", stored, "--name", "../first"): "no name of a stored file",
        ("pareto", "--runs", "s3://"): "no bucket name",
        ("pareto", "--runs", "gs://bucket/prefix"): "unknown kind of store",
        ("search", str(tmp_path / "s.yaml"), "--runs", "s3://bucket/prefix"): "give that as --storage",
    }.items():
        if argv[-1] == "../first" and "://" not in stored:
            continue
        assert main(list(argv)) == 2, argv
        (line,) = capsys.readouterr().err.splitlines()
        assert reason in line and "endpoint_override" not in line


def test_a_search_is_not_driven_in_a_bucket(capsys, monkeypatch, tmp_path):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s"} | SPACE))
    monkeypatch.setenv("NARL_RUNS", "s3://bucket/prefix")
    assert main(["search", str(tmp_path / "s.yaml")]) == 2
    assert "give that as --storage" in capsys.readouterr().err
