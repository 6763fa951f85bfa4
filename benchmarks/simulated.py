"""A search space of the zoo's clients and a formula instead of training, so that only the search itself costs time."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

from narl.config.load import build
from narl.config.search_space import SearchSpace
from narl.core.point import Point
from narl.core.records import ClientCost

NAME = "simulated"
FLOOR = 20.0


def space(trials: int, **changes: Any) -> SearchSpace:
    """26 clients of four architectures, σ and λ from ranges."""
    content = {
        "name": NAME,
        "pipeline": {
            "name": "digits",
            "source": {"kind": "digits"},
            "utility": {"name": "parity", "map": {"even": list("02468"), "odd": list("13579")}},
            "private": {"name": "digit"},
        },
        "architectures": {
            "resnet18": {},
            "mobilenet_v3_small": {},
            "shufflenet_v2_x1_0": {},
            "mobilenet_v2": {"split_points": [4, 8, 12, 16]},
        },
        "sigma": {"low": 0.1, "high": 10, "log": True},
        "lambda": {"low": 0.001, "high": 1, "log": True},
        "trials": trials,
    }
    return build(SearchSpace, content | changes, NAME)


def metrics(config: Point, cost: ClientCost) -> dict[str, Any]:
    """`TrialMetrics` as JSON, from the configuration alone: noise hides and harms, and hides more after a deep client.

    A scatter of about two points, drawn from the configuration, keeps the front from being one curve.
    """
    scatter = zlib.crc32(repr((config.arch, config.split, config.sigma, config.lambda_)).encode()) / 2**32 - 0.5
    noise = math.log1p(config.sigma)
    utility = 95 - 6 * noise**2 - 5 * config.lambda_**2 + 4 * scatter
    strongest = FLOOR + 65 * math.exp(-noise * (0.3 + math.log1p(100 * cost.client_gflops)) * (1 + config.lambda_))
    leakage = max(strongest, FLOOR)
    return {
        "utility": utility,
        "leakage": leakage,
        "strongest_adversary": strongest,
        "label_floor": FLOOR,
        "delta": utility - leakage,
        "delta_paper": utility - strongest,
        "feature_rms": 1.0,
        "snr_db": -20 * math.log10(config.sigma),
        "cost": vars(cost),
        "adversaries": {"rest": strongest, "mlp": strongest - 1},
        "train_seconds": 1.0,
        "attack_seconds": 1.0,
    }


def outcome(config: Point, cost: ClientCost, started_at: float) -> dict[str, Any]:
    """What a worker reports of such a trial."""
    return {"metrics": metrics(config, cost), "curves": {}, "tags": {}, "telemetry": {}, "started_at": started_at}


class DefineByRun:
    """narl's space, asked for as `OptunaSearch` does."""

    def __init__(self, space: SearchSpace):
        from narl.search.space import affordable

        self.space = affordable(space)

    def __call__(self, trial) -> None:
        self.space.propose(trial, conditional=True)


def check_study(folder: Path, url: str, trials: int) -> None:
    """Ledger and study hold the same trials with the same values."""
    import optuna

    from narl.search.ledger import read_ledger

    values = {r.trial_id: [r.metrics.delta, r.metrics.cost.client_gflops, r.metrics.cost.client_memory_mib]
              for r in read_ledger(folder / "ledger.jsonl")}  # fmt: skip
    told = optuna.load_study(study_name=NAME, storage=url).get_trials()
    complete = {t.user_attrs["trial_id"]: t.values for t in told if "duplicate_of" not in t.user_attrs}
    assert values == complete and len(values) == trials


def scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """As `TrialMetrics.scalars` names them."""
    from narl.core.records import TrialMetrics

    return TrialMetrics.from_json(metrics).scalars()


def check_runs(uri: str) -> int:
    """How many finished runs MLflow holds whose metrics are what the formula gives for their parameters."""
    from mlflow import MlflowClient

    from narl.core.point import Point
    from narl.search.space import affordable

    cost = affordable(space(1)).cost
    client = MlflowClient(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    good = 0
    for run in client.search_runs(experiments, max_results=50000):
        params = run.data.params
        if "sigma" not in params:
            continue  # the parent of narl's runs
        arch = params["arch"]
        split = int(params["split"] if "split" in params else params[f"split.{arch}"])
        config = Point(arch=arch, split=split, sigma=float(params["sigma"]), lambda_=float(params["lambda"]))
        expected = scalars(metrics(config, cost(config)))
        found = {name: run.data.metrics[name] for name in expected}
        good += run.info.status == "FINISHED" and found == expected
    return good
