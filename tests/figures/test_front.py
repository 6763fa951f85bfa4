"""The front as table, page and picture."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import pytest

from narl.core.pareto import front_of
from narl.core.records import UNMET_TAG
from narl.figures.front_picture import front_png
from narl.figures.front_table import front_table
from narl.figures.front_view import front_view
from narl.figures.page.front import front_figure

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")


def traces_of(figure):
    return {trace["name"]: trace for trace in json.loads(figure.to_json())["data"]}


def test_table_holds_the_front_cheapest_first(search):
    records = search(40)
    rows = front_table(records, OBJECTIVES)
    assert [row["trial"] for row in rows] == [r.trial_id for r in front_of(records, OBJECTIVES)]
    assert [row["client_gflops"] for row in rows] == sorted(row["client_gflops"] for row in rows)
    json.dumps(rows)


def test_table_rounds_without_losing_small_costs(record):
    (row,) = front_table([record(0, arch="mobilenet_v3_small", split=6, delta=51.23456)], OBJECTIVES)
    assert row["delta"] == 51.23
    assert row["client_gflops"] == 0.0021
    assert row["label_floor"] == 20.0


def test_table_of_no_finished_trial_is_empty(record):
    assert front_table([record(0, status="failed")], OBJECTIVES) == []


def test_step_line_is_the_best_delta_within_a_cost(record):
    records = [
        record(0, arch="resnet18", split=1, delta=50.0),
        record(1, arch="resnet18", split=2, delta=45.0),  # dearer and worse: no corner
        record(2, arch="resnet18", split=3, delta=60.0),
        record(3, arch="resnet18", split=4, delta=55.0),  # the line goes on to the dearest trial
    ]
    line = traces_of(front_figure(front_view(records, OBJECTIVES)))["best Δ within a cost"]
    assert line["x"] == [0.0243, 0.0617, 0.0812]
    assert line["y"] == [50.0, 60.0, 60.0]


def known_latency(record, milliseconds):
    return replace(record, metrics=record.metrics.with_latency(milliseconds))


def test_delta_is_drawn_against_the_first_cost_of_the_objectives_that_is_known_of_all(record):
    records = [known_latency(record(0), 9.0), known_latency(record(1, split=1, delta=50.0), 4.0)]
    for objectives, x, first in (
        (("delta", "client_latency_ms", "client_gflops"), None, ["client_latency_ms", "client_gflops"]),
        (("delta", "client_memory_mib"), None, ["client_memory_mib", "client_gflops"]),
        (OBJECTIVES, "uplink_kib", ["uplink_kib", "client_gflops"]),
        (("delta",), None, ["client_gflops", "client_memory_mib"]),
    ):
        view = front_view(records, objectives, x=x)
        assert list(view.costs[:2]) == first and len(view.costs) == 5
    assert "client_latency_ms" not in front_view([*records, record(2)], OBJECTIVES, x="client_latency_ms").costs


def test_the_menu_moves_line_bars_and_points_to_another_cost(record):
    bounded = record(0, delta=60.0)
    bounded = replace(bounded, metrics=replace(bounded.metrics, leakage_bound=bounded.metrics.leakage + 4))
    records = [known_latency(bounded, 9.0), known_latency(record(1, split=1, delta=50.0), 4.0)]
    figure = front_figure(front_view(records, ("delta", "client_latency_ms")))
    line, bars, points = figure.data
    assert (line.x, line.y, bars.x, points.x) == ((4.0, 9.0, 9.0), (50.0, 60.0, 60.0), (9.0,), (9.0, 4.0))
    assert figure.layout.xaxis.title.text == "client latency on the measured device, ms"
    (menu,) = figure.layout.updatemenus
    button = next(each for each in menu.buttons if each.label == "client memory, MiB")
    moved, axis = button.args
    assert [list(x) for x in moved["x"]] == [[0.603, 10.633, 10.633], [10.633], [10.633, 0.603]]
    assert moved["y"][0] == [50.0, 60.0, 60.0] and axis["xaxis"]["type"] == "log"


def test_the_picture_has_the_first_two_costs(record, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), path.write_bytes(b"")))
    records = [known_latency(record(0), 9.0), known_latency(record(1, split=1, delta=50.0), 4.0)]
    front_png(records, ("delta", "client_latency_ms"), "t", tmp_path / "front.png")
    labels = [axes.get_xlabel() for axes in drawn[0].axes]
    assert labels == ["client latency on the measured device, ms", "client compute, GFLOPs"]


def test_figure_shows_every_finished_trial_and_rims_the_front(search):
    records = search(40)
    traces = traces_of(front_figure(front_view(records, OBJECTIVES)))
    del traces["best Δ within a cost"]
    finished = [r for r in records if r.metrics is not None]
    assert sum(len(t["x"]) for t in traces.values()) == len(finished)
    assert set(traces) == {r.config.arch for r in finished}
    hovers = [text for t in traces.values() for text in t["text"] if "(front)" in text]
    assert len(hovers) == len(front_of(records, OBJECTIVES))
    styles = {(t["marker"]["color"], t["marker"]["symbol"]) for t in traces.values()}
    assert len(styles) == len(traces)


def test_hover_tells_everything(record):
    text = traces_of(front_figure(front_view([record(7, sigma=0.5)], OBJECTIVES)))["resnet18"]["text"][0]
    for part in ("trial 7", "resnet18 split 3", "σ 0.5", "λ 0.01", "85.00 %", "25.00 %", "floor 20.00", "0.0617 GF"):
        assert part in text
    assert "10.63 MiB" in text and "4 KiB" in text and "activations 0.5 MiB" in text


def guessing(record, **chance):
    """A record whose utility of 85 % is the largest class's share."""
    chance = {"utility_chance": 86.0, "private_chance": 12.0, "num_samples": 300} | chance
    return replace(record, metrics=replace(record.metrics, **chance))


def test_what_sends_nothing_is_a_hollow_point_off_the_front_below_the_line_of_nothing(record, tmp_path):
    useful, guess = record(0, delta=50.0), guessing(record(1, delta=64.0))
    view = front_view([useful, guess], OBJECTIVES)
    figure = front_figure(view)
    traces = traces_of(figure)
    assert traces["best Δ within a cost"]["y"] == [50.0, 50.0]
    hollow = traces["resnet18, worthless"]
    assert hollow["marker"]["symbol"] == "circle-open" and "85.00 (a guess) %" in hollow["text"][0]
    assert "(front)" not in hollow["text"][0] and "1 is worth no more than sending nothing" in view.caption[1]
    assert {line["y0"] for line in figure.layout.shapes} == {80.0, 66.0}  # the limit; 86 − the floor of 20
    asked = traces_of(front_figure(front_view([useful, guess], OBJECTIVES, worthless=True)))
    assert "(front)" in asked["resnet18, worthless"]["text"][0]
    assert front_table([guess], OBJECTIVES) == []
    (row,) = front_table([guess], OBJECTIVES, worthless=True)
    assert row["worthless"].startswith("utility is a guess") and row["delta_of_nothing"] == 66.0
    front_png([guess], OBJECTIVES, "t", tmp_path / "front.png")


def test_what_misses_a_constraint_is_hollow_and_says_which(record):
    met, missed = record(0, delta=50.0), record(1, delta=55.0)
    missed = replace(missed, tags={UNMET_TAG: "utility is 70.00 %, and at least 75 % is asked for"})
    traces = traces_of(front_figure(front_view([met, missed], OBJECTIVES)))
    hollow = traces["resnet18, misses a constraint"]
    assert hollow["marker"]["symbol"].endswith("-open")
    assert "does not count: utility is 70.00 %" in hollow["text"][0] and "(front)" not in hollow["text"][0]
    assert "1 misses a constraint of the search (hollow)" in " ".join(front_view([met, missed], OBJECTIVES).caption)


def test_a_bar_leads_from_the_fronts_delta_down_to_the_certified_one(record, tmp_path):
    bounded = record(0, delta=50.0)
    bounded = replace(bounded, metrics=replace(bounded.metrics, leakage_bound=bounded.metrics.leakage + 4))
    beaten = replace(bounded, trial_id=1, metrics=replace(bounded.metrics, delta=40.0, leakage_bound=100.0))
    figure = front_figure(
        front_view([bounded, beaten, record(2, arch="mobilenet_v2", split=8, delta=30.0)], OBJECTIVES)
    )
    traces = traces_of(figure)
    bars = traces["down to certified Δ"]  # one that is beaten has none, nor has one without a bound
    assert (bars["x"], bars["y"], bars["error_y"]["arrayminus"]) == ([0.0617], [50.0], [4.0])
    low, high = figure.layout.yaxis.range
    assert low < 30 and high > 80  # whatever is drawn, and the limit
    front_png([bounded, beaten], OBJECTIVES, "t", tmp_path / "front.png")


def test_marker_size_grows_with_memory(record):
    small, large = record(0, split=1), record(1, split=4)
    sizes = traces_of(front_figure(front_view([small, large], OBJECTIVES)))["resnet18"]["marker"]["size"]
    assert sizes == [9, 24]


@pytest.mark.parametrize("objectives", [OBJECTIVES, ("utility", "uplink_kib"), ("delta",)])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_both_figures_for_any_objectives_and_counts(search, tmp_path, objectives, count):
    records = search(count)
    front_figure(front_view(records, objectives)).to_json()
    front_png(records, objectives, "digits", tmp_path / "sub" / "front.png")
    header = (tmp_path / "sub" / "front.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (2000, 928)


def test_labels_overlap_neither_each_other_nor_leave_the_panel(search, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), path.write_bytes(b"")))
    front_png(search(80, seed=3), OBJECTIVES, "digits", tmp_path / "front.png")
    (figure,) = drawn
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert len(boxes) >= 5
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        panel = axes.get_window_extent(renderer)
        assert all(panel.x0 <= box.x0 and box.x1 <= panel.x1 for box in boxes)
