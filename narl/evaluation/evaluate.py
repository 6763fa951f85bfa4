"""Every attack on one configuration or client, over seeds, with intervals: what `narl evaluate` does, in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from narl.attacks.catalogue import ATTACKS
from narl.attacks.image_metrics import provide_lpips_weights
from narl.attacks.queries import QUERIES
from narl.config.pipeline import Pipeline
from narl.core.errors import ConfigError, unknown_name
from narl.core.seeds import seed_numbers
from narl.data.dataset import open_dataset
from narl.evaluation.evaluator import Evaluator
from narl.evaluation.own_client import Server
from narl.evaluation.report import Summary
from narl.evaluation.seed import Seed
from narl.evaluation.subject import KINDS, Subject, What, subject_of
from narl.evaluation.summary import summarise
from narl.models.noise.base import Noise
from narl.trial import Progress


def evaluate(
    what: What | Subject,
    *,
    pipeline: Pipeline | Path | str | None = None,
    noise: Noise | float | None = None,
    server: Server | None = None,
    attack: Mapping[str, Any] | None = None,
    adversaries: Sequence[str] = KINDS,
    audit: Sequence[str] | None = None,
    data: str | None = None,
    attacks: Sequence[str] = ATTACKS,
    queries: Sequence[float] = QUERIES,
    report_on: str = "test",
    seeds: int | Sequence[int] = 3,
    lpips: str | None = None,
    on_progress: Callable[[int, Progress], object] = lambda seed, step: None,
    on_seed: Callable[[int, Seed], object] = lambda number, seed: None,
) -> Summary:
    """Attack a configuration or a client thoroughly: means over seeds, each with a 95 % interval.

    A client of your own is any module that maps images [B, 3, S, S] float32 in [0, 1] to floating point [B, C, h, w] or
    [B, D]. A copy is frozen and attacked in eval mode, where each image's features must depend on that image alone and
    be the same each time. Attackers would not know randomness inside the module, so give noise as `noise`.

    Args:
        what: a configuration, whose client is trained with each seed, or its YAML file; a trained client as
            `load_bundle` gives it, or its folder; a module of your own (an `Obfuscator` has its noise with it).
        pipeline: of a module of your own: its images and labels.
        noise: of a module of your own: the standard deviation of fresh Gaussian noise in units of its features, or a
            `narl.models.noise.base.Noise`. 0 adds none.
        server: of a module of your own: makes a fresh network with the given number of outputs (two classes share one),
            which reads what the module sends: the utility network and the adversary `rest`. None: the head `conv` if
            maps are sent, `mlp` if vectors are, and no `rest`.
        attack: settings to change, by name, say `{"max_epochs": 60}`; see `narl.config.trial.Attack`.
        adversaries: some of bayes, rest, mlp, conv.
        audit: further label columns to attack; None: those of the configuration.
        data: where the images of an export lie, which it does not say: the folder, or the table's CSV file.
        attacks: some of leakage, certificate, sigma_profile, averaging, reconstruction, inversion, control.
        queries: numbers of answers to one image that are averaged, 1 to infinity; 1 is always among them.
        report_on: `test` or `validation`.
        seeds: which, or how many from the configuration's own on (0 for a module of your own).
        lpips: AlexNet's weights, as a file, or `download`; None: if they are in torch's cache.
        on_progress: sees a seed and what was done, after every epoch; `print` will do.
        on_seed: sees each seed's number and `Seed` as it is measured: values by image, and pictures.

    Raises:
        ConfigError, DataError: what cannot be evaluated, in words.
        DivergedTraining: a loss diverged.
    """
    for name in attacks:
        if name not in ATTACKS:
            raise ConfigError(unknown_name("attack", name, ATTACKS))
    if report_on not in ("validation", "test"):
        raise ConfigError(unknown_name("split to report on", report_on, ("validation", "test")))
    if not isinstance(what, Subject):
        what = subject_of(
            what,
            pipeline=pipeline,
            noise=noise,
            server=server,
            attack=attack,
            adversaries=adversaries,
            audit=audit,
            data=data,
        )
    numbers = seed_numbers(seeds, what.config.seed)
    if lpips is not None:
        provide_lpips_weights(lpips)
    dataset = open_dataset(what.config.pipeline, splits=tuple(dict.fromkeys(("train", "validation", report_on))))
    evaluator = Evaluator(dataset, attacks, sorted({1, *queries}), report_on)
    trained = None if what.trained is None else what.trained(dataset)
    measured: dict[int, Seed] = {}
    for number in numbers:
        measured |= evaluator.measure_seeds(
            {"": what.config},
            (number,),
            trained=trained,
            on_progress=lambda row, seed, step: on_progress(seed, step),
        )[""]
        on_seed(number, measured[number])
    return summarise(measured, report_on=report_on, one_client=trained is not None, classes=dataset.class_counts)
