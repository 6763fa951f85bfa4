"""Latency that was measured on a device: a budget of answers, a budget and an objective of a search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from toy import affordable, measure, toy_space

import narl
from narl.cli.main import main
from narl.config.measured import Measured
from narl.core.errors import ConfigError, NothingFeasible
from narl.core.front_so_far import FrontSoFar
from narl.core.objectives import to_minimise
from narl.core.point import Point
from narl.core.records import TrialRecord
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger, read_ledger
from narl.search.session import SearchSession
from narl.search.study import SearchStudy
from narl.search.warm_start import first_points

SPACE = Path(__file__).parents[2] / "search_spaces" / "digits.yaml"


def written(latencies: dict[str, float], size: int = 32, variant: str = "float32") -> dict:
    rows = [
        {"client": name, "image_size": size, "variant": variant, "latency_ms": ms, "latency_p95_ms": 2 * ms}
        for name, ms in latencies.items()
    ]
    head = {"format": "narl-measured", "format_version": 1, "date": "2026-01-01", "device": {"cpu": "a phone"}}
    return {**head, "runtime": {}, "threads": 1, "runs": 200, "clients": rows}


EVERY = {f"resnet18/{k}": 2.0 * k for k in (1, 2, 3, 4)} | {f"mobilenet_v2/{k}": k / 2 for k in (2, 5, 9)}


def space_of(latencies=EVERY, **changes):
    objectives = ["delta", "client_latency_ms"]
    return toy_space(measured=written(latencies), objectives=objectives, **changes)


def test_latency_needs_a_measurement_of_every_client():
    with pytest.raises(ConfigError, match="client_latency_ms needs the key 'measured'"):
        toy_space(objectives=["delta", "client_latency_ms"])
    with pytest.raises(ConfigError, match="client_latency_ms needs the key 'measured'"):
        toy_space(budgets={"client_latency_ms": 3})
    lacking = {name: ms for name, ms in EVERY.items() if name not in ("resnet18/1", "resnet18/3")}
    command = "narl profile --measure --arch resnet18 --split 1 3 --size 32 --format json"
    with pytest.raises(ConfigError, match=f"a phone lack resnet18/1; resnet18/3 .*: {command}"):
        affordable(space_of(lacking))
    other = Measured.model_validate(written(EVERY, size=64))
    assert other.latency_ms(Point(arch="resnet18", split=1, sigma=1, lambda_=0), 32) is None
    smaller = Measured.model_validate(written(EVERY, variant="int8"))  # whose accuracy no search measures
    assert smaller.latency_ms(Point(arch="resnet18", split=1, sigma=1, lambda_=0), 32) is None


def test_clients_that_run_more_have_a_latency_of_their_own():
    method = {"narl": {"noise": ["fresh", "keyed"]}}
    with pytest.raises(ConfigError, match=r"lack .*resnet18/1\+keyed"):
        affordable(space_of(method=method))
    both = EVERY | {f"{name}+keyed": ms + 100 for name, ms in EVERY.items()}
    with pytest.raises(ConfigError, match="no client of the space is within"):  # either noise may be proposed
        affordable(space_of(both, method=method, budgets={"client_latency_ms": 50}))
    maxent = {"method": {"maxent": {"dimension": [64, 128]}}, "sigma": None, "lambda": None}
    with pytest.raises(ConfigError, match="maxent:resnet18/1 dimension 64; maxent:resnet18/1 dimension 128"):
        affordable(space_of(**maxent))


def test_a_budget_cuts_the_space():
    space = affordable(space_of(budgets={"client_latency_ms": 3}))
    assert space.parts["narl"].split_points == {"resnet18": (1,), "mobilenet_v2": (2, 5)}


@pytest.mark.parametrize("sampler", ["tpe", "front"])
def test_every_record_has_the_latency_of_its_client(tmp_path, sampler):
    space = affordable(space_of(sampler=sampler, trials=6))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    study = SearchStudy(name="toy", url=f"sqlite:///{tmp_path / 'study.db'}", space=space, ledger=ledger)
    session = SearchSession(study, ledger, trials=6)
    while proposal := session.propose():
        number, config = proposal
        assert session.front_for(config).latency_ms == EVERY[config.client]
        outcome = measure(config, space)
        del outcome["metrics"]["cost"]["client_latency_ms"]  # which no worker knows
        session.complete(number, outcome)
    records = read_ledger(tmp_path / "ledger.jsonl")
    assert [r.measured.value("client_latency_ms") for r in records] == [EVERY[r.config.client] for r in records]
    assert records and all("client_latency_ms" in r.measured.scalars() for r in records)


def test_a_search_begins_with_the_front_of_one_that_measured_no_latency(record):
    """Of the other's clients that this device ran, the one that is best for its latency."""
    found = [record(0, split=1, utility=70), record(1, split=2, utility=90), record(2, split=3, utility=80)]
    other = record(3, arch="vgg11_bn", split=1, utility=99)
    first = first_points(affordable(space_of(trials=20)), [*found, other])
    assert [point.split for point in first] == [1, 2]


def test_a_worker_compares_its_client_with_the_front_by_latency(record):
    slow = record(0, utility=90, leakage=30).measured.with_latency(9.0)
    front = FrontSoFar(["delta", "client_latency_ms"], [to_minimise(slow, ["delta", "client_latency_ms"])])
    worse = record(1, utility=80, leakage=30).measured
    for latency, excluded in ((10.0, True), (8.0, False)):
        content = FrontSoFar(front.objectives, front.rows, latency_ms=latency).to_json()
        assert FrontSoFar.from_json(json.loads(json.dumps(content))).excludes(worse) == excluded


def test_the_file_is_read_where_the_space_lies_and_changes_what_is_searched(tmp_path):
    (tmp_path / "phone.json").write_text(json.dumps(written({"mobilenet_v3_small/3": 1.5})))
    content = yaml.safe_load(SPACE.read_text()) | {"pipeline": str(SPACE.parents[1] / "pipelines" / "digits.yaml")}
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "timed.yaml").write_text(yaml.safe_dump(content | {"measured": "phone.json"}))
    plain, timed = (narl.SearchSpace.load(tmp_path / f"{name}.yaml") for name in ("plain", "timed"))
    assert timed.measured.clients[0].latency_ms == 1.5 and plain.content_hash != timed.content_hash
    folder = SearchFolder(tmp_path / "digits")
    folder.save_space(timed)
    assert folder.load_space() == timed
    (tmp_path / "phone.json").write_text("[1")
    with pytest.raises(ConfigError, match=r"phone\.json is not JSON"):
        narl.SearchSpace.load(tmp_path / "timed.yaml")


@pytest.fixture
def recorded(record, tmp_path):
    """A search of three trials: the better, the slower."""
    folder = SearchFolder(tmp_path / "runs" / "digits")
    folder.save_space(narl.SearchSpace.load(SPACE))
    ledger = Ledger(folder.ledger_path)
    for number, (split, utility) in enumerate([(1, 70), (2, 80), (3, 90)]):
        ledger.append(record(number, split=split, utility=utility))
    size = folder.load_space().pipeline.image.size
    times = {f"resnet18/{split}": 2.0 * split for split in (1, 2, 3)}
    (tmp_path / "phone.json").write_text(json.dumps(written(times, size)))
    (tmp_path / "some.json").write_text(json.dumps(written({"resnet18/1": 2.0}, size)))
    return folder


def test_the_best_within_a_latency(recorded, tmp_path, capsys):
    phone = tmp_path / "phone.json"
    assert narl.best_config(recorded, budget_latency_ms=4.5, measured=phone).found_by.trial_id == 1
    with pytest.raises(NothingFeasible, match="client_latency_ms <= 1"):
        narl.best_config(recorded, budget_latency_ms=1, measured=phone)
    asked = ["best-config", "--runs", str(recorded.path.parent), "--budget-latency-ms", "4.5"]
    assert main([*asked, "--measured", str(phone)]) == 0
    shown = capsys.readouterr().out
    assert "trial 1" in shown and "4 ms" in shown
    assert main(asked) == 2
    assert "--measured" in capsys.readouterr().err
    assert main([*asked, "--measured", str(tmp_path / "some.json")]) == 2
    assert "resnet18/2; resnet18/3" in capsys.readouterr().err
    assert main([*asked, "--measured", str(tmp_path / "none.json")]) == 2
    assert "none.json: No such file" in capsys.readouterr().err


def test_a_record_without_latency_is_written_as_before(record):
    row = record(0).to_json()
    assert "client_latency_ms" not in row["metrics"]["cost"]
    assert TrialRecord.from_json(row) == record(0)
