"""One configuration trained for keeps: reported on test images that no choice has seen, over seeds, with intervals."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from narl.config.trial import TrainConfig
from narl.core.steps import drained
from narl.data.dataset import open_dataset
from narl.evaluation.intervals import mean_interval, wilson_interval
from narl.evaluation.seed import leakage_doubts, with_seed
from narl.export.bundle import write_bundle
from narl.methods.catalogue import halves_of
from narl.training.classification import num_outputs
from narl.trial import Progress, TrialOutcome, run_trial

REPORTED = ("utility", "leakage", "delta", "delta_paper", "strongest_adversary", "label_floor", "feature_rms")


@dataclass(frozen=True)
class FinalResult:
    """Outcomes on the test split, one a seed, and what they say together.

    Attributes:
        report: JSON-ready; per seed and mean, each with a 95 % interval.
        utility_classes: what the server's outputs mean.
    """

    outcomes: dict[int, TrialOutcome]
    report: dict[str, Any]
    utility_classes: tuple[str, ...]


def train_final(
    config: TrainConfig, *, num_seeds: int = 1, on_progress: Callable[[int, Progress], None] = lambda seed, step: None
) -> FinalResult:
    """Train and attack `config` with seeds `config.trial.seed`, `+ 1`, …; accuracies are of the test split.

    Raises:
        ConfigError, DataError: the configuration or its images cannot be used.
        TrialFailure: training blew up.
    """
    halves_of(config.trial.to_record(), config.pipeline.image.size)  # refused before the images are opened
    dataset = open_dataset(config.pipeline, splits=("train", "validation", "test"))
    outcomes = {}
    for seed in range(config.trial.seed, config.trial.seed + num_seeds):
        steps = run_trial(with_seed(config, seed), dataset, report_on="test")
        outcomes[seed] = drained(steps, functools.partial(on_progress, seed))
    return FinalResult(outcomes, _report(outcomes), dataset.utility_classes)


def save_final(folder: Path, config: TrainConfig, result: FinalResult) -> None:
    """Write both halves of the first seed (never the one that did best on test), configuration and metrics.

    Raises:
        ConfigError: see `narl.export.bundle.refuse_occupied`.
    """
    seed, outcome = next(iter(result.outcomes.items()))
    facts = {
        "image_size": config.pipeline.image.size,
        "utility_classes": list(result.utility_classes),
        "utility_outputs": num_outputs(len(result.utility_classes)),
    }
    write_bundle(
        folder,
        client_state=outcome.obfuscator.state_dict(),
        server_state=outcome.leakage.utility_network.state_dict(),
        config={**with_seed(config, seed).model_dump(mode="json", by_alias=True), **facts},
        metrics=result.report,
    )


def _report(outcomes: dict[int, TrialOutcome]) -> dict[str, Any]:
    by_seed = {}
    for seed, outcome in outcomes.items():
        m, count = outcome.metrics, outcome.leakage.num_samples
        by_seed[str(seed)] = {
            **m.to_json(),
            "tags": outcome.tags,
            "doubts": list(leakage_doubts(outcome.leakage)),
            "utility_interval95": wilson_interval(m.utility, count),
            "leakage_interval95": wilson_interval(m.leakage, count),
        }
    values = {name: [getattr(o.metrics, name) for o in outcomes.values()] for name in REPORTED}
    first = next(iter(outcomes.values()))
    return {
        "reported_on": "test",
        "num_samples": first.leakage.num_samples,
        "seeds": list(outcomes),
        "mean": {name: sum(v) / len(v) for name, v in values.items()},
        "interval95_over_seeds": {name: mean_interval(v) for name, v in values.items()},
        "by_seed": by_seed,
    }
