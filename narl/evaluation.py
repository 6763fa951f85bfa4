"""One configuration as a sceptic would measure it: every attack, over seeds, on images that no choice has seen.

Each seed trains the client anew (or takes a trained one as it is), then fresh networks attack it. What is reported is
the mean over seeds with a 95 % interval from a bootstrap over test images and seeds. An adversary that is still
improving, or that reads less than the label floor, is trained again for twice as long; what is still suspect then is
flagged beside every Δ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Generator as Steps
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from narl.attacks.averaging import QUERIES, Averaging, average, name_of
from narl.attacks.fit import EVALUATION_DRAWS
from narl.attacks.image_metrics import mean_of
from narl.attacks.inversion import Inversion, invert
from narl.attacks.leakage import Leakage
from narl.attacks.pictures import RebuildStep
from narl.attacks.reader import private_reader
from narl.attacks.reconstruction import Reconstruction, reconstruct
from narl.attacks.target import AttackEpoch, Reading, Target
from narl.config.trial import TrainConfig
from narl.data.dataset import Dataset
from narl.intervals import bootstrap_interval
from narl.models.split import Obfuscator
from narl.seeds import derive_seed
from narl.steps import drained, mapped
from narl.training.precision import choose_precision, default_device
from narl.trial import Progress, TrialOutcome, attack_client, attack_progress, run_trial

ATTACKS = ("leakage", "averaging", "reconstruction", "inversion")
Pictures = dict[str, np.ndarray]  # uint8 [K, S, S, 3] by the name of a row
REPORTED = ("utility", "leakage", "delta", "delta_paper", "balanced_leakage", "worst_class_leakage", "advantage")


@dataclass(frozen=True)
class SeedResult:
    """What one seed measured.

    Attributes:
        outcome: of training and of the leakage attack.
        averaging, reconstruction, inversion: None if that attack was not asked for.
        flags: reasons to doubt the leakage, in words; empty if there is none.
    """

    outcome: TrialOutcome
    averaging: Averaging | None
    flags: tuple[str, ...]
    reconstruction: Reconstruction | None = None
    inversion: Inversion | None = None

    @property
    def leakage(self) -> Leakage:
        return self.outcome.leakage

    @property
    def pictures(self) -> Pictures:
        """Original images and what attacks rebuilt of them; empty if none was to."""
        rows = {} if self.reconstruction is None else self.reconstruction.pictures
        if self.inversion is not None:
            rows = {"original": self.inversion.originals, **rows, "inversion": self.inversion.pictures}
        return {name: images.numpy() for name, images in rows.items()}


def evaluate_seed(
    config: TrainConfig,
    dataset: Dataset,
    *,
    attacks: Sequence[str] = ATTACKS,
    report_on: str = "test",
    client: Obfuscator | None = None,
    queries: Sequence[float] = QUERIES,
    readers: dict[str, Reading] | None = None,
    on_pictures: Callable[[Pictures], None] = lambda pictures: None,
    on_progress: Callable[[Progress], None] = lambda step: None,
) -> dict[str, Any]:
    """One seed's report, ready for JSON; several make one of `summarise`'s.

    Args:
        dataset: opened with train, validation and `report_on`.
        attacks: some of `ATTACKS`; leakage is always among them.
        client: a trained client to attack as it is; by default one is trained.
        readers: networks that read clean images (see `narl.attacks.reader`), by architecture; one that is missing is
            trained and added, so that several seeds and methods under the same settings share it.
        on_pictures: called with what attacks rebuilt, if any did.

    Raises:
        ConfigError: the configuration is illegal for these images.
        DivergedTraining: a loss blew up.
    """
    steps = _one_seed(config, dataset, attacks, report_on, client, queries, {} if readers is None else readers)
    result = drained(steps, on_progress)
    if result.pictures:
        on_pictures(result.pictures)
    return seed_report(result)


def with_seed(config: TrainConfig, seed: int) -> TrainConfig:
    """The same configuration under another seed."""
    return config.model_copy(update={"trial": config.trial.model_copy(update={"seed": seed})})


def _one_seed(
    config: TrainConfig,
    dataset: Dataset,
    attacks: Sequence[str],
    report_on: str,
    client: Obfuscator | None,
    queries: Sequence[float],
    readers: dict[str, Reading],
) -> Steps[Progress, None, SeedResult]:
    # Averaged below, once every adversary has had its second attempt.
    config = config.model_copy(update={"attack": config.attack.model_copy(update={"queries": ()})})
    if client is None:
        outcome = yield from run_trial(config, dataset, report_on=report_on)
    else:
        precision = choose_precision(config.training.precision, client, default_device())
        client = precision.place(client)
        outcome = yield from attack_client(config, client, dataset, precision=precision, report_on=report_on)
    leakage = yield from mapped(_trained_on(outcome), attack_progress)
    outcome = replace(outcome, leakage=leakage)
    averaging = None
    if "averaging" in attacks:
        steps = average(outcome.target, leakage.label_floor, queries, known={1: leakage.strongest})
        averaging = yield from mapped(steps, attack_progress)
    reconstruction = inversion = None
    if "reconstruction" in attacks:
        reader = yield from _reader(outcome.target, readers)
        reconstruction = yield from mapped(reconstruct(outcome.target, reader), _rebuild_progress)
    if "inversion" in attacks:
        inversion = yield from mapped(invert(outcome.target), _rebuild_progress)
    doubts = (*_doubts(leakage), *_decoder_doubts(reconstruction))
    return SeedResult(outcome, averaging, doubts, reconstruction, inversion)


def _reader(target: Target, readers: dict[str, Reading]) -> Steps[Progress, None, Reading]:
    """The reader of images for the client's architecture, trained now if it is not among `readers`."""
    arch = target.halves.point.arch
    if arch not in readers:
        steps = private_reader(
            target.dataset,
            arch,
            settings=target.settings,
            precision=target.precision,
            seed=derive_seed(0, "reader"),
            report_on=target.report_on,
        )
        readers[arch] = yield from mapped(steps, attack_progress)
    return readers[arch]


def _rebuild_progress(done: RebuildStep) -> Progress:
    return Progress("attack", done.step, f"{done.network} {done.psnr:.1f} dB")


def _trained_on(outcome: TrialOutcome) -> Steps[AttackEpoch, None, Leakage]:
    """The leakage with each suspect adversary's second, longer attempt, if that reads more."""
    leakage, target = outcome.leakage, outcome.target
    suspect = {
        name: reading
        for name, reading in leakage.readings.items()
        if not reading.converged or reading.scores.accuracy < leakage.label_floor
    }
    if not suspect:
        return leakage
    longer = target.settings.model_copy(
        update={"max_epochs": 2 * target.settings.max_epochs, "patience": 2 * target.settings.patience}
    )
    readings = dict(leakage.readings)
    for name in suspect:
        kind = target.adversaries[name]
        again = target.with_settings(longer.model_copy(update={"adversaries": (kind,), "seeds": 1}))
        second = yield from again.read_with_adversaries(
            target.labels("private"), len(target.dataset.private_classes), prefix=f"{name} again, "
        )
        readings[name] = _stronger(suspect[name], *second.values())
    return replace(leakage, readings=readings)


def _stronger(first: Reading, second: Reading) -> Reading:
    """What reads more; once one of the two has converged, nobody need train longer."""
    best = max(first, second, key=lambda reading: reading.scores.accuracy)
    return replace(best, converged=first.converged or second.converged)


def _doubts(leakage: Leakage) -> Steps[str, None, None]:
    for name, reading in leakage.readings.items():
        if not reading.converged:
            yield f"{name} was still improving after {len(reading.curve)} epochs"
    if leakage.strongest_adversary < leakage.label_floor:
        read, floor = leakage.strongest_adversary, leakage.label_floor
        yield f"no adversary reaches the label floor ({read:.2f} % < {floor:.2f} %): the floor is reported"


def _decoder_doubts(reconstruction: Reconstruction | None) -> Steps[str, None, None]:
    if reconstruction is not None and not reconstruction.converged:
        yield f"the decoder was still improving after {len(reconstruction.curve)} epochs"


def seed_report(result: SeedResult) -> dict[str, Any]:
    """One seed's numbers; `per_image` holds what intervals are made of, a digit an image (see `packed`)."""
    leakage, metrics = result.leakage, result.outcome.metrics
    strongest = leakage.strongest.scores
    above_floor = leakage.strongest_adversary >= leakage.label_floor
    report: dict[str, Any] = {
        "utility": leakage.utility,
        "leakage": leakage.leakage,
        "delta": leakage.utility - leakage.leakage,
        "delta_paper": leakage.utility - leakage.strongest_adversary,
        "label_floor": leakage.label_floor,
        "advantage": leakage.leakage - leakage.label_floor,
        "balanced_leakage": strongest.balanced_accuracy,
        "worst_class_leakage": max(strongest.by_class),
        "leakage_by_class": strongest.by_class,
        "adversaries": leakage.adversaries,
        "feature_rms": leakage.feature_rms,
        "snr_db": metrics.snr_db,
        "num_samples": leakage.num_samples,
        "flags": list(result.flags),
        "train_seconds": metrics.train_seconds,
        "attack_seconds": metrics.attack_seconds,
        "cost": metrics.to_json()["cost"],
        "tags": result.outcome.tags,
        "per_image": {
            "utility": packed(leakage.utility_reading.scores.hits),
            "leakage": packed(strongest.hits) if above_floor else None,
        },
    }
    if result.averaging is not None:
        by_n = result.averaging.leakage
        report["averaging"] = {
            "leakage_at_queries": {name_of(n): percent for n, percent in by_n.items()},
            "delta_at_queries": {name_of(n): leakage.utility - percent for n, percent in by_n.items()},
            "query_budget": name_of(result.averaging.query_budget),
        }
    if result.reconstruction is not None:
        report["reconstruction"] = result.reconstruction.to_json()
    if result.inversion is not None:
        report["inversion"] = result.inversion.to_json()
    return report


def packed(hits: Tensor) -> str:
    """[N] shares of the draws that were read right -> one digit an image, the number of draws of `EVALUATION_DRAWS`."""
    return "".join(str(round(EVALUATION_DRAWS * share)) for share in hits.tolist())


def unpacked(digits: str) -> np.ndarray:
    """What `packed` packed, in percent: float64 [N]."""
    counts = np.frombuffer(digits.encode(), dtype=np.uint8).astype(np.float64) - ord("0")
    return counts * (100 / EVALUATION_DRAWS)


def summarise(by_seed: Mapping[int, dict[str, Any]], *, report_on: str, one_client: bool = False) -> dict[str, Any]:
    """Means over seeds, intervals over images and seeds, and every seed's report without its values an image.

    Args:
        by_seed: reports of `evaluate_seed`.
        one_client: whether all seeds attacked one trained client, rather than each its own.
    """
    seeds, by_seed = list(by_seed), list(by_seed.values())
    utility = [unpacked(seed["per_image"]["utility"]) for seed in by_seed]
    # A leakage that is the floor's is the same for every image.
    leakage = [
        unpacked(digits) if (digits := seed["per_image"]["leakage"]) else np.full(seed["num_samples"], seed["leakage"])
        for seed in by_seed
    ]
    resampling = derive_seed(0, "bootstrap")
    report: dict[str, Any] = {
        "reported_on": report_on,
        "num_samples": by_seed[0]["num_samples"],
        "seeds": seeds,
        "client": "the same trained client for every seed" if one_client else "trained afresh with each seed",
        "mean": {name: float(np.mean([seed[name] for seed in by_seed])) for name in REPORTED},
        "interval95": {
            "utility": bootstrap_interval(utility, seed=resampling),
            "leakage": bootstrap_interval(leakage, seed=resampling),
            "delta": bootstrap_interval([u - a for u, a in zip(utility, leakage, strict=True)], seed=resampling),
        },
        "label_floor": by_seed[0]["label_floor"],
        "cost": by_seed[0]["cost"],
        "flags": sorted({flag for seed in by_seed for flag in seed["flags"]}),
    }
    if all("averaging" in seed for seed in by_seed):
        names = by_seed[0]["averaging"]["leakage_at_queries"]
        for key in ("leakage_at_queries", "delta_at_queries"):
            report[key] = {n: float(np.mean([seed["averaging"][key][n] for seed in by_seed])) for n in names}
        report["query_budget"] = [seed["averaging"]["query_budget"] for seed in by_seed]
    if all("reconstruction" in seed for seed in by_seed):
        each = [seed["reconstruction"] for seed in by_seed]
        report["reconstruction"] = {
            **{name: mean_of([one[name] for one in each]) for name in ("rebuilt", "mean_image")},
            **{name: float(np.mean([one[name] for one in each])) for name in ("read_rebuilt", "read_clean")},
        }
    if all("inversion" in seed for seed in by_seed):
        each = [seed["inversion"] for seed in by_seed]
        report["inversion"] = {name: mean_of([one[name] for one in each]) for name in ("rebuilt", "mean_image")}
        report["inversion"]["images"] = each[0]["images"]
    report["by_seed"] = {
        str(number): {key: value for key, value in seed.items() if key != "per_image"}
        for number, seed in zip(seeds, by_seed, strict=True)
    }
    return report
