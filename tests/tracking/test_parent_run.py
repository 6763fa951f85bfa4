"""The parent's numbers, kept as trials arrive, are those that all trials so far give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from narl.core.pareto import front_of
from narl.tracking.parent_run import Progress

OBJECTIVES = ("delta", "client_gflops", "client_memory_mib")


@pytest.mark.parametrize("step", [1, 7])
def test_progress_is_that_of_all_trials_so_far(search, step):
    records = search(40)
    progress = Progress(OBJECTIVES)
    for end in range(step, len(records) + 1, step):
        for record in progress.news(records[:end]):
            values = progress.count(record)
            so_far = records[: progress.steps]
            done = [r for r in so_far if r.metrics is not None]
            assert record == so_far[-1]
            assert (values["trials_complete"], values["trials_failed"]) == (len(done), len(so_far) - len(done))
            assert sorted(progress.front) == sorted(r.trial_id for r in front_of(so_far, OBJECTIVES))
            assert values["front_size"] == len(progress.front)
            assert values.get("best_delta") == max((r.metrics.delta for r in done), default=None)
        assert progress.news(records[:end]) == []


def test_gpu_time_and_energy_are_summed_where_there_were_gpus_and_absent_elsewhere(record):
    progress = Progress(OBJECTIVES)
    assert "gpu_seconds" not in progress.count(record(0))
    first = replace(
        record(1), telemetry={"gpu_seconds": 10.0, "gpu_energy_joules": 900.0, "gpu_power_mean_watts": 90.0}
    )
    second = replace(record(2), telemetry={"gpu_seconds": 5.0})  # a card that does not tell its energy
    progress.count(first)
    values = progress.count(second)
    assert (values["gpu_seconds"], values["gpu_energy_joules"]) == (15.0, 900.0)
    assert "gpu_power_mean_watts" not in values
