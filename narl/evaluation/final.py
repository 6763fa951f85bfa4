"""One configuration trained for keeps: reported on test images that no choice has seen, over seeds, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from narl.config.bundle import BundleConfig
from narl.config.trial import TrainConfig
from narl.data.dataset import open_dataset
from narl.evaluation.evaluator import Evaluator
from narl.evaluation.report import Summary
from narl.evaluation.summary import summarise
from narl.export.bundle import write_bundle
from narl.methods.catalogue import halves_of
from narl.training.classification import num_outputs
from narl.trial import Progress, TrialOutcome


@dataclass(frozen=True)
class FinalResult:
    """What was measured on the test split, and the client to keep.

    Attributes:
        first: the first seed's outcome.
        utility_classes: what the server's outputs mean.
    """

    summary: Summary
    first: TrialOutcome
    utility_classes: tuple[str, ...]


def train_final(
    config: TrainConfig, *, num_seeds: int = 1, on_progress: Callable[[int, Progress], None] = lambda seed, step: None
) -> FinalResult:
    """Train and attack `config` with seeds `config.trial.seed`, `+ 1`, …; accuracies are of the test split.

    Attacked as a search does: by the configured adversaries, each once, of one answer and of `attack.queries`.

    Raises:
        ConfigError, DataError: the configuration or its images cannot be used.
        TrialFailure: training blew up.
    """
    halves_of(config.trial, config.pipeline.image.size)  # refused before the images are opened
    dataset = open_dataset(config.pipeline, splits=("train", "validation", "test"))
    queries = config.attack.queries
    evaluator = Evaluator(dataset, ("averaging",) if queries else (), queries, "test", second_attempts=False)
    first: list[TrialOutcome] = []

    def keep_first(row: str, seed: int, outcome: TrialOutcome) -> None:
        if not first:
            first.append(outcome)

    seeds = evaluator.measure_seeds(
        {"": config.model_copy(update={"audit": ()})},
        range(config.trial.seed, config.trial.seed + num_seeds),
        on_progress=lambda row, seed, step: on_progress(seed, step),
        on_outcome=keep_first,
    )[""]
    return FinalResult(
        summarise(seeds, report_on="test", classes=dataset.class_counts), first[0], dataset.utility_classes
    )


def save_final(folder: Path, config: TrainConfig, result: FinalResult) -> None:
    """Write both halves of the first seed (never the one that did best on test), configuration and metrics.

    Raises:
        ConfigError: see `narl.export.bundle.refuse_occupied`.
    """
    trial = config.trial
    if trial.sigma_inference == "best":  # as it was chosen for this client
        trial = trial.at_inference(result.first.metrics.sigma_inference)
    described = BundleConfig(
        **config.model_dump(by_alias=True) | {"trial": trial},
        image_size=config.pipeline.image.size,
        utility_classes=result.utility_classes,
        utility_outputs=num_outputs(len(result.utility_classes)),
    )
    write_bundle(
        folder,
        client_state=result.first.obfuscator.state_dict(),
        server_state=result.first.leakage.utility_network.state_dict(),
        config=described,
        metrics=result.summary.to_json(),
    )
