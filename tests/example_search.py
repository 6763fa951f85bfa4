"""Records that look like those of a real search: ten client shapes, noise that trades utility for leakage."""

from __future__ import annotations

import numpy

from narl.core.point import Point
from narl.core.records import ClientCost, TrialMetrics, TrialRecord

# (arch, split): GFLOPs, MiB, KiB, MiB of activations
CLIENTS = {
    ("resnet18", 1): (0.0243, 0.603, 16.0, 0.5),
    ("resnet18", 2): (0.0422, 2.613, 8.0, 0.5),
    ("resnet18", 3): (0.0617, 10.633, 4.0, 0.5),
    ("resnet18", 4): (0.0812, 42.672, 2.0, 0.5),
    ("resnet18_cifar", 2): (0.5571, 2.583, 128.0, 1.0),
    ("mobilenet_v2", 8): (0.0088, 0.412, 1.0, 1.1),
    ("mobilenet_v2", 16): (0.0135, 3.970, 0.6, 1.1),
    ("mobilenet_v3_small", 6): (0.0021, 0.21, 0.4, 0.3),
    ("vgg11_bn", 5): (0.1902, 8.186, 8.0, 0.6),
    ("shufflenet_v2_x1_0", 3): (0.0054, 0.6, 1.8, 0.4),
}
FLOOR = 20.0


def make_record(trial_id, *, arch="resnet18", split=3, sigma=0.5, delta=60.0, status="complete", **changes):
    """One record; `delta` sets utility and leakage."""
    leakage = max(FLOOR, 85.0 - delta)
    gflops, memory, uplink, activations = CLIENTS.get((arch, split), (0.05, 5.0, 4.0, 0.5))
    metrics = TrialMetrics(
        utility=leakage + delta,
        leakage=leakage,
        strongest_adversary=leakage,
        label_floor=FLOOR,
        delta=delta,
        delta_paper=delta,
        feature_rms=0.9,
        snr_db=None if sigma == 0 else 20 * numpy.log10(0.9 / sigma).item(),
        cost=ClientCost(gflops, memory, uplink, activations),
        adversaries={"rest": leakage, "mlp": leakage - 1},
        train_seconds=3.0,
        attack_seconds=2.0,
    )
    return TrialRecord(
        trial_id=trial_id,
        config=Point(arch=arch, split=split, sigma=sigma, lambda_=changes.pop("lambda_", 0.01)),
        status=status,
        metrics=metrics if status == "complete" else None,
        error=None if status == "complete" else "DivergedTraining: the loss became nan in epoch 3",
        started_at=1_700_000_000.0 + 10 * trial_id,
        finished_at=1_700_000_005.0 + 10 * trial_id,
        **changes,
    )


def make_search(count, seed=0, curves=True):
    """`count` records, about one in ten failed."""
    rng = numpy.random.default_rng(seed)
    clients = list(CLIENTS)
    records = []
    for trial_id in range(count):
        arch, split = clients[rng.integers(len(clients))]
        sigma = float(rng.choice([0.0, 0.25, 0.5, 1.0, 1.5]))
        strength = 8 * numpy.log10(CLIENTS[arch, split][0] * 1000) + 6 * numpy.log10(CLIENTS[arch, split][1] + 1)
        delta = float(round(40 + strength + 18 * sigma - 9 * sigma**2 + rng.normal(0, 4), 2))
        failed = rng.random() < 0.1
        series = {name: [1 / (e + 1) for e in range(8)] for name in ("utility_loss", "leakage_loss")} if curves else {}
        records.append(
            make_record(
                trial_id,
                arch=arch,
                split=split,
                sigma=sigma,
                delta=min(delta, 79.0),
                status="failed" if failed else "complete",
                lambda_=float(10 ** rng.uniform(-3, 0)),
                curves=series,
            )
        )
    return records
