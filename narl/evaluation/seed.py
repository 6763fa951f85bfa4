"""One configuration as a sceptic would measure it: every attack, over seeds, on images that no choice has seen.

Each seed trains the client anew (or takes a trained one as it is), then fresh networks attack it. What is reported is
the mean over seeds with a 95 % interval from a bootstrap over test images and seeds. An adversary that is still
improving, or that reads less than the label floor, is trained again for twice as long; what is still suspect then is
flagged beside every Δ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as Steps
from dataclasses import replace

from narl.attacks.audit import Audit, audit, column_labels
from narl.attacks.averaging import QUERIES, Averaging, average, name_of
from narl.attacks.control import Control, random_label_control
from narl.attacks.gaussian_mechanism import guarantee
from narl.attacks.inversion import invert
from narl.attacks.leakage import Leakage
from narl.attacks.pictures import RebuildStep
from narl.attacks.reader import private_reader
from narl.attacks.reconstruction import Reconstruction, reconstruct
from narl.attacks.second_attempts import read_persistently
from narl.attacks.target import Reading, Target
from narl.config.trial import TrainConfig
from narl.core.seeds import derive_seed
from narl.core.steps import drained, mapped
from narl.data.dataset import Dataset
from narl.evaluation.report import SeedReport, SeedResult, seed_report
from narl.methods.base import precision_of
from narl.methods.catalogue import halves_of
from narl.models.split import Obfuscator
from narl.training.classification import num_outputs
from narl.training.precision import default_device
from narl.trial import Progress, Trained, attack_client, attack_progress, run_trial

ATTACKS = ("leakage", "averaging", "reconstruction", "inversion", "control")


def evaluate_seed(
    config: TrainConfig,
    dataset: Dataset,
    *,
    attacks: Sequence[str] = ATTACKS,
    report_on: str = "test",
    client: Obfuscator | None = None,
    queries: Sequence[float] = QUERIES,
    readers: dict[str, Reading] | None = None,
    on_progress: Callable[[Progress], None] = lambda step: None,
) -> SeedReport:
    """One seed's report; several make one of `narl.evaluation.summary.summarise`'s.

    Args:
        dataset: opened with train, validation and `report_on`.
        attacks: some of `ATTACKS`; leakage is always among them.
        client: a trained client to attack as it is; by default one is trained.
        readers: networks that read clean images (see `narl.attacks.reader`), by architecture; one that is missing is
            trained and added, so that several seeds and methods under the same settings share it.

    Raises:
        ConfigError: the configuration is illegal for these images.
        DivergedTraining: a loss blew up.
    """
    steps = _one_seed(config, dataset, attacks, report_on, client, queries, {} if readers is None else readers)
    return seed_report(drained(steps, on_progress))


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
    for column in config.audit:
        column_labels(dataset, column)  # refused before anything is trained
    if client is None:
        outcome = yield from run_trial(config, dataset, report_on=report_on)
    else:
        halves = halves_of(config.trial.to_record(), dataset.image_size)
        task = halves.rest(num_outputs=num_outputs(len(dataset.utility_classes)), seed=0)
        precision = precision_of(client, task, config.training.precision, default_device())
        trained = Trained(precision.place(client), precision)
        outcome = yield from attack_client(config, trained, dataset, report_on=report_on)
    target, leakage = outcome.target, outcome.leakage
    steps = read_persistently(
        target,
        target.labels("private"),
        len(dataset.private_classes),
        floor=leakage.label_floor,
        first=leakage.readings,
    )
    leakage = replace(leakage, readings=(yield from mapped(steps, attack_progress)))
    outcome = replace(outcome, leakage=leakage)
    averaging = None
    if "averaging" in attacks:
        steps = average(target, leakage.label_floor, queries, known={1: leakage.strongest}, persistently=True)
        averaging = yield from mapped(steps, attack_progress)
        outcome = replace(outcome, averaging=averaging)
    reconstructions, inversion, control, audits = {}, None, None, {}
    if "reconstruction" in attacks:
        reader = yield from _reader(target, readers)
        for n in sorted({1, *(queries if "averaging" in attacks else ())}):
            if n > 1 and not target.client.noise.is_random:
                reconstructions[n] = reconstructions[1]
            else:
                reconstructions[n] = yield from mapped(reconstruct(target, reader, queries=n), _rebuild_progress)
    if "inversion" in attacks:
        inversion = yield from mapped(invert(target), _rebuild_progress)
    if "control" in attacks:
        control = yield from mapped(random_label_control(target), attack_progress)
    for column in config.audit:
        audits[column] = yield from mapped(audit(target, column), attack_progress)
    return SeedResult(
        outcome=outcome,
        flags=(
            *leakage_doubts(leakage),
            *_averaging_doubts(averaging),
            *_audit_doubts(audits),
            *_rebuilt_doubts(reconstructions, leakage.label_floor),
            *_control_doubts(control),
        ),
        averaging=averaging,
        reconstructions=reconstructions,
        inversion=inversion,
        control=control,
        audits=audits,
        guarantee=guarantee(target.halves.point, target.halves.feature_shape, queries),
    )


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


def leakage_doubts(leakage: Leakage) -> Iterator[str]:
    """Reasons to doubt what adversaries read, in words."""
    for name, reading in leakage.readings.items():
        if not reading.converged:
            yield f"{name} was still improving, or still guessing, when its epochs ran out"
    if leakage.strongest_adversary < leakage.label_floor:
        read, floor = leakage.strongest_adversary, leakage.label_floor
        yield f"no adversary reaches the label floor ({read:.2f} % < {floor:.2f} %): the floor is reported"


def _averaging_doubts(averaging: Averaging | None) -> Iterator[str]:
    if averaging is None:
        return
    for answers in averaging.unconverged:
        yield f"{answers}: the adversary was still improving when its epochs ran out"
    bare = averaging.readings.get(math.inf)
    noise_hid = bare is not None and bare is not averaging.readings.get(1)
    if noise_hid and averaging.leakage[math.inf] <= averaging.label_floor:
        yield "even without noise no adversary reads more than the label floor: that none does with it proves nothing"


def _audit_doubts(audits: dict[str, Audit]) -> Iterator[str]:
    for column, result in audits.items():
        if not result.reading.converged:
            yield f"column {column}: the adversary was still improving when its epochs ran out"


def _rebuilt_doubts(reconstructions: dict[float, Reconstruction], label_floor: float) -> Iterator[str]:
    for n, reconstruction in reconstructions.items():
        if n > 1 and reconstruction is reconstructions[1]:
            continue  # more answers tell nothing
        answers = "" if n == 1 else f" of {name_of(n)} answers"
        if not reconstruction.converged:
            yield f"the decoder{answers} was still improving when its epochs ran out"
        if reconstruction.metrics.mse > reconstruction.mean_image.mse:
            yield f"the decoder{answers} is further from the images than the mean image is"
    if reconstructions and (read := reconstructions[1].read_clean.accuracy) <= label_floor:
        yield f"the reader reads {read:.2f} % of clean images, no more than the floor: what it reads proves nothing"


def _control_doubts(control: Control | None) -> Iterator[str]:
    if control is not None and not control.passed:
        yield (
            f"an attack on random labels reads {control.accuracy:.2f} %, where luck explains {control.limit:.2f} %: "
            "no number here can be trusted"
        )
