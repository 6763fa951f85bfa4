"""How many trials ran when: nothing is counted twice and nothing left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_records import make_record
from hypothesis import given
from hypothesis import strategies as st

from narl.core.errors import ConfigError
from narl.figures.concurrency import FEW, concurrency, concurrency_png

SECONDS = st.floats(0, 1e4, allow_nan=False)
TRIALS = st.lists(st.tuples(SECONDS, SECONDS, st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])), min_size=1)


def record(begin: float, lasts: float, node: str):
    return replace(make_record(), started_at=1e9 + begin, finished_at=1e9 + begin + lasts, tags={"node": node})


@given(TRIALS)
def test_the_area_of_each_node_is_the_time_that_its_trials_took(trials):
    records = [record(*trial) for trial in trials]
    times, counts = concurrency(records)
    assert (np.diff(times) > 0).all() and times[0] == 0
    for node, count in counts.items():
        assert count[-1] == 0 and (count >= 0).all()
        took = sum(r.finished_at - r.started_at for r in records if r.tags["node"] == node)
        assert count[:-1] @ np.diff(times) == pytest.approx(took, abs=1e-5)


def test_two_trials_one_after_another_and_one_beside_them():
    times, counts = concurrency([record(0, 2, "a"), record(2, 2, "a"), record(1, 2, "b,c")])
    assert times.tolist() == [0, 1, 2, 3, 4]
    assert {node: count.tolist() for node, count in counts.items()} == {"a": [1, 1, 1, 1, 0], "b": [0, 1, 1, 0, 0]}


@pytest.mark.parametrize("nodes", [1, 2, FEW + 5])
def test_a_picture_of_any_number_of_nodes(tmp_path, nodes):
    concurrency_png([record(i, 5, f"10.0.0.{i}") for i in range(nodes)], "digits", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_has_run_yet(tmp_path):
    with pytest.raises(ConfigError, match="no finished trial"):
        concurrency_png([], "digits", tmp_path / "c.png")
