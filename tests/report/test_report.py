"""The report of a search: its numbers, what it says where nothing was recorded, and a page that needs no other."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from browser import MISSING, chromium
from example_pipelines import DIGITS
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from narl.cli.main import main
from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.core.chance import wilson_interval
from narl.core.markdown import escaped, table
from narl.core.printable import printable
from narl.core.records import SigmaLevel, Stopped
from narl.report.cost import busy_seconds
from narl.report.gains import one_unit_more, steps
from narl.report.subject import Subject
from narl.report.text import report_text
from narl.search.best import Demands
from narl.search.confirmed import Confirmation, ConfirmedTrial
from narl.search.folder import SearchFolder
from narl.search.ledger import Ledger

SPACE = {
    "name": "asked",
    "pipeline": DIGITS,
    "architectures": {"resnet18": {}},
    "sigma": 1,
    "lambda": 0.1,
    "attack": {"adversaries": ["bayes", "mlp"], "queries": [16]},
}
CLASSES = {
    "utility": {"even": {"train": 60, "validation": 30, "test": 9}, "odd": {"train": 50, "validation": 20, "test": 8}},
    "private": {f"{i}": {"train": 11, "validation": 5, "test": 1} for i in range(10)},
}
# Δ 60 for 0.5 GFLOPs, 65 for 1.2, 66 for 9; the last would be cheapest, and is no better than sending nothing (Δ 41).
RECORDS = [
    make_record(0, gflops=0.5, utility=90, leakage=30, bound=31, chance=51.0),
    make_record(1, gflops=1.2, utility=94, leakage=29, bound=30, chance=51.0, split=4),
    make_record(2, gflops=9.0, utility=95, leakage=29, bound=29, chance=51.0, split=2),
    make_record(3, gflops=0.1, utility=70, leakage=50, bound=55, chance=51.0, split=1),
    make_record(4, error="DivergedTraining: epoch 3"),
]


def subject(records=RECORDS, *, space=SPACE, **demands) -> Subject:
    return Subject("asked", build(SearchSpace, space, "space"), records, Demands(**demands), CLASSES)


# Half the noise gives 5 points of utility and 15 of leakage more, twice as much takes 20 and 5.
PROFILE = tuple(
    SigmaLevel(*level)
    for level in ((0.1, 99, 90, 99), (0.5, 95, 45, 60), (0.7, 93, 36, 41), (1.0, 90, 30, 31), (2.0, 70, 25, 26))
)


def profiled(record, *, used=None):
    return replace(record, metrics=replace(record.metrics, sigma_profile=PROFILE, sigma_inference=used))


def words(markdown: str) -> str:
    """The text as a reader has it."""
    rendered = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return html.unescape(re.sub(r"<[^>]*>", "", rendered))


@given(st.text(min_size=1, max_size=40) | st.text("$`*_[]<>&|~:\\#-+.!=1a {}", min_size=1, max_size=12))
def test_whatever_a_name_holds_a_reader_sees_the_name(name):
    (line,) = words(f"name {escaped(name)}/3").splitlines()
    assert line == f"name {printable(name)}/3"
    cell = words(table(["x"], [[f"“{escaped(name)}”"]])).split("“")[1]
    assert cell.split("”")[0] == printable(name) or "”" in name or "“" in name


def test_each_step_adds_what_the_dearer_client_has_more_and_is_known_to_what_four_accuracies_are():
    first, second = steps(subject())
    assert (first.record.trial_id, second.record.trial_id) == (1, 2)
    assert (first.cost, first.gain) == (pytest.approx(0.7), pytest.approx(5.0))
    halves = [(high - low) / 2 for low, high in (wilson_interval(percent, 300) for percent in (90, 30, 94, 29))]
    assert first.known_to == pytest.approx(sum(half**2 for half in halves) ** 0.5)


def test_one_gflop_more_is_one_more_than_the_choice_takes_and_keeps_the_other_bounds():
    step = one_unit_more(subject(), RECORDS[0])
    assert step.record.trial_id == 1  # the best of all takes 8.5 more
    assert one_unit_more(subject(), RECORDS[1]) is None
    assert one_unit_more(subject(max_leakage=28), RECORDS[0]) is None


def costing(record, **cost):
    return replace(record, metrics=replace(record.metrics, cost=replace(record.metrics.cost, **cost)))


@pytest.mark.parametrize(
    ("cost", "one", "unit", "option"),
    [
        ("client_gflops", "One more GFLOP an image", "GFLOPs", "--budget-gflops"),
        ("client_memory_mib", "One more MiB of memory", "MiB", "--budget-memory-mib"),
        ("uplink_kib", "One more KiB sent an image", "KiB", "--budget-uplink-kib"),
        ("peak_activation_mib", "One more MiB while it runs", "MiB", "--budget-activation-mib"),
        ("client_latency_ms", "One more ms an answer", "ms", "--budget-latency-ms"),
    ],
)
def test_what_more_would_buy_is_told_in_the_searchs_own_cost(cost, one, unit, option):
    """Of clients that are dearer the fewer GFLOPs they take, unless GFLOPs are what counts."""
    chosen, better, best, _, _ = RECORDS
    records = [
        costing(record, **({"client_gflops": 3.0 - i} | {cost: value}))
        for i, (record, value) in enumerate(((chosen, 2.5), (better, 3.25), (best, 7.0)))
    ]
    space = build(SearchSpace, SPACE, "space").model_copy(update={"objectives": ("delta", cost)})
    budget = {option[2:].replace("-", "_"): 2.75}
    asked = replace(subject(records, **budget), space=space)
    assert [step.record.trial_id for step in steps(asked)] == [1, 2]
    assert [step.cost for step in steps(asked)] == [0.75, 3.75]
    text = words(report_text(asked))
    assert f"{one} would buy 5.0 ± " in text and f"resnet18/4 (1) takes 0.75 {unit} more." in text
    assert f"The dearest client tried takes 7 {unit}." in text and re.search(rf"\bto\s+{unit} more\b", text)
    assert ("GFLOP more" in text or "One more GFLOP" in text) == (cost == "client_gflops")
    whole = words(report_text(replace(subject(records), space=space)))
    assert f"narl report {option} …" in whole and f"{one} would buy nothing" in whole
    assert f"no client with up to 8 {unit} has a higher Δ." in whole


def test_the_first_cost_counts_and_gflops_where_there_is_none():
    for objectives, one in (
        (["delta", "uplink_kib", "client_gflops"], "One more KiB sent"),
        (["utility", "leakage"], "One more GFLOP an image"),
    ):
        text = report_text(subject(space=SPACE | {"objectives": objectives}))
        assert one in text and text.count("One more ") == 1


def test_bounds_that_more_cost_does_not_lift_are_named():
    text = words(report_text(subject(budget_gflops=1.5, min_utility=85)))
    assert "no client with up to 2.2 GFLOPs and within the other bounds has a higher Δ." in text


def test_a_decision_is_told_with_units_and_with_what_it_rests_on():
    text = words(report_text(subject(budget_gflops=0.6)))
    low, high = wilson_interval(90, 300)
    assert f"reads “{DIGITS['utility']['name']}” for 90.0 ± {(high - low) / 2:.1f} % of the images" in text
    assert "resnet18/3 is the best of 4 configurations tried with at most 0.6 GFLOPs an image." in text
    assert "reads more than 31.0 % of these images" in text and "of 300 validation images" in text
    assert "1 is no better than sending nothing; 3 cannot be improved" in text
    assert (
        "One more GFLOP an image would buy 5.0 ± " in text
        and "resnet18/4 (1) takes 0.7 GFLOPs more" in text
        and "it may be luck" in text
    )
    assert "51.0 %, and an attacker that of “digit”, 10.0 %. The difference is 41.0 points." in text
    assert "Δ cannot be above 80.0 points" in text and "1 ×: DivergedTraining: epoch 3" in text
    assert "one answer to each picture, and also the mean of 16" in text
    (total,) = re.findall(r"all images\s+110\s+50\s+17\s+Private", text)
    assert total and not re.search(r"[{}]|None|nan", text)


def test_what_more_and_less_noise_would_do_is_told_of_the_chosen_client():
    text = report_text(subject([*RECORDS[:1], profiled(RECORDS[1])]))
    section = words(text).partition("What more or less noise would do")[2].partition("What the attacker was allowed")[0]
    more, less = section.split("With less noise")
    assert "With more noise (σ 2, 2 times that in use)" in more and "for 70.0 % of the images instead of 90.0 %" in more
    assert "“digit” for 25.0 % instead of 30.0 %: Δ −15.0 points" in more
    assert "(σ 0.5, 0.5 times that in use)" in less and "for 45.0 % instead of 30.0 %: Δ −10.0 points" in less
    assert "| 1 | 90.0 | 30.0 | 31.0 | 60.0 | 59.0 | of training and in use |" in text
    assert "(sigma_profile.png)" in text and "| 0.7 | 93" not in text and "| 0.5 | 95.0 " in text
    text = report_text(subject([profiled(RECORDS[1], used=0.5)]))
    assert "| 0.5 | 95.0 | 45.0 | 60.0 | 50.0 | 35.0 | in use |" in text and "| of training |" in text
    assert "Not known: no client was chosen" in report_text(subject())


def test_what_nobody_recorded_is_said_to_be_so():
    old = [replace(make_record(i, gflops=1 + i, utility=80 + i), telemetry={}) for i in range(2)]
    text = words(report_text(replace(subject(old), classes=None)))
    assert "How many images there are of each class was not recorded" in text
    assert "How many validation images these percentages rest on was not recorded." in text
    assert "What a client that sends nothing would give was not recorded" in text
    assert "There is no proven limit" in text and "±" not in text.split("What the attacker")[0].replace("± is", "")


def test_who_asks_for_what_is_certain_is_told_of_that():
    text = words(report_text(subject(budget_gflops=0.6, certified=True)))
    assert "the highest Δ that is certain." in text
    assert "buy 5.0 ± " in text and "points of Δ that is certain: resnet18/4 (1)" in text


def test_where_nothing_can_be_chosen_the_report_says_why_and_still_shows_the_front():
    text = words(report_text(subject(budget_gflops=0.2)))
    assert "There is no client to recommend: of 4 finished trials 1 has client_gflops <= 0.2, but" in text
    assert "`--with" not in text and "--with-worthless admits it" in text
    assert "resnet18/2 (2)" in text
    text = words(report_text(subject(RECORDS[3:])))
    assert "0 cannot be improved" in text and "none of 1 finished trials is worth more than sending nothing" in text


def test_latency_is_told_where_it_is_known_of_all():
    known = [replace(r, metrics=r.metrics and r.metrics.with_latency(2.5 + r.trial_id)) for r in RECORDS]
    text = report_text(subject(known))
    assert "| sent, KiB | ms | useful, % |" in text and "| resnet18/4 (1) | 1.2 | 10 | 4 | 3.5 | 94.0 ±" in text
    assert "| *send nothing* | 0 | 0 | 0 | 0 | 51.0 |" in text and "| latency | 4.5 ms an answer |" in text
    assert "ms an answer" not in report_text(subject([*known[1:], RECORDS[0]]))


def test_doubts_are_told():
    doubted = replace(RECORDS[0], tags={"doubts": "mlp had not converged", "utility_doubts": "M2 reads less"})
    text = words(report_text(replace(subject([doubted]), data_doubts=("3 images are equal",))))
    assert (
        "for at least 30.0 ±" in text
        and "Of resnet18/3 (0): more may leak than was read, as mlp had not converged." in text
        and "3 images are equal." in text
        and "(0): the useful accuracy may be too low, as M2 reads less." in text
    )
    assert "300 images tell an accuracy to ± 6 points at worst" in text


def test_trials_that_were_stopped_are_no_failures():
    why = Stopped(epoch=1, delta=40.0, expected=42.0, at_most=44.0, needed=60.0, beaten_by=0)
    stopped = replace(RECORDS[4], trial_id=5, status="stopped", error=None, stopped=why)
    text = words(report_text(subject([*RECORDS, stopped])))
    assert re.search(r"could not be worth considering\s+1\s", text) and re.search(r"trials that failed\s+1\s", text)


def test_time_in_which_some_trial_ran_counts_once():
    spans = [(0, 10), (5, 12), (20, 21), (20, 20.5)]
    records = [replace(make_record(i), started_at=a, finished_at=b) for i, (a, b) in enumerate(spans)]
    assert busy_seconds(records) == 13


@pytest.fixture
def searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = SearchFolder(tmp_path / "narl-runs" / "asked")
    folder.save_space(build(SearchSpace, SPACE, "space"))
    ledger = Ledger(folder.ledger_path)
    for record in (profiled(RECORDS[0]), *RECORDS[1:]):
        ledger.append(record)
    return folder


def test_the_command_writes_a_page_that_needs_nothing_else(searched, capsys):
    searched.images_path.write_text(json.dumps({"place": "x", "content": "y", "classes": CLASSES, "doubts": []}))
    assert main(["report", "asked", "--budget-gflops", "0.6", "--certified"]) == 0
    assert "reports/asked/report.html" in capsys.readouterr().out
    page = Path("reports/asked/report.html").read_text(encoding="utf-8")
    head, own = page.partition("<script")[0], re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", own) and "@import" not in page.split("</style>")[0]
    assert "width=device-width" in head and "prefers-color-scheme: dark" in head and '<html lang="en">' in head
    assert own.count("<table>") == own.count('<div class="wide">') == 7
    assert 'id="sigma_profile"' in page and page.count('<noscript><img src="data:') == 2
    text = Path("reports/asked/report.md").read_text(encoding="utf-8")
    assert "narl best-config --name asked --budget-gflops 0.6 --certified > best.yaml" in text
    assert "(front.png)" in text and Path("reports/asked/front.png").read_bytes().startswith(b"\x89PNG")
    assert Path("reports/asked/sigma_profile.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_figures_can_be_read_in_the_dark_on_a_telephone(searched):
    assert main(["report", "asked", "--budget-gflops", "0.6"]) == 0
    with chromium() as browser:
        browser.like(width=390, dark=True)
        browser.open(Path("reports/asked/report.html").absolute().as_uri())
        assert browser.wait_for("document.querySelectorAll('#sigma_profile .points path').length") == 3 * len(PROFILE)
        dim = browser.run("""
            const light = (text) => Math.min(...getComputedStyle(text).fill.match(/[0-9]+/g).slice(0, 3).map(Number));
            const texts = [...document.querySelectorAll("#front text, #sigma_profile text")];
            return texts.filter((text) => text.textContent && light(text) < 200).map((text) => text.textContent);""")
        assert dim == [] and browser.run("return document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("content", ["", "[]", '{"classes": {"utility": 3}, "doubts": 3}', "[" * 50_000])
def test_facts_about_images_that_cannot_be_read_are_facts_that_are_not_there(searched, content):
    searched.images_path.write_text(content)
    assert main(["report"]) == 0
    assert "was not recorded" in Path("reports/asked/report.md").read_text(encoding="utf-8")


def test_no_report_of_nothing_and_none_where_it_cannot_be_written(searched, capsys):
    Path("taken").write_text("")
    assert main(["report", "--out", "taken"]) == 2
    assert "taken" in capsys.readouterr().err
    searched.ledger_path.unlink()
    assert main(["report"]) == 1
    assert "no finished trial yet" in capsys.readouterr().err


def test_it_says_whether_the_front_holds_on_test_images():
    assert "Nobody has asked yet" in report_text(subject())
    shared = {"client": "resnet18/3", "chance": 1.0, "leakage": 30.0, "leakage_bound": 31.0, "doubts": ()}
    cheap = {"trial_id": 0, "searched": 60.0, "deltas": (57.0, 58.0), "utility": 87.5, "costs": {"client_gflops": 0.5}}
    dear = {"trial_id": 1, "searched": 65.0, "deltas": (55.0, 56.0), "utility": 85.5, "costs": {"client_gflops": 1.2}}
    trials = tuple(ConfirmedTrial(**shared, **own, error=1.0) for own in (cheap, dear))
    found = Confirmation(
        objective="delta", num_images=17, seeds=(1, 2), trials=trials, failed={2: "seed 1: it diverged"}
    )
    text = report_text(replace(subject(), confirmation=found))
    assert "| 57.5 ±" in text and "| 55.5 ±" in text
    (held,) = [
        row for row in text.splitlines() if row.startswith("| resnet18/3 (0)") and row.rstrip("| ").endswith("yes")
    ]
    (fell,) = [
        row for row in text.splitlines() if row.startswith("| resnet18/3 (1)") and row.rstrip("| ").endswith("no")
    ]
    assert f"| {found.lower(trials[0], 0.95):.1f} " in held and f"| {found.lower(trials[1], 0.95):.1f} " in fell
    assert "lost 6.0 points on average" in text  # 2.5 and 9.5
    assert "Trial 2 could not be trained with every seed: seed 1: it diverged." in text
