"""What a person sees while something long runs, on a terminal and in a file."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from example_pipelines import DIGITS
from example_records import make_record
from rich.console import Console

from narl.cli.clock import clock
from narl.cli.main import main
from narl.cli.progress import SeedProgress
from narl.cli.search_view import SearchView
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.sampler.outlook import Outlook
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger
from narl.search.run import SearchResult
from narl.search.status import StatusFile, read_status

CONTENT = {"name": "watched", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": 0.5, "lambda": 0.1}
SPACE = build(SearchSpace, CONTENT | {"trials": 12}, "space")


@pytest.fixture
def now(monkeypatch):
    """A clock that a test sets."""
    moment = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


class Said:
    """A console of a file, and in place of a terminal's status."""

    def __init__(self, terminal=False):
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=terminal, width=200)
        self.shown = ""

    def update(self, text):
        self.shown = text

    @property
    def lines(self):
        return self.file.getvalue().splitlines()


def test_in_a_file_silence_is_broken_after_ten_seconds(now):
    said = Said()
    one = SeedProgress(said.console, said, "", 1)
    one(0, "train, epoch 1 of 6: task loss 0.7")
    for later in (9.0, 10.5, 19.0, 21.0):
        now[0] = 100.0 + later
        one.beat()
    assert said.lines == [
        "seed 0, train, epoch 1 of 6: task loss 0.7",
        "seed 0, train, epoch 1 of 6: task loss 0.7, 0:10 …",
        "seed 0, train, epoch 1 of 6: task loss 0.7, 0:21 …",
    ]


def test_a_terminal_shows_which_of_how_many_seeds_and_how_long_the_rest_takes(now):
    said = Said(terminal=True)
    one = SeedProgress(said.console, said, "", 3)
    one(4, "a step")
    assert said.shown == "seed 4 (1 of 3), a step, 0:00"
    now[0] += 60
    one(5, "a step")
    assert said.shown == "seed 5 (2 of 3), a step, 1:00, about 2:00 left"
    now[0] += 90
    one.beat()
    assert said.shown == "seed 5 (2 of 3), a step, 2:30, about 0:30 left"


def test_a_search_says_what_runs_when_no_trial_ends(now):
    said = Said()
    view = SearchView(SPACE, said.console)
    for number in range(5):
        view.started(number, make_record(number).config)
    view.progressed(0, "train", 1, "epoch 2 of 6: task loss 0.5")
    now[0] += 11
    view.beat()
    (line,) = said.lines
    assert line.startswith(
        "0/12 done, 5 running, 0:11, ETA ?; trial 0 resnet18/3: train, epoch 2 of 6: task loss 0.5; "
    )
    assert line.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("ended", "outlook", "lines"),
    [
        (
            {"converged": True},
            Outlook(0.1, 0.5, 50.0),
            ["12 trials were asked for: converged, as no more is expected of"],
        ),
        ({"exhausted": True}, Outlook(0.1, 0.5, 50.0), ["12 trials were asked for, and the space has no more points."]),
        ({}, Outlook(1.0, 0.5, 50.0), ["One more trial is expected to enlarge the front by 2 %, more than luck."]),
        ({}, Outlook(0.1, 0.5, 50.0), ["One more trial is expected to enlarge the front by 0.2 %, within luck."]),
        ({}, None, ["12 trials were asked for; --resume goes on."]),
    ],
)
def test_a_search_says_why_it_ended_and_what_more_would_buy(now, ended, outlook, lines):
    said = Said()
    view = SearchView(SPACE, said.console)
    result = SearchResult(SearchFolder(Path("runs") / "x"), [make_record(0)], 1, 5.0, None, outlook=outlook, **ended)
    view.summary(result)
    shown = " ".join(said.lines)
    assert all(line in shown for line in lines)
    assert ("One more trial" in shown) == (outlook is not None and "exhausted" not in ended)


def test_hours_are_shown_as_hours():
    assert [clock(seconds) for seconds in (0, 61.9, 3599, 3661)] == ["0:00", "1:01", "59:59", "1:01:01"]


def test_narl_alone_prints_help_that_says_what_delta_is(capsys):
    assert main([]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "watch follow a running search" in said and "Δ (delta) = utility − leakage, in percentage points" in said


def test_watch_shows_what_runs_then_what_ended_and_then_that_nobody_drives(tmp_path, monkeypatch):
    """The driver here is this test; the watcher is a process of its own."""
    monkeypatch.chdir(tmp_path)
    folder = SearchFolder(tmp_path / "narl-runs" / "watched")
    folder.save_space(SPACE)
    ledger, status = Ledger(folder.ledger_path), StatusFile(folder.path)
    ledger.append(make_record(0))
    running = make_record(1, split=2, utility=88.0)
    with status.kept():
        status.started(1, running.config)
        while not read_status(folder.path).running:
            time.sleep(0.05)
        watcher = subprocess.Popen(
            [sys.executable, "-u", "-m", "narl", "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert watcher.stdout.readline().startswith("1/12 done, 1 running, ")
        ledger.append(running)
        status.finished(running)
        assert watcher.stdout.readline().startswith("2/12 trial 1 resnet18/2 ")
    out, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 0 and not err
    assert "★ resnet18/3" in out and out.endswith("watched: 2 of 12 trials done, and nobody drives it.\n")


def test_watch_of_a_search_that_has_ended_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = SearchFolder(tmp_path / "narl-runs" / "watched")
    folder.save_space(SPACE)
    Ledger(folder.ledger_path).append(make_record(0))
    assert main(["watch", "watched"]) == 0
    assert capsys.readouterr().out.endswith("watched: 1 of 12 trials done, and nobody drives it.\n")
    assert main(["watch", "--runs", "s3://bucket/prefix"]) == 2
    assert "a bucket does not tell what runs" in capsys.readouterr().err
