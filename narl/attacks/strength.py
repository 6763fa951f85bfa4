"""Whether the networks that attack are strong enough to be believed: what they read of clean features.

A network that reads little of z may be weak, or z may hide. Its first epochs are on features without noise, where
nothing hides. There a nearest neighbour (the Bayes attacker of infinitely many answers) is the yardstick: a network
that reads significantly less of the same images was built or trained too weakly, and what it fails to read of z proves
nothing. One network that passes is enough, since the strongest one's reading is the leakage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from narl.attacks.exact.of_target import Exact
from narl.attacks.target import Reading

# Standard deviations of a difference between two shares that luck exceeds once in 700.
DEVIATIONS = 3.0


@dataclass(frozen=True)
class Strength:
    """Percent of validation images whose private label is read from clean features.

    Attributes:
        controls: by each network's name.
        yardstick: by a nearest neighbour.
        images: that both were asked about.
    """

    controls: dict[str, float]
    yardstick: float
    images: int

    @property
    def best(self) -> float:
        return max(self.controls.values())

    @property
    def is_enough(self) -> bool:
        """Whether a network reads what the yardstick does, but for luck."""
        variance = sum(share * (1 - share) for share in (self.best / 100, self.yardstick / 100))
        return self.best >= self.yardstick - 100 * DEVIATIONS * math.sqrt(variance / self.images)

    def __str__(self) -> str:
        each = ", ".join(f"{name} {percent:.1f} %" for name, percent in self.controls.items())
        return f"of clean features {each}; a nearest neighbour {self.yardstick:.1f} %"


def strength(exact: Exact | None, readings: Mapping[str, Reading]) -> Strength | None:
    """Compare the networks among `readings`; None without any, or if infinitely many answers have no closed form."""
    controls = {name: reading.control for name, reading in readings.items() if reading.control is not None}
    clean = {} if exact is None else exact.readings["private"]
    if not controls or math.inf not in clean:
        return None
    return Strength(controls, clean[math.inf].validation, clean[math.inf].chosen_on)
