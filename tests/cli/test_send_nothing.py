"""Every table and figure that shows Δ says what sending nothing would give: here Δ 41, of 51 % less 10 %."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from example_pipelines import DIGITS
from example_records import make_record

from narl.cli.compare import print_comparison
from narl.cli.evaluate import print_evaluation
from narl.cli.search_view import SearchView
from narl.cli.terminal import new_console
from narl.cli.train import print_report
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.core.records import ClientCost, SigmaLevel
from narl.evaluation.report import SeedReport, Summary
from narl.evaluation.summary import REPORTED, scalars
from narl.figures.heatmap import heatmap_png
from narl.figures.sigma_profile import sigma_profile_png

SPACE = {"name": "s", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": [1], "lambda": [0.01]}
COST = ClientCost(1.0, 2.0, 3.0, 4.0)
REPORT = SeedReport(
    utility=90.0,
    leakage=30.0,
    leakage_bound=31.0,
    delta=60.0,
    delta_paper=60.0,
    strongest_adversary=30.0,
    label_floor=20.0,
    advantage=10.0,
    adversaries={"mlp": 30.0},
    paper_adversary="mlp",
    feature_rms=1.0,
    snr_db=None,
    num_samples=300,
    doubts=(),
    train_seconds=1.0,
    attack_seconds=1.0,
    cost=COST,
    tags={},
    utility_chance=51.0,
    private_chance=10.0,
)
SUMMARY = Summary(
    reported_on="test",
    num_samples=300,
    seeds=(0,),
    client="trained afresh with each seed",
    mean=dict.fromkeys(REPORTED, 1.0),
    interval95=dict.fromkeys(REPORTED, (0.0, 2.0)),
    label_floor=20.0,
    snr_db=None,
    cost=COST,
    doubts=(),
    by_seed={0: REPORT},
)


def line_of(text: str, head: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if head in line)
    return line.replace(head, "").split()


def test_a_search():
    out = io.StringIO()
    view = SearchView(build(SearchSpace, SPACE, "space"), new_console(file=out, width=200))
    view.finished(make_record(0, chance=51.0, bound=31))
    view.finished(make_record(1, chance=51.0, bound=60, leakage=55, gflops=0.1, split=4))
    assert "− 55.00–60.00 (0.1000 GFLOPs, 10.00 MiB, 3 s) – worth no more than sending nothing\n" in out.getvalue()
    view._console.print(view.front_table(limit=None))
    assert line_of(out.getvalue(), "send nothing") == ["41.00", "51.00", "10.00"]
    assert [line[0] for line in out.getvalue().splitlines()[-3:-1]] == [" ", "★"]  # Δ 35 is on no front


def test_train_evaluate_and_compare(capsys):
    print_report(SUMMARY)
    assert line_of(capsys.readouterr().out, "send nothing") == ["41.00", "51.00", "10.00"]
    assert line_of(print_evaluation("x", SUMMARY), "Δ of sending nothing, points") == ["41.00"]
    row = SimpleNamespace(name="x", published=None, published_images=None)
    assert line_of(print_comparison([row], {"x": SUMMARY}), "send nothing") == ["41.0", "51.0", "10.0", "0", "0"]
    assert scalars(SUMMARY)["delta_of_nothing"] == 41.0


def test_a_grid_and_a_profile(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), path.write_bytes(b"")))
    heatmap_png([make_record(0, chance=51.0, bound=31)], "t", tmp_path / "a.png")
    profile = [SigmaLevel(sigma, 90.0, 30.0, 31.0) for sigma in (1.0, 2.0)]
    about = {"trained": 1.0, "used": 2.0, "label_floor": 20.0, "reported_on": "test"}
    for nothing in (None, 41.0):
        sigma_profile_png(profile, "t", tmp_path / "b.png", nothing=nothing, **about)
    grid, without, below = drawn
    assert "sending nothing: Δ 41" in grid.get_suptitle()
    lines = [{line.get_label(): line.get_ydata()[0] for line in figure.axes[1].lines} for figure in (without, below)]
    assert "send nothing" not in lines[0] and lines[1]["send nothing"] == pytest.approx(41.0)
