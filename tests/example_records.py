"""A record without training anything."""

from __future__ import annotations

from narl.core.point import Point
from narl.core.records import ClientCost, TrialMetrics, TrialRecord


def make_record(
    trial_id: int = 0,
    *,
    arch: str = "resnet18",
    split: int = 3,
    sigma: float = 1.0,
    lambda_: float = 0.01,
    seed: int = 0,
    utility: float = 90.0,
    leakage: float = 30.0,
    gflops: float = 1.0,
    memory: float = 10.0,
    floor: float = 20.0,
    bound: float | None = None,
    identification: float | None = None,
    chance: float | None = None,
    error: str | None = None,
    repeats: str | None = None,
) -> TrialRecord:
    """A record with consistent numbers; failed if `error` is given. `repeats` is the number of a failed trial.

    By default without numbers that hold for every reader, and without `chance`, the useful label's largest class among
    300 images (the private one's is 10 %).
    """
    config = Point(arch=arch, split=split, sigma=sigma, lambda_=lambda_, seed=seed)
    if error is not None:
        return TrialRecord(trial_id, config, "failed", error=error, started_at=1.0, finished_at=2.0)
    clamped = min(max(leakage, floor), 100 if bound is None else bound)
    metrics = TrialMetrics(
        utility=utility,
        leakage=clamped,
        strongest_adversary=leakage,
        label_floor=floor,
        delta=utility - clamped,
        delta_paper=utility - leakage,
        feature_rms=1.0,
        snr_db=0.0,
        cost=ClientCost(gflops, memory, 4.0, 0.5),
        adversaries={"rest": leakage - 1, "mlp": leakage},
        train_seconds=1.0,
        attack_seconds=2.0,
        leakage_bound=bound,
        identification=identification,
        utility_bound=None if bound is None else utility + 1,
        num_samples=None if chance is None else 300,
        utility_chance=chance,
        private_chance=None if chance is None else 10.0,
    )
    tags = {} if repeats is None else {"retry_of": repeats}
    curves = {"train_task_loss": [0.7, 0.4], "attack_utility": [60.0, utility]}
    return TrialRecord(trial_id, config, "complete", metrics, started_at=1.0, finished_at=4.0, curves=curves, tags=tags)
