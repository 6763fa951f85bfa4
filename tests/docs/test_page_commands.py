"""Every command that a page shows is one that its program understands, and those about a finished search are run."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace

import pytest
from command_lines import Incomplete, NotUnderstood, in_sentences, to_be_pasted, understand
from example_records import make_record
from pages import ROOT

from narl.cli.main import main
from narl.config.search_space import SearchSpace
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

BLOCKS, SENTENCES = list(to_be_pasted()), list(in_sentences())


@pytest.mark.parametrize("line", BLOCKS, ids=str)
def test_a_command_to_be_pasted_is_understood(line):
    understand(line.text)


@pytest.mark.parametrize("line", SENTENCES, ids=str)
def test_a_command_in_a_sentence_is_one_that_there_is(line):
    with suppress(Incomplete):  # a sentence needs no argument
        understand(line.text)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("narl best-conf", "did you mean 'best-config'"),
        ("narl best-config --budget-flops 2", "no option --budget-flops"),
        ("narl best-config --budget-gf 2", "no option --budget-gf"),
        ("narl best-config --max-leakage 400", "expected 0 to 100"),
        ("narl train docs/experiments/absent.yaml", "docs/experiments/absent.yaml is not there"),
        ("narl search a.yaml --sampler tree", "'tree' is none of sampler"),
        ("narl evaluate a.yaml --attacks leakage,guess", "'guess' is none of attacks"),
        ("narl verify client  # or --with-luck", "no command has the option --with-luck"),
        ("ray submit cluster.yaml search.py --resum", "no option --resum"),
        ("ray up absent.yaml", "cluster/absent.yaml is not there"),
        ("ray exec onprem.yaml 'narl best-conf'", "did you mean 'best-config'"),
        ("kubectl exec service -- narl pareto --z", "no option --z"),
        ("mlflow ui --colour red", "--colour"),
        ("make tea", "no target tea"),
        ("pip install 'narl[s3]'", "no extra s3"),
        ("cd tests && python -m pytest tests/absent", "tests/absent is not there"),
        ("python -m benchmarks.absent", "benchmarks/absent.py is not there"),
        ("python -m benchmarks.search --hour 2", "no option --hour"),
        ("python -m benchmarks.search --hours two", "invalid float value: 'two'"),
        ("python examples/http/server.py client --tls", "no option --tls"),
        ("--resum", "no command has the option --resum"),
    ],
)
def test_a_mistake_is_told(line, wrong):
    with pytest.raises(NotUnderstood, match=wrong):
        understand(line)


def test_a_line_that_goes_on_is_one_and_has_its_number():
    (line,) = [line for line in BLOCKS if line.text.endswith("--out docs/experiments/cifar10_table1")]
    assert line.text.startswith("narl compare --pipeline") and "\\" not in line.text
    assert (ROOT / line.page).read_text().splitlines()[line.number - 1].strip().startswith("narl compare --pipeline")


# --- run ---

# About a finished search, at no cost; what lies elsewhere, was measured on a device or trained anew is not here.
ABOUT_A_SEARCH = ("narl pareto", "narl best-config", "narl report", "narl profile --arch resnet18 --size 64")
NOT_HERE = ("--cluster", "--runs", "--measured", "--confirmed")
ANSWERED = {
    line.text.partition(" #")[0].partition(" >")[0].strip(): line
    for line in [*BLOCKS, *SENTENCES]
    if line.text.startswith(ABOUT_A_SEARCH) and not any(word in line.text for word in NOT_HERE)
} | {
    f"narl best-config {line.text}": line
    for line in SENTENCES
    if line.page == "docs/budgets.md" and line.text.startswith("--") and line.text not in NOT_HERE
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder with the searches that pages ask about, and with the folder that they draw into."""
    folder = tmp_path_factory.mktemp("searched")
    (folder / "docs").mkdir()
    for space in ("docs/experiments/digits_sweep.yaml", "search_spaces/digits.yaml"):
        declared = SearchSpace.load(ROOT / space)
        search = SearchFolder(folder / "narl-runs" / declared.name)
        search.save_space(declared)
        ledger = Ledger(search.ledger_path)
        for number, split in enumerate((1, 2, 3, 4)):
            cost = {"gflops": 0.001 * 2**number, "memory": 2.0**number, "utility": 85 + number, "leakage": 30}
            record = make_record(number, split=split, bound=35, identification=5, chance=50, **cost)
            ledger.append(replace(record, metrics=replace(record.metrics, leakage_at_queries={"16": 40.0})))
    return folder


@pytest.mark.parametrize("command", ANSWERED, ids=lambda command: f"{ANSWERED[command]}-{command}")
def test_a_command_about_a_finished_search_is_answered(command, searched, monkeypatch):
    monkeypatch.chdir(searched)
    monkeypatch.delenv("NARL_RUNS", raising=False)
    try:
        understand(command)
    except Incomplete:
        return
    assert main(shlex.split(command)[1:]) == 0
