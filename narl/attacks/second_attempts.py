"""Second attempts: an adversary that may have stopped too early is trained again from another start, twice as long.

An adversary is suspect if it was still improving when the epochs ran out, or if it reads no more than the label floor,
which takes no network at all. If it is suspect after the second attempt too, it is flagged. The strongest gets a second
attempt in any case, since its number is what counts: a few epochs without improvement may be chance (a whole network on
clean CIFAR-10 images stopped at 54 % with a patience of four epochs and reached 67 % with eight).
"""

from __future__ import annotations

from collections.abc import Generator as Steps
from collections.abc import Mapping
from dataclasses import replace

from narl.attacks.target import AttackEpoch, Labels, Reading, Target, strongest
from narl.models.noise.base import Noise


def read_persistently(
    target: Target,
    labels: Labels,
    num_classes: int,
    *,
    floor: float,
    noise: Noise | None = None,
    prefix: str = "",
    ceiling: float = 100.0,
    first: Mapping[str, Reading] | None = None,
) -> Steps[AttackEpoch, None, dict[str, Reading]]:
    """Read `labels` with each adversary, as `Target.read_with_adversaries`; with suspects and the strongest twice.

    Args:
        floor: percent, what the utility label alone gives away.
        noise, ceiling: see `Target.read`.
        first: the first attempts, by the adversaries' names, if they were made already.

    Raises:
        DivergedTraining: an adversary's loss is not finite.
    """
    if first is None:
        first = yield from target.read_with_adversaries(
            labels, num_classes, noise=noise, prefix=prefix, ceiling=ceiling
        )
    longer = {"max_epochs": 2 * target.settings.max_epochs, "patience": 2 * target.settings.patience}
    readings = dict(first)
    if not first:
        return readings
    best = strongest(first)
    for name, reading in first.items():
        if reading is not best and reading.converged and reading.scores.accuracy > floor:
            continue
        again = target.with_adversary(target.adversaries[name], **longer)
        second = yield from again.read_with_adversaries(
            labels, num_classes, noise=noise, prefix=f"{prefix}{name} again, ", ceiling=ceiling
        )
        readings[name] = _better(reading, *second.values())
    return readings


def _better(first: Reading, second: Reading) -> Reading:
    """Keep what reads more. If the longer attempt stopped by itself, the other did not need more epochs."""
    best = max(first, second, key=lambda reading: reading.scores.accuracy)
    return replace(best, converged=best.converged or second.converged)
