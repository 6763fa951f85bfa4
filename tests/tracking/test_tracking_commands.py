"""`narl pareto` and `narl sync` on a recorded search."""

from __future__ import annotations

import csv
import io
import json
import socket
from pathlib import Path

import pytest
import yaml
from example_pipelines import DIGITS
from example_records import make_record

from narl.cli.main import main
from narl.config.search_space import SearchSpace
from narl.core.pareto import front_of
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")
SPACE = {
    "name": "digits",
    "pipeline": DIGITS,
    "architectures": {"resnet18": {}},
    "sigma": 0.5,
    "lambda": [0.01, 0.1],
}


@pytest.fixture
def recorded(tmp_path, monkeypatch, search):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NARL_RUNS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = SearchFolder(tmp_path / "narl-runs" / "digits")
    folder.save_space(SearchSpace.model_validate(yaml.safe_load(yaml.safe_dump(SPACE))))
    ledger = Ledger(folder.ledger_path)
    for record in search(20, curves=False):
        ledger.append(record)
    return ledger.records


def test_table_names_front_floor_and_validation(recorded, capsys):
    assert main(["pareto"]) == 0
    shown = capsys.readouterr().out
    front = front_of(recorded, OBJECTIVES)
    assert f"{len(front)} of {sum(r.metrics is not None for r in recorded)} finished trials are on the front" in shown
    for record in front:
        assert f"{record.metrics.delta:.2f}" in shown
    words = " ".join(shown.split())
    assert "validation" in words and "gives away 20 %" in words and "above 80" in words
    assert "…" not in shown


def test_a_front_with_bounds_shows_them_beside_leakage(recorded, capsys):
    ledger = Ledger(SearchFolder(Path("narl-runs") / "digits").ledger_path)
    best = make_record(99, gflops=0.001, memory=0.001, utility=99.0, leakage=24.0, bound=24.62)
    ledger.append(best)
    assert best.leakage_bracket == "24.00–24.62"
    assert main(["pareto"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "24.62" in shown and "nobody who has z alone exceeds it" in shown
    main(["pareto", "--format", "json"])
    assert 24.62 in [row["leakage_bound"] for row in json.loads(capsys.readouterr().out)]


def test_json_and_csv_hold_the_same_front(recorded, capsys):
    main(["pareto", "--name", "digits", "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    main(["pareto", "--format", "csv"])
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["trial"] for row in rows] == [r.trial_id for r in front_of(recorded, OBJECTIVES)]
    assert [{k: str(v) for k, v in row.items()} for row in rows] == table


def test_other_objectives(recorded, capsys):
    main(["pareto", "--objectives", "utility, uplink_kib", "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["trial"] for row in rows] == [r.trial_id for r in front_of(recorded, ("utility", "uplink_kib"))]


@pytest.mark.parametrize("name", ["front.png", "deep/front.html"])
def test_figure(recorded, tmp_path, name, capsys):
    assert main(["pareto", "--figure", str(tmp_path / name), "--format", "json"]) == 0
    assert (tmp_path / name).stat().st_size > 10_000
    json.loads(capsys.readouterr().out)  # the note on the figure is not in the output


def test_concurrency(recorded, tmp_path):
    assert main(["pareto", "--concurrency", str(tmp_path / "busy.png")]) == 0
    assert (tmp_path / "busy.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--objectives", "delta,gflop"], 2, "unknown objective 'gflop'"),
        (["--name", "digit"], 2, "did you mean 'digits'"),
        (["--figure", "front.pdf"], 2, ".png or a .html"),
        (["--concurrency", "busy.svg"], 2, "--concurrency takes a .png file"),
        (["--runs", "nowhere"], 2, "no search in nowhere"),
    ],
)
def test_mistakes_are_one_line(recorded, capsys, arguments, code, message):
    assert main(["pareto", *arguments]) == code
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_search_without_a_finished_trial(recorded, tmp_path, capsys):
    (tmp_path / "narl-runs" / "digits" / "ledger.jsonl").unlink()
    assert main(["pareto"]) == 1
    assert "no finished trial" in capsys.readouterr().err


def test_sync_sends_what_is_missing_then_nothing(recorded, empty_database, tmp_path, capsys):
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    assert main(["sync"]) == 0
    assert "sent 20 of 20 trials" in capsys.readouterr().out
    assert main(["sync"]) == 0
    assert "sent 0 of 20 trials" in capsys.readouterr().out


def test_sync_without_a_server(recorded, monkeypatch, capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:s3cret@127.0.0.1:{port}")
        assert main(["sync"]) == 2
    shown = capsys.readouterr().err
    assert shown == f"narl: MLflow at http://127.0.0.1:{port}: no connection (Connection refused)\n"


def test_sync_leaves_a_running_search_alone(recorded, tmp_path, capsys):
    with SearchFolder(tmp_path / "narl-runs" / "digits").lock():
        assert main(["sync"]) == 2
    assert "driven by another" in capsys.readouterr().err
    assert not (tmp_path / "mlflow.db").exists()
