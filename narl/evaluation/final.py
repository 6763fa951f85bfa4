"""One configuration trained for keeps, and reported on test images that no choice has seen, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from narl.attacks.outcome import TrialOutcome
from narl.config.bundle import BundleConfig
from narl.config.load import loaded
from narl.config.trial import TrainConfig
from narl.core.paths import user_path
from narl.core.records import TrialMetrics
from narl.core.seeds import seed_numbers
from narl.data.dataset import open_dataset
from narl.evaluation.evaluator import Evaluator
from narl.evaluation.report import Summary
from narl.evaluation.summary import summarise
from narl.export.bundle import refuse_occupied, write_bundle
from narl.methods.catalogue import halves_of
from narl.models.split import Obfuscator
from narl.training.classification import num_outputs
from narl.trial import Progress


@dataclass(frozen=True)
class FinalResult:
    """What was measured on the test split, and the client to keep: the first seed's, never the best on test.

    Attributes:
        config: what was trained.
        summary: means over seeds, with intervals.
        first: the first seed's outcome.
        utility_classes: what the server's outputs mean.
    """

    config: TrainConfig
    summary: Summary
    first: TrialOutcome
    utility_classes: tuple[str, ...]

    @property
    def metrics(self) -> TrialMetrics:
        """Of the first seed, on test images."""
        return self.first.metrics

    @property
    def obfuscator(self) -> Obfuscator:
        """What the client runs: images [B, 3, S, S] float32 in [0, 1] -> what is sent, noise included."""
        return self.first.obfuscator

    @property
    def server(self) -> nn.Module:
        """What was sent -> logits of the utility label; two classes share one."""
        return self.first.leakage.utility_network

    def save(self, folder: Path | str) -> None:
        """Write both halves, configuration and metrics, for `load_bundle`.

        Raises:
            ConfigError: see `narl.export.bundle.refuse_occupied`.
        """
        trial = self.config.trial
        if trial.sigma_inference == "best":  # as it was chosen for this client
            trial = trial.at_inference(self.metrics.sigma_inference)
        config = BundleConfig(
            **self.config.model_dump(by_alias=True) | {"trial": trial},
            image_size=self.config.pipeline.image.size,
            utility_classes=self.utility_classes,
            utility_outputs=num_outputs(len(self.utility_classes)),
        )
        write_bundle(
            folder,
            client_state=self.obfuscator.state_dict(),
            server_state=self.server.state_dict(),
            config=config,
            metrics=self.summary.to_json(),
        )


def train(
    config: TrainConfig | Path | str,
    *,
    seeds: int | Sequence[int] = 1,
    out: Path | str | None = None,
    on_progress: Callable[[int, Progress], object] = lambda seed, step: None,
) -> FinalResult:
    """Train one configuration for keeps, attack it, and report on test images that no choice has seen.

    It is attacked as in a search: by the configured adversaries, each once, with one answer and with `attack.queries`.
    For stronger attacks see `evaluate`.

    Args:
        config: as `best_config` gives it, or its YAML file.
        seeds: which, or how many from the configuration's own on.
        out: a folder to save the result in (see `FinalResult.save`); refused before anything is trained, if it is
            taken.
        on_progress: sees a seed and what was done, after every epoch; `print` will do.

    Raises:
        ConfigError, DataError: the configuration or its images cannot be used.
        TrialFailure: training diverged.
    """
    config = loaded(TrainConfig, config)
    numbers = seed_numbers(seeds, config.seed)
    if out is not None:
        out = user_path(out)
        refuse_occupied(out)
    halves_of(config.trial, config.pipeline.image.size)  # refused before the images are opened
    dataset = open_dataset(config.pipeline, splits=("train", "validation", "test"))
    queries = config.attack.queries
    evaluator = Evaluator(dataset, ("averaging",) if queries else (), queries, "test", second_attempts=False)
    first: list[TrialOutcome] = []

    def keep_first(row: str, seed: int, outcome: TrialOutcome) -> None:
        if not first:
            first.append(outcome)

    measured = evaluator.measure_seeds(
        {"": config.model_copy(update={"audit": ()})},
        numbers,
        on_progress=lambda row, seed, step: on_progress(seed, step),
        on_outcome=keep_first,
    )[""]
    result = FinalResult(
        config=config.with_seed(numbers[0]),
        summary=summarise(measured, report_on="test", classes=dataset.class_counts),
        first=first[0],
        utility_classes=dataset.utility_classes,
    )
    if out is not None:
        result.save(out)
    return result
