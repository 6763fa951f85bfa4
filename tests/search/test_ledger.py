from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import time

import pytest
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st

from narl.core.errors import NarlError
from narl.search.ledger import Ledger, read_ledger


def test_append_then_read(tmp_path, record):
    ledger = Ledger(tmp_path / "a" / "ledger.jsonl")
    records = [record(2), record(0, error="boom"), record(1)]
    for r in records:
        ledger.append(r)
    assert read_ledger(ledger.path) == records
    assert Ledger(ledger.path).records == [records[1], records[2], records[0]]


def test_a_trial_is_recorded_once(tmp_path, record):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(record(0))
    with pytest.raises(ValueError, match="trial 0"):
        ledger.append(record(0))


@given(cut=st.integers(0, 10_000))
def test_a_cut_anywhere_loses_at_most_the_line_it_cut(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    ledger = Ledger(path)
    for i in range(3):
        ledger.append(make_record(i))
    data = path.read_bytes()
    cut %= len(data) + 1
    path.write_bytes(data[:cut])
    survivors = data[:cut].count(b"\n")
    reopened = Ledger(path)
    assert [r.trial_id for r in reopened.records] == list(range(survivors))
    reopened.append(make_record(9))
    assert [r.trial_id for r in read_ledger(path)] == [*range(survivors), 9]


def test_a_damaged_line_is_named(tmp_path, record):
    path = tmp_path / "ledger.jsonl"
    Ledger(path).append(record(0))
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(NarlError, match="line 2"):
        read_ledger(path)


def _append_for_ever(path):
    ledger = Ledger(path)
    for i in range(100_000):
        ledger.append(make_record(i))


def test_kill_9_leaves_a_readable_ledger(tmp_path):
    path = tmp_path / "ledger.jsonl"
    process = multiprocessing.get_context("fork").Process(target=_append_for_ever, args=(path,))
    process.start()
    while not path.exists() or path.stat().st_size < 20_000:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    ids = [r.trial_id for r in read_ledger(path)]
    assert ids == list(range(len(ids))) and len(ids) > 5


def lines_of(*records) -> str:
    return "".join(json.dumps(record.to_json()) + "\n" for record in records)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([make_record(0), make_record(1), make_record(0)], "line 3: .*trial 0 is recorded twice"),
        ([make_record(0, utility=8355)], "line 1: .*utility is 8355 %, not 0 to 100"),
        ([make_record(0), make_record(1, repeats="0")], "line 2: .*trial 1 repeats trial 0, which is no failed trial"),
        ([make_record(1, repeats="0"), make_record(0, error="boom")], "line 1: .*repeats trial 0, which is no failed"),
        ([make_record(0, error="boom"), make_record(1, sigma=2, repeats="0")], "line 2: .*of this configuration"),
        ([make_record(1, repeats="none")], "line 1: .*invalid literal"),
    ],
)
def test_a_ledger_that_contradicts_itself_is_refused_by_line(tmp_path, records, words):
    path = tmp_path / "ledger.jsonl"
    path.write_text(lines_of(*records))
    for read in (read_ledger, Ledger):
        with pytest.raises(NarlError, match=re.escape(str(path)) + ", " + words):
            read(path)


def test_a_failed_trial_and_its_repetition_are_no_contradiction(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(lines_of(make_record(0, error="boom"), make_record(1, repeats="0")))
    assert len(read_ledger(path)) == 2
