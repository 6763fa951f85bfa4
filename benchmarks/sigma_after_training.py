"""What choosing σ after training brings, and how optimistic the choice is: closed form, then fresh networks, on digits.

Each client is trained once a seed. Its profile says what it would be at every σ; `best` is the σ of the largest Δ on
validation images, `matched` the one of training. The first table has Δ in closed form of test images at fixed σ, the
second Δ where the choice was made (validation) and where it counts (test), the third Δ as `narl train` reports it, by
fresh networks on test images.

    python -m benchmarks.sigma_after_training
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import pin_threads

CLIENTS = (
    {"arch": "mobilenet_v3_small", "split": 8, "sigma": 7.4, "lambda": 0.1},
    {"arch": "mobilenet_v3_small", "split": 8, "sigma": 16.0, "lambda": 0.1},
    {"arch": "mobilenet_v3_small", "split": 5, "sigma": 5.0, "lambda": 0.01},
    {"arch": "shufflenet_v2_x1_0", "split": 3, "sigma": 16.0, "lambda": 0.01},
)
FIXED = (3.0, 5.0, 7.4, 11.0, 16.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    pin_threads(args.threads)
    at_fixed, chosen, trained = [], [], []
    for content in CLIENTS:
        clients = [Client(content, seed) for seed in range(args.seeds)]
        name = f"{content['arch']}/{content['split']} λ {content['lambda']:g} | {content['sigma']:g}"
        if content["arch"] == "mobilenet_v3_small" and content["split"] == 8:
            at_fixed.append([name, *(mean(client.on_test[sigma].delta for client in clients) for sigma in FIXED)])
        for client in clients:
            best, matched = client.best, content["sigma"]
            numbers = (client.on_validation[best].delta, client.on_test[best].delta)
            numbers += (client.on_validation[matched].delta, client.on_test[matched].delta)
            numbers += (max(level.delta for level in client.on_test.values()),)
            chosen.append([f"{name} | {client.seed} | {best:g}", *map(rounded, numbers), f"{client.seconds:.2f}"])
            deltas = [client.by_networks(sigma) for sigma in (None, best)]
            trained.append([f"{name} | {client.seed} | {best:g}", *map(rounded, deltas)])
    table("client | trained with", *(f"at {sigma:g}" for sigma in FIXED), rows=at_fixed)
    heads = (
        "best, validation",
        "best, test",
        "matched, validation",
        "matched, test",
        "largest, test",
        "profile, CPU s",
    )
    table("client | trained with | seed | best σ", *heads, rows=chosen)
    table("client | trained with | seed | best σ", "matched, networks", "best, networks", rows=trained)


class Client:
    """One client, trained as the embedded search does.

    Attributes:
        on_validation, on_test: its profile, by σ.
        best: the σ that is chosen.
        seconds: of CPU time that the profile on validation images took.
    """

    def __init__(self, content: dict, seed: int) -> None:
        from narl.attacks.sigma_profile import profile_of
        from narl.config.load import build
        from narl.config.search_space import SearchSpace
        from narl.config.trial import TrainConfig
        from narl.core.sigma_choice import best_sigma
        from narl.core.steps import drained
        from narl.data.dataset import open_dataset
        from narl.trial import run_trial

        space = SearchSpace.load(Path(__file__).parents[1] / "search_spaces" / "digits.yaml")
        self.seed = seed
        self._config = build(
            TrainConfig,
            {
                "pipeline": space.pipeline.model_dump(),
                "trial": {**content, "seed": seed},
                "training": space.training.model_dump(),
                "attack": space.attack.model_dump() | {"adversaries": ["bayes", "rest", "mlp"]},
            },
            "benchmark",
        )
        self._dataset = open_dataset(self._config.pipeline, splits=("train", "validation", "test"))
        self._outcome = drained(run_trial(self._config, self._dataset, report_on="test"), lambda step: None)
        target = self._outcome.target
        begin = time.process_time()
        grid = drained(profile_of(target), lambda step: None)
        self.seconds, self.best = time.process_time() - begin, best_sigma(grid)
        levels = drained(profile_of(target, also=FIXED), lambda step: None)
        self.on_validation = {level.sigma: level for level in levels}
        on_test = drained(profile_of(target, on="test", also=FIXED), lambda step: None)
        self.on_test = {level.sigma: level for level in on_test}

    def by_networks(self, sigma: float | None) -> float:
        """Δ of test images, M2 and adversaries trained for `sigma`; None: as in training."""
        from narl.core.steps import drained
        from narl.methods.catalogue import halves_of
        from narl.trial import attack_client

        if sigma is None:
            return self._outcome.metrics.delta
        point = self._config.trial.at_inference(sigma)
        trained = replace(self._outcome.trained, halves=halves_of(point, self._dataset.image_size))
        steps = attack_client(self._config, trained, self._dataset, report_on="test")
        outcome = drained(steps, lambda step: None)
        assert outcome.obfuscator.noise.sigma == sigma
        return outcome.metrics.delta


def mean(values: Iterable[float]) -> str:
    return rounded(statistics.mean(values))


def rounded(value: float) -> str:
    return f"{value:.1f}"


def table(*heads: str, rows: list[list[str]]) -> None:
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * (len(" | ".join(heads).split(" | "))))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


if __name__ == "__main__":
    main()
