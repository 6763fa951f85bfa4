"""Methods side by side: where each line of leakage begins and ends."""

from __future__ import annotations

import pytest

from narl.figures.brackets import brackets_png


def report(read: dict[str, float], bounds: dict[str, float]) -> dict:
    return {
        "leakage_at_queries": read,
        "interval95": {"leakage_at_queries": {n: (percent - 2, percent + 2) for n, percent in read.items()}},
        "leakage_bound_at_queries": bounds,
        "mean": {"utility": 90.0},
        "label_floor": 20.0,
    }


def test_a_line_leads_from_what_was_read_to_what_nobody_exceeds(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("narl.figures.brackets.write_png", lambda figure, path: drawn.append(figure))
    read = {"1": 21.0, "4": 25.0, "16": 30.0, "∞": 60.0}
    reports = {"narl": report(read, {"1": 22.0, "4": 27.0, "16": 36.0, "∞": 100.0}), "none": report(read, {})}
    brackets_png(reports, "of one", tmp_path / "brackets.png")
    (axes,) = drawn[0].axes
    lines = {(tuple(line.get_xdata()), line.get_linewidth()) for line in axes.lines}
    assert {((21.0, 22.0), 3), ((30.0, 36.0), 3), ((60.0, 100.0), 0.8)} <= lines  # the second of four is left out
    assert ((21.0, 100.0), 0.8) in lines  # no bound is known: no certificate
    assert [text.get_text() for text in axes.get_yticklabels()] == ["narl", "none"]


@pytest.mark.parametrize("name", ["$\\alpha", "a\nb"])
def test_names_are_drawn_as_they_are(name, tmp_path):
    brackets_png({name: report({"1": 21.0}, {})}, name, tmp_path / "brackets.png")
    assert (tmp_path / "brackets.png").read_bytes().startswith(b"\x89PNG")
