"""Output that a terminal cannot encode, and names that would steer it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from example_pipelines import DIGITS
from example_records import make_record

from narl.cli.main import main
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig
from narl.core.printable import printable
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

ENCODINGS = ("ascii", "latin-1", "cp1252", "utf-8")
PIPELINE = DIGITS | {"utility": {"name": "parité σ", "map": DIGITS["utility"]["map"]}}
SPACE = {"name": "tiny", "pipeline": PIPELINE, "architectures": {"resnet18": {}}, "sigma": 1, "lambda": 0.01}


@pytest.fixture
def searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = SearchFolder(Path("narl-runs") / "tiny")
    folder.save_space(build(SearchSpace, SPACE, "s.yaml"))
    Ledger(folder.ledger_path).append(make_record(0, bound=40.0))


def narl(encoding: str, *argv: str) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of a command whose streams have this encoding, as Python makes them."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    with pytest.MonkeyPatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        try:
            code = main(argv)
        except SystemExit as stop:  # of --help
            code = stop.code
    for stream in streams.values():
        stream.flush()
    return code, streams["stdout"].buffer.getvalue(), streams["stderr"].buffer.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("argv", [["pareto", "--help"], ["pareto"], ["profile", "--arch", "resnet18"]])
def test_every_encoding_gets_the_whole_answer(searched, encoding, argv):
    code, answer, told = narl(encoding, *argv)
    assert (code, told) == (0, b"")
    assert answer.count(b"\n") == narl("utf-8", *argv)[1].count(b"\n")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_process_with_that_encoding_answers_the_same(searched, encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "narl", "pareto"]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == narl(encoding, "pareto")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_configuration_loses_nothing_in_any_encoding(searched, encoding, form):
    _, answer, _ = narl(encoding, "best-config", "--format", form)
    config = build(TrainConfig, yaml.safe_load(answer.decode(encoding)), "answer")
    assert config.pipeline.utility.name == "parité σ"


def test_names_with_line_ends_and_a_terminals_codes_are_written_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["search", "a\n\x1b[2Jb.yaml"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "\x1b" not in message and r"a\n\x1b[2Jb.yaml" in message
    assert printable("Δ σ é 中") == "Δ σ é 中"


def test_a_tilde_that_no_shell_has_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["pareto", "--runs=~/nowhere"]) == 2
    assert f"no search in {tmp_path}/nowhere" in capsys.readouterr().err
    monkeypatch.setenv("NARL_RUNS", "~/elsewhere")
    assert main(["pareto"]) == 2
    assert f"no search in {tmp_path}/elsewhere" in capsys.readouterr().err
