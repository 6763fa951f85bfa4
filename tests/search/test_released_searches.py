"""A search of version 0.2, four trials on digits: what it recorded is read, and what it lacks is shown as lacking."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from narl.cli.main import main
from narl.core.errors import ConfigError
from narl.search.folder import SearchFolder
from narl.search.ledger import read_ledger

RELEASED = Path(__file__).parent / "released_0_2"


@pytest.fixture
def released(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NARL_RUNS", str(RELEASED))
    return read_ledger(RELEASED / "golden" / "ledger.jsonl")


def test_every_record_is_read_whole(released):
    lines = (RELEASED / "golden" / "ledger.jsonl").read_text().splitlines()
    assert len(released) == len(lines) == 4
    for record, line in zip(released, map(json.loads, lines), strict=True):
        now = record.to_json()
        for then, same in ((line, now), (line["metrics"], now["metrics"]), (line["config"], now["config"])):
            for name in then.keys() - {"metrics", "config"}:
                assert same[name] == then[name]


def test_what_it_lacks_is_lacking(released):
    for record in released:
        assert record.measured.sigma_profile == () and record.measured_point == record.config
        assert record.measured.leakage_bound is None and "–" not in record.leakage_bracket
        with pytest.raises(ConfigError, match="was not measured"):
            record.measured.value("delta_certified")


def test_its_questions_are_answered(released, capsys):
    assert main(["pareto", "--format", "json"]) == 0
    assert {row["trial"] for row in json.loads(capsys.readouterr().out)} <= {0, 1, 2, 3}
    assert main(["best-config", "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    best = max(released, key=lambda record: record.measured.delta)
    assert answer["found_by"]["delta"] == best.measured.delta and "leakage_bound" not in answer["found_by"]
    assert answer["attack"]["adversaries"] == ["rest", "mlp"]  # as it was measured, not as it would be now


def test_its_space_is_read_as_it_was(released):
    space = SearchFolder(RELEASED / "golden").load_space()
    assert (space.attack.adversaries, space.attack.queries) == (("rest", "mlp"), (16,))
    assert space.sigma_inference == "trained"
