"""The method of a trial is shown where its client is, and takes no room in searches of NARL alone."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from narl.cli.pareto import _print_table
from narl.cli.search_view import SearchView
from narl.core.point import Point
from narl.figures.front_table import front_table
from narl.figures.front_view import front_view
from narl.figures.page.front import front_figure

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")
DISCO = {"pruning_ratio": 0.99, "rho": 0.5}


@pytest.fixture
def several(record):
    configs = (
        Point(arch="resnet18", split=3, sigma=2.0, lambda_=0.01),
        Point(arch="resnet18", split=3, sigma=0.0, lambda_=0.0, method="disco", settings=DISCO),
        Point(arch="resnet18", split=0, sigma=0.8, lambda_=0.0, method="image_noise"),
    )
    return [replace(record(i, split=2 + i, delta=50 + i), config=config) for i, config in enumerate(configs)]


def test_front_table(several, record, capsys):
    rows = {row["method"]: row for row in front_table(several, ("delta", "client_gflops"))}
    assert rows["disco"]["settings"] == "pruning_ratio=0.99 rho=0.5 temperature=0.03333"
    assert rows["narl"]["settings"] == ""
    assert "settings" not in front_table([record(0)], OBJECTIVES)[0]
    _print_table(list(rows.values()), "t")
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("disco ", "resnet18/3 ", "image_noise ", "resnet18 ", "rho=0.5"))
    _print_table(front_table([record(0)], OBJECTIVES), "t")
    assert "narl" not in capsys.readouterr().out


def test_figure(several):
    traces = json.loads(front_figure(front_view(several, OBJECTIVES)).to_json())["data"][1:]
    assert [trace["name"] for trace in traces] == ["narl, resnet18", "disco, resnet18", "image_noise, resnet18"]
    hovers = [trace["text"][0] for trace in traces]
    assert "trial 0: resnet18 split 3" in hovers[0]
    assert "disco, resnet18 split 3" in hovers[1] and "pruning_ratio 0.99, rho 0.5" in hovers[1]
    assert "image_noise, resnet18<" in hovers[2]
    alone = json.loads(front_figure(front_view(several[:1], OBJECTIVES)).to_json())["data"][1:]
    assert [trace["name"] for trace in alone] == ["resnet18"]


def test_live_view_counts_the_methods_apart(several):
    from example_pipelines import DIGITS

    from narl.config.load import build
    from narl.config.search_space import SearchSpace

    content = {"name": "s", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": 1, "lambda": 0}
    console = Console(width=120, record=True, file=io.StringIO())
    view = SearchView(build(SearchSpace, content, "s"), console)
    view.resumed(several)
    console.print(view.front_table())
    shown = console.export_text()
    assert "disco:resnet18/3" in shown and " resnet18/3" in shown and "image_noise:resnet18" in shown
