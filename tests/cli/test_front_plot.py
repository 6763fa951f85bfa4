"""The front on a terminal: where each trial is, in what the terminal can show, and nothing where there is none."""

from __future__ import annotations

import io
import re

import pytest
from example_pipelines import DIGITS
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st

from narl.cli import front_plot as plot_module
from narl.cli.front_plot import front_plot
from narl.cli.main import main
from narl.cli.search_view import SearchView
from narl.cli.terminal import new_console
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.figures.front_view import front_view
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")
# Δ 50, 60 and 70 for one, ten and a hundred times the compute; Δ 55 for most of it, and for as much memory.
RECORDS = [
    make_record(0, gflops=0.01, memory=1, utility=80),
    make_record(1, gflops=0.1, memory=2, utility=90),
    make_record(2, gflops=1.0, memory=3, utility=100),
    make_record(3, gflops=1.0, memory=3, utility=85),
]
SPACE = {"name": "s", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": 1, "lambda": 0.1}


class Stream(io.StringIO):
    """A text file of any encoding."""

    def __init__(self, encoding="utf-8"):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding


def drawn(records, *, width=60, terminal=True, encoding="utf-8", x=None):
    console = new_console(file=Stream(encoding), width=width, force_terminal=terminal, color_system=None)
    plot = front_plot(console, front_view(records, OBJECTIVES, x=x))
    if plot is not None:
        console.print(plot)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_plot_of_four_trials():
    assert drawn(RECORDS) == [
        "Δ (utility − leakage), pp;  ● on the front  · other trials",
        "   70 ┤                                                   ●",
        "      │                                                   │",
        "   65 ┤                                                   │",
        "      │                                                   │",
        "   60 ┤                          ●────────────────────────┘",
        "      │                          │",
        "   55 ┤                          │                        ·",
        "      │                          │",
        "   50 ┤●─────────────────────────┘",
        "      └┬───────┬─────────┬───────┬──────┬─────────┬───────┬",
        "     0.01    0.02      0.05     0.1    0.2       0.5      1",
        "       client compute, GFLOPs",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_plain_characters_where_the_encoding_has_no_others(encoding):
    head, *lines = drawn(RECORDS, encoding=encoding)
    assert lines[0] == "   70 +                                                   *"
    assert lines[4] == "   60 +                          *------------------------+"
    assert all(line.isascii() for line in lines) and "* on the front  . other trials" in head


def test_costs_within_a_factor_of_five_begin_at_zero():
    *_, axis, numbers, name = drawn(RECORDS, x="client_memory_mib")
    assert numbers.split() == ["0", "1", "2", "3"] and name.strip() == "client memory, MiB"
    assert len(axis) == 59 and axis.endswith("┬")


@pytest.mark.parametrize("options", [{"terminal": False}, {"width": 59}])
def test_nothing_in_a_file_on_a_narrow_terminal_or_of_no_trial(options):
    assert drawn(RECORDS, **options) == []
    assert drawn([make_record(0, error="x")]) == []


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 100), st.just(0.0) | st.floats(1e-6, 1e4)), min_size=1, max_size=12
    ),
    st.integers(60, 140),
)
def test_any_trials_fit_the_terminal_and_each_column_of_the_front_is_marked(trials, width):
    records = [
        make_record(i, utility=utility, leakage=leakage, floor=0.0, gflops=gflops)
        for i, (utility, leakage, gflops) in enumerate(trials)
    ]
    lines = drawn(records, width=width)
    assert len(lines) <= plot_module.HEIGHT and max(map(len, lines)) <= min(width, plot_module.WIDEST)
    assert 1 <= sum(line.count("●") for line in lines[1:]) <= len(trials)


@pytest.fixture
def searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = SearchFolder(tmp_path / "narl-runs" / "s")
    folder.save_space(build(SearchSpace, SPACE, "space"))
    for record in RECORDS:
        Ledger(folder.ledger_path).append(record)


def test_pareto_draws_on_a_terminal_alone(searched, monkeypatch, capsys):
    assert main(["pareto"]) == 0
    assert "●" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["pareto"]) == 0
    assert re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).count("●") == 4  # one in the legend
    assert main(["pareto", "--x", "uplink_kib"]) == 0
    assert "uplink per image, KiB\n" in capsys.readouterr().out
    assert main(["pareto", "--x", "client_latency_ms"]) == 2
    assert "client_latency_ms was not measured" in capsys.readouterr().err
    assert main(["pareto", "--format", "csv"]) == 0
    assert "●" not in capsys.readouterr().out


@pytest.mark.parametrize(("height", "is_drawn"), [(40, True), (12, False)])
def test_a_running_search_draws_where_the_terminal_is_tall_enough(height, is_drawn):
    console = new_console(file=Stream(), width=80, height=height, force_terminal=True, color_system=None)
    view = SearchView(build(SearchSpace, SPACE, "space"), console)
    view.resumed(RECORDS)
    console.print(view)
    assert ("on the front  · other" in console.file.getvalue()) == is_drawn
    view.table()
    assert "on the front  · other" in console.file.getvalue()
