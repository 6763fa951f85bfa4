"""The page of a search: complete in itself, whole at every width, and its numbers those of the records."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from browser import MISSING, chromium
from example_search import make_search

from narl.core.records import SigmaLevel
from narl.figures.front_view import front_view
from narl.figures.page.hypervolume import MOMENTS, REFERENCE, hypervolume_curve
from narl.figures.page.learning import learning_figure
from narl.figures.page.members import MOST_LINES, members
from narl.figures.page.page import search_page, write_search_page
from narl.figures.page.parallel import parallel_figure
from narl.figures.page.sigma import sigma_figure
from narl.figures.page.splits import splits_figure

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")
HEADS = ("Parallel coordinates", "Δ by split point", "Hypervolume over compute", "Learning curves of the front")
PROFILE = (SigmaLevel(0.5, 90.0, 60.0, 70.0), SigmaLevel(1.0, 85.0, 30.0, 35.0), SigmaLevel(2.0, 70.0, 22.0, 22.0))


def profiled(records):
    return [
        r if r.metrics is None else replace(r, metrics=replace(r.metrics, sigma_profile=PROFILE, sigma_inference=1.0))
        for r in records
    ]


def test_the_page_needs_nothing_else_and_holds_plotly_once(search, tmp_path):
    write_search_page(tmp_path / "deep" / "front.html", profiled(search(30)), OBJECTIVES, "digits")
    page = (tmp_path / "deep" / "front.html").read_text(encoding="utf-8")
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", own) and "@import" not in own
    assert page.count("Plotly.newPlot(") >= 6 and 4_000_000 < len(page) < 6_000_000
    assert [head for head in (*HEADS, "Other noise for the front") if f"<h2>{head}</h2>" not in page] == []


@pytest.mark.parametrize("objectives", [OBJECTIVES, ("delta",), ("utility", "uplink_kib")])
@pytest.mark.parametrize("count", [0, 1, 2])  # the first one fails
def test_a_page_of_any_search(search, objectives, count):
    records = search(count, curves=False)
    page = search_page(records, objectives, "t")
    assert "Learning curves" not in page and "Other noise" not in page
    assert ("<h2>Parallel" in page) == any(r.metrics for r in records)


def test_addresses_of_runs_cannot_end_the_script_that_holds_them(search):
    page = search_page(search(3), OBJECTIVES, "t", runs={0: "</script><b>"})
    assert "</script><b>" not in page and "\\u003c/script>" in page


def test_the_hypervolume_is_the_area_of_two_trials_and_counts_the_time_of_those_that_failed(record):
    # Of two that trade one objective for the other, each is best in one and worst in the other.
    records = [
        replace(record(0, split=1, delta=50.0), started_at=0.0, finished_at=10.0),
        replace(record(1, status="failed"), started_at=0.0, finished_at=20.0),
        replace(record(2, split=3, delta=60.0), started_at=20.0, finished_at=50.0),
    ]
    seconds, shares = hypervolume_curve(records, ("delta", "client_gflops"))
    assert seconds == [10.0, 30.0, 60.0]
    strip, corner = (REFERENCE - 1) * REFERENCE, (REFERENCE - 1) ** 2
    assert shares == pytest.approx([strip / REFERENCE**2] * 2 + [(2 * strip - corner) / REFERENCE**2])


def test_the_hypervolume_rises_and_is_computed_at_few_moments(search):
    records = search(300)
    seconds, shares = hypervolume_curve(records, OBJECTIVES)
    assert len(seconds) <= MOMENTS and seconds == sorted(seconds) and shares == sorted(shares)
    assert seconds[-1] == pytest.approx(sum(r.finished_at - r.started_at for r in records)) and shares[-1] <= 1


def test_every_figure_names_the_trials_that_it_draws(search):
    records = profiled(search(60))
    view = front_view(records, (*OBJECTIVES, "uplink_kib", "leakage"))
    drawn = [f"{r.config.client} ({r.trial_id})" for r in members(view)]
    assert len(drawn) == MOST_LINES < len(view.front)  # the best ones
    assert min(r.metrics.delta for r in members(view)) >= sorted(r.metrics.delta for r in view.front)[-MOST_LINES]
    assert [trace.name for trace in learning_figure(view).data if trace.visible] == drawn
    assert list(dict.fromkeys(trace.name for trace in sigma_figure(view).data if trace.name)) == drawn
    (lines,) = parallel_figure(view).data
    by_name = {dimension.label: dimension for dimension in lines.dimensions}
    assert len(by_name["Δ"]["values"]) == len(view.complete) and sum(lines.line.color) == len(view.front)
    gflops = [10**value for value in by_name["GFLOPs"]["values"]]  # an axis over decades
    assert min(gflops) == pytest.approx(min(r.metrics.cost.client_gflops for r in view.complete))
    assert all(math.log10(float(text)) == pytest.approx(value) for value, text in zip(
        by_name["GFLOPs"].tickvals, by_name["GFLOPs"].ticktext, strict=True))  # fmt: skip


def test_the_line_over_split_points_is_the_best_of_each(record):
    records = [
        record(i, split=split, delta=delta) for i, (split, delta) in enumerate([(2, 40.0), (1, 30.0), (2, 50.0)])
    ]
    points, line = splits_figure(front_view(records, OBJECTIVES)).data
    assert list(points.y) == [40.0, 30.0, 50.0]
    assert (list(line.x), list(line.y)) == ([1, 2], [30.0, 50.0])


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_a_person_sees_every_point_and_name_at_any_width_in_light_and_dark(tmp_path):
    records = profiled(make_search(40))
    write_search_page(tmp_path / "front.html", records, OBJECTIVES, "digits", runs={0: "#/runs/0"})
    view = front_view(records, OBJECTIVES)
    with chromium() as browser:
        for width, dark in ((1280, False), (390, True)):
            browser.like(width=width, dark=dark)
            browser.open((tmp_path / "front.html").as_uri())
            points = browser.wait_for("document.querySelectorAll('#front .points path').length")
            assert points == len(view.complete)
            names = browser.run(
                "return [...document.querySelectorAll('#front .legendtext')].map(text => text.textContent)"
            )
            assert set(view.styles) <= set(names)
            for line in view.caption:
                assert line in browser.run("return document.body.innerText")
            assert browser.run("return document.documentElement.scrollWidth") <= width
            ink, paper = browser.run("""
                const of = (element, what) => getComputedStyle(element)[what].match(/[0-9]+/g).map(Number);
                return [of(document.querySelector("#front .xtick text"), "fill"), of(document.body, "backgroundColor")];""")
            assert (ink[0] > paper[0] + 150) if dark else (paper[0] > ink[0] + 150)
        # The menu of costs can be read in the dark, and draws the same points elsewhere.
        browser.click("#front .updatemenu-header")
        text, box = browser.run("""
            const button = document.querySelectorAll("#front .updatemenu-dropdown-button")[1];
            button.id = "memory";
            return [["text", "fill"], ["rect", "fill"]].map(([part, what]) =>
                getComputedStyle(button.querySelector(part))[what].match(/[0-9]+/g).map(Number));""")
        assert text[0] > box[0] + 150
        browser.click("#memory")
        browser.wait_for("document.querySelector('#front .xtitle').textContent == 'client memory, MiB'")
        assert browser.run("return document.querySelectorAll('#front .points path').length") == len(view.complete)
        # A point tells its numbers; where no server is known there is no address that leads nowhere.
        browser.run("document.querySelector('#front .points path').id = 'aim'")
        browser.click("#aim")
        assert "trial" in browser.wait_for("document.getElementById('picked').innerText")
        assert browser.run("return document.querySelectorAll('a').length") == 0
