"""What a search's run says: complete in itself, within what MLflow takes, and names as they are."""

from __future__ import annotations

import html
import re

from example_pipelines import DIGITS
from example_search import make_record, make_search
from markdown_it import MarkdownIt

from narl.config.search_space import SearchSpace
from narl.core.pareto import best_within, front_of
from narl.tracking.description import MOST_SHOWN, description, question

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")
SPACE = {"name": "s", "pipeline": DIGITS, "architectures": {"resnet18": {}}, "sigma": 0.5, "lambda": 0.1}


def described(records, objectives=OBJECTIVES, name="digits", asked="") -> str:
    return description(
        name, asked, records, objectives, page_of=lambda record: f"#/runs/{record.trial_id:032d}", figures="#/front"
    )


def page(text: str) -> str:
    return MarkdownIt("commonmark", {"html": False}).enable("table").render(text)


def test_question_choice_front_and_commands_are_there_each_trial_with_its_page():
    records = make_search(30)
    shown = page(described(records, asked=question(SearchSpace.model_validate(SPACE))))
    assert "<strong>Read parity, hide digit</strong>" in shown and 'href="#/front"' in shown
    front = front_of(records, OBJECTIVES)
    rows = re.findall(r'<td[^>]*><a href="#/runs/(\d+)">', shown)
    assert [int(row) for row in rows] == [r.trial_id for r in sorted(front, key=lambda r: -r.metrics.delta)]
    chosen = best_within(records, at_most={})
    assert f"/{chosen.config.split} ({chosen.trial_id})</a>, σ" in shown.split("<strong>Chosen</strong>")[1]
    assert "narl best-config --name digits &gt; best.yaml" in shown


def test_a_front_of_hundreds_fits_into_a_tag():
    records = [make_record(i, delta=50.0) for i in range(600)]  # nobody is better
    text = described(records)
    assert len(text) < 5000 and "580 more of lower Δ" in text and text.count("#/runs/") == MOST_SHOWN + 1


def test_of_nothing_it_says_that_there_is_nothing():
    for records in ([], [make_record(0, status="failed")]):
        text = described(records)
        assert "0 finished trials" in text and "no finished trial is recorded yet" in text and "|" not in text


def test_names_are_shown_as_they_are():
    pipeline = DIGITS | {"utility": DIGITS["utility"] | {"name": "a_b_c <b>|x|"}}
    shown = page(
        described(
            make_search(3),
            name="it's; rm -rf",
            asked=question(SearchSpace.model_validate(SPACE | {"pipeline": pipeline})),
        )
    )
    assert "a_b_c <b>|x|" in html.unescape(shown) and "<b>" not in shown
    assert "narl report 'it'\"'\"'s; rm -rf'" in html.unescape(shown)
