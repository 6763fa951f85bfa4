"""What another process is told of a running search."""

from __future__ import annotations

import json
import time

import pytest
from bench import IN_MEMORY, Bench
from toy import measure, toy_space

from narl.search.status import BEAT, SILENT, STATUS, StatusFile, read_status


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_another_process_sees_what_runs_and_that_it_has_ended(tmp_path):
    observer = StatusFile(tmp_path)
    bench = Bench(tmp_path, toy_space(), url=IN_MEMORY, observers=(observer,))
    with observer.kept():
        trial_id, config = bench.session.propose()
        bench.session.progress(trial_id, "train", 1, "epoch 2 of 6: task loss 0.5")
        bench.session.notice("node 10.0.0.7 gets no more trials")
        shown = until(lambda: (s := read_status(tmp_path)) and s.notices and s)
        assert dict(shown.running) == {trial_id: (config, "train, epoch 2 of 6: task loss 0.5")}
        assert shown.notices == ("node 10.0.0.7 gets no more trials",) and shown.is_driven
        bench.session.complete(trial_id, measure(config, bench.space))
        assert until(lambda: not read_status(tmp_path).running)
    last = read_status(tmp_path)
    assert last.ended and not last.is_driven


def test_a_driver_that_is_silent_for_long_is_gone(tmp_path):
    observer = StatusFile(tmp_path)
    observer._write(ended=False)
    content = json.loads((tmp_path / STATUS).read_text())
    assert read_status(tmp_path).is_driven and BEAT < SILENT / 3
    content["written_at"] -= SILENT
    (tmp_path / STATUS).write_text(json.dumps(content))
    assert not read_status(tmp_path).is_driven


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"running": {"x": 1}}', '{"started_at": "soon"}', "\x00"])
def test_what_cannot_be_read_is_no_status(tmp_path, content):
    assert read_status(tmp_path) is None
    (tmp_path / STATUS).write_text(content)
    assert read_status(tmp_path) is None


def test_a_folder_that_cannot_be_written_to_harms_nobody(tmp_path):
    observer = StatusFile(tmp_path / "none")
    with observer.kept():
        observer.noticed("a line")
