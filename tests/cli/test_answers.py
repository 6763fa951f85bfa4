"""What the commands say about a search that is over: no training, no Ray."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from example_pipelines import DIGITS
from example_records import make_record

import narl
from narl.cli.main import COMMANDS, main
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.config.trial import TrainConfig
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

SPACE = {
    "name": "digits",
    "pipeline": DIGITS,
    "architectures": {"resnet18": {}, "mobilenet_v2": {}},
    "sigma": {"low": 0, "high": 4},
    "lambda": {"low": 0, "high": 1},
    "training": {"epochs": 3},
    "attack": {"max_epochs": 7, "adversaries": ["mlp"]},
    "uplink_dtype": "int8",
}

# Trial 1 is best of all, 2 best of the cheap, 0 cheapest.
RECORDS = [
    make_record(0, gflops=0.1, memory=1.0, utility=70, leakage=50),
    make_record(1, gflops=3.0, memory=40.0, utility=95, leakage=25, split=4),
    make_record(2, gflops=1.0, memory=10.0, utility=90, leakage=30, sigma=1 / 3, lambda_=1e-5, seed=7),
    make_record(3, gflops=1.5, memory=30.0, utility=99, leakage=60),
    make_record(4, sigma=2.5, error="DivergedTraining: epoch 1"),
]


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Writes searches into the working folder's narl-runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NARL_RUNS", raising=False)

    def write(records, **changes) -> SearchFolder:
        space = build(SearchSpace, SPACE | changes, "space")
        folder = SearchFolder(tmp_path / "narl-runs" / space.name)
        folder.save_space(space)
        ledger = Ledger(folder.ledger_path)
        for record in records:
            ledger.append(record)
        return folder

    return write


def best(capsys, *options) -> int:
    """The trial that `narl best-config` names."""
    assert main(["best-config", "--format", "json", *options]) == 0
    return json.loads(capsys.readouterr().out)["found_by"]["trial_id"]


@pytest.mark.parametrize(
    ("options", "trial"),
    [
        ([], 1),
        (["--budget-gflops", "3"], 1),  # a budget includes its bound
        (["--budget-gflops", "2.999"], 2),
        (["--budget-memory-mib", "10"], 2),
        (["--budget-gflops", "2", "--min-utility", "95"], 3),
        (["--max-leakage", "27"], 1),
        (["--budget-gflops", "0.5"], 0),
        (["--budget-memory-mib", "39", "--budget-gflops", "1e3"], 2),
        (["--budget-uplink-kib", "4"], 1),
    ],
)
def test_the_best_within_every_bound(search, capsys, options, trial):
    search(RECORDS)
    assert best(capsys, *options) == trial


# Of the first the attackers read less, of the second nobody can read more.
CERTIFIED = [
    make_record(0, utility=90, leakage=25, bound=60, identification=5),
    make_record(1, utility=90, leakage=30, bound=31, identification=40, sigma=2),
]


@pytest.mark.parametrize(
    ("options", "trial"),
    [([], 0), (["--certified"], 1), (["--certified", "--max-identification", "10"], 0)],
)
def test_what_holds_for_every_reader_can_be_asked_for(search, capsys, options, trial):
    search(CERTIFIED)
    assert best(capsys, *options) == trial


def test_the_answer_tells_what_nobody_exceeds(search, capsys):
    search(CERTIFIED)
    main(["best-config", "--certified"])
    assert "Nobody who has z alone reads more than 31.00 %" in capsys.readouterr().out


def at_sigma(record, sigma: float):
    """The record of a trial whose σ was chosen after training."""
    metrics = replace(record.metrics, sigma_inference=sigma)
    return replace(record, config=record.config.at_inference("best"), metrics=metrics)


def test_a_sigma_that_was_chosen_is_shown_and_given_as_a_number(search, capsys, tmp_path):
    exact = SPACE["attack"] | {"adversaries": ["bayes", "mlp"]}
    other, same = at_sigma(RECORDS[1], 1.75), at_sigma(RECORDS[2], RECORDS[2].config.sigma)
    search([other, same], attack=exact)
    main(["best-config"])
    answer = capsys.readouterr().out
    assert "# Noise of σ 1 in training, 1.75 at inference." in answer
    (tmp_path / "best.yaml").write_text(answer)
    trial = TrainConfig.load(tmp_path / "best.yaml").trial
    assert trial == RECORDS[1].config.at_inference(1.75)
    main(["pareto", "--format", "json"])
    rows = {row["trial"]: row["sigma_inference"] for row in json.loads(capsys.readouterr().out)}
    assert rows == {1: 1.75, 2: None}
    main(["pareto"])
    assert "inf." in capsys.readouterr().out
    search([same], attack=exact, name="same")
    main(["best-config"])
    assert "sigma_inference" not in capsys.readouterr().out
    main(["pareto"])
    assert "inf." not in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--certified"], ["--max-identification", "10"]])
def test_a_search_without_exact_attackers_certifies_nothing(search, capsys, options):
    search(RECORDS)
    assert main(["best-config", *options]) == 2
    shown = capsys.readouterr()
    assert "was not measured: the search's attack.adversaries must list bayes" in shown.err and not shown.out


# The second sends nothing that is of use: of half a class's luck, and so nothing leaks.
GUESSING = [
    make_record(0, utility=90, leakage=48, bound=60, chance=51.0),
    make_record(1, utility=53, leakage=10, floor=10.0, bound=10, chance=51.0, gflops=0.1, sigma=9),
]


def test_a_guess_is_refused_in_words_and_admitted_when_asked_for(search, capsys):
    search(GUESSING)
    assert best(capsys) == 0
    assert best(capsys, "--with-worthless") == 1
    main(["best-config"])
    assert (
        "# Refused (--with-worthless admits it): trial 1, Δ 43.00, as utility is a guess: " in capsys.readouterr().out
    )
    main(["best-config", "--with-worthless"])
    shown = capsys.readouterr().out
    assert "Refused" not in shown and "# Sending nothing has Δ 41.00 = 51.00 % − 10.00 %" in shown
    assert "no more than sending nothing: utility is a guess: naming the largest class, without z, scores 51" in shown
    assert main(["best-config", "--max-leakage", "20"]) == 1
    assert "none of them is worth more than sending nothing (of trial 1, utility is a guess" in capsys.readouterr().err


def test_the_front_counts_no_guess_unless_asked_and_shows_what_nothing_would_score(search, capsys):
    search(GUESSING)
    main(["pareto"])
    shown = capsys.readouterr().out
    assert "1 of 2 finished trials" in shown and "worthless" not in shown
    (nothing,) = (line for line in shown.splitlines() if "send nothing" in line)
    assert nothing.split()[-3:] == ["41.00", "51.00", "10.00"]
    main(["pareto", "--with-worthless"])
    assert "worthless" in capsys.readouterr().out
    search(GUESSING[1:], name="useless")
    assert main(["pareto", "--name", "useless"]) == 1
    assert "none of 1 finished trials is worth more than sending nothing" in capsys.readouterr().err


def test_ties_go_to_memory_then_gflops_then_trial(search, capsys):
    tied = {"utility": 90, "leakage": 30}
    records = [
        make_record(0, gflops=1.0, memory=20.0, **tied),
        make_record(1, gflops=3.0, memory=10.0, sigma=2, **tied),
        make_record(2, gflops=2.0, memory=10.0, sigma=3, **tied),
        make_record(3, gflops=2.0, memory=10.0, sigma=4, **tied),
    ]
    search(records)
    assert best(capsys) == 2
    assert best(capsys, "--budget-gflops", "1.5") == 0


@pytest.mark.parametrize("style", ["yaml", "json"])
def test_the_answer_is_a_config_to_train_as_it_is(search, capsys, tmp_path, style):
    folder = search(RECORDS)
    assert main(["best-config", "--budget-gflops", "2", "--format", style]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    path = tmp_path / f"best.{style}"
    path.write_text(shown.out, encoding="utf-8")
    config, space = TrainConfig.load(path), folder.load_space()
    assert config.trial == RECORDS[2].config
    assert (config.pipeline, config.training, config.attack) == (space.pipeline, space.training, space.attack)
    assert config.uplink_dtype == "int8"
    assert (config.found_by.search, config.found_by.trial_id, config.found_by.delta) == ("digits", 2, 60.0)
    assert config.found_by.leakage_bound == RECORDS[2].measured.leakage_bound


def test_yaml_says_in_words_what_was_found(search, capsys):
    search(RECORDS)
    main(["best-config", "--budget-gflops", "2"])
    comments = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    words = " ".join(comments)
    assert "trial 2" in words and "validation" in words
    assert "Δ 60.00 = utility 90.00 % − leakage 30.00 % (label floor 20.00 %)" in words
    assert "1 GFLOPs, 10 MiB, uplink 4 KiB" in words


@pytest.mark.parametrize(
    ("options", "bound", "nearest"),
    [
        (["--budget-gflops", "0.05"], "client_gflops <= 0.05", "trial 0 (resnet18 split 3): 0.1 GFLOPs, 1 MiB"),
        (
            ["--budget-memory-mib", "0.5", "--min-utility", "80"],
            "client_memory_mib <= 0.5 and utility >= 80",
            "trial 0",
        ),
        (["--max-leakage", "0"], "leakage <= 0", "trial 1 (resnet18 split 4): 3 GFLOPs, 40 MiB"),
    ],
)
@pytest.mark.parametrize("command", [["best-config"], ["export", "--to", "out"]])
def test_nothing_within_the_budget(search, capsys, tmp_path, command, options, bound, nearest):
    search(RECORDS)
    assert main([*command, *options]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert bound in shown.err and f"the nearest is {nearest}" in shown.err
    assert not (tmp_path / "out").exists()


def test_search_in_which_every_trial_failed(search, capsys):
    search([RECORDS[4]])
    assert main(["best-config"]) == 1
    assert main(["pareto"]) == 1
    assert capsys.readouterr().err.count("no finished trial") == 2


def test_without_a_name_the_search_last_written_to_answers(search, capsys):
    first = search(RECORDS[:1], name="first")
    second = search(RECORDS[1:2], name="second")
    os.utime(first.ledger_path, (1, 1))
    assert best(capsys) == 1
    assert best(capsys, "--name", "first") == 0
    os.utime(second.ledger_path, (0, 0))
    assert best(capsys) == 0


def test_runs_elsewhere(search, capsys, tmp_path, monkeypatch):
    search(RECORDS)
    (tmp_path / "narl-runs").rename(tmp_path / "elsewhere")
    assert best(capsys, "--runs", "elsewhere") == 1
    monkeypatch.setenv("NARL_RUNS", str(tmp_path / "elsewhere"))
    assert best(capsys) == 1


def test_front_in_every_format(search, capsys):
    search(RECORDS)
    expected = [0, 2, 1]  # trial 3 costs more than 2 for less; cheapest first
    assert main(["pareto", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert main(["pareto", "--format", "csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["trial"] for row in rows] == [int(line["trial"]) for line in lines] == expected
    assert [row["delta"] for row in rows] == [20.0, 60.0, 70.0]
    assert main(["pareto"]) == 0
    shown = capsys.readouterr().out
    assert "3 of 4 finished trials are on the front" in shown
    assert all(f"{delta:.2f}" in shown for delta in (20, 60, 70)) and "39.00" not in shown


def test_answers_survive_a_closed_pipe(search, tmp_path):
    """`narl pareto | head -1` and the like end quietly."""
    search([make_record(i, gflops=1 + i, utility=80 + i / 1000) for i in range(400)])
    code = f"{sys.executable} -m narl pareto --format json 2>err | head -1; test ${{PIPESTATUS[0]}} -eq 0"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[\n")
    assert (tmp_path / "err").read_text() == ""


# --- help ---


@pytest.mark.parametrize("name", [[], *[[name] for name in COMMANDS], ["data", "build"]])
def test_help(capsys, name):
    with pytest.raises(SystemExit) as stop:
        main([*name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith(f"usage: {' '.join(['narl', *name])}")


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    first_words = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(COMMANDS) <= first_words


def test_version_and_help_load_nothing_heavy():
    code = (
        "import sys\nfrom narl.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'ray', 'mlflow', 'ffcv', 'optuna', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"narl {narl.__version__}\n", "")
