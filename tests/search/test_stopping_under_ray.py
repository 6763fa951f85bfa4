"""Ray Tune and a plain loop come to the same trials and the same verdicts: the loop is what benchmarks replay."""

from __future__ import annotations

import json
import os
import sys

import pytest
from bench import Bench
from ray import tune
from toy import affordable, toy_space
from watched import deltas, outcome, run_watched

from narl.config.trial import TrainConfig
from narl.search.runner import ray_runtime, run_session, trial_resources

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]
TRIALS = 24


class ByFormula(tune.Trainable):
    """Reports what narl.search.trainable.TrialActor would, of trials that cost no time."""

    def setup(self, config):
        run = TrainConfig.model_validate(config["run"])
        space = affordable(SPACE)
        self._deltas, self._end = deltas(run.trial, space), outcome(run.trial, space)
        self._epoch = 0
        assert config["watch"]

    def step(self):
        if self._epoch == len(self._deltas):
            return {"done": True, "outcome": json.dumps(self._end)}
        epoch, delta = self._epoch, self._deltas[self._epoch]
        self._epoch += 1
        return {"phase": "train", "epoch": epoch, "detail": "", "delta": delta, "delta_certified": delta}

    def reset_config(self, new_config):
        self.setup(new_config)
        return True


SPACE = toy_space(sampler="tpe", trials=TRIALS, early_stopping=True, resources={"max_concurrent_trials": 1})


def test_ray_tune_and_a_plain_loop_come_to_the_same_verdicts(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # so that workers find this file
    folders = [tmp_path / "loop", tmp_path / "ray"]
    for folder in folders:
        folder.mkdir()
    loop, live = (Bench(folder, SPACE) for folder in folders)
    run_watched(loop.session, loop.space)
    with ray_runtime(None):
        run_session(live.session, SPACE, trial_resources(SPACE.resources), ByFormula)
    expected = [(r.trial_id, r.config, r.status, r.stopped) for r in loop.ledger.records]
    assert [(r.trial_id, r.config, r.status, r.stopped) for r in live.ledger.records] == expected
    assert len(expected) == TRIALS and any(r.stopped for r in live.ledger.records)
    assert live.session.ended and not live.session.set_aside
