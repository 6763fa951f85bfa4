"""What exact attackers find: bounds with what is needed to certify them, and what was read.

Letters: N images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from narl.attacks.exact.certificate import MONTE_CARLO_SHARE, draw_margin, image_margin
from narl.attacks.scores import Scores
from narl.core.errors import ConfigError


@dataclass(frozen=True)
class Bound:
    """The most that any reader of answers can get right of the images that they are about.

    Attributes:
        per_image: float32 [N] in percent, the mean over an image's answers of max_y p(y | z); `percent` is its mean.
        answers: drawn in all; 0 where every answer is the same, so that nothing was drawn.
        variance: of max_y p(y | z) over answers, as fractions, between images and within.
    """

    per_image: Tensor
    answers: int
    variance: float

    @property
    def percent(self) -> float:
        return self.per_image.double().mean().item()

    @property
    def images(self) -> int:
        return len(self.per_image)

    @property
    def error(self) -> float:
        """Standard error of Monte Carlo, in percentage points; overstated, as differences between images count too."""
        return 100 * math.sqrt(self.variance / self.answers) if self.answers else 0.0

    def certified(self, confidence: float = 0.95) -> float:
        """Compute the percent that no reader exceeds on the images' population, at this confidence; at most 100.

        This holds for independently drawn images that no choice (of client, of σ, of when to stop) has seen.

        Raises:
            ConfigError: `confidence` is not above 0 and below 1.
        """
        if not 0 < confidence < 1:
            raise ConfigError(f"confidence must be above 0 and below 1, got {confidence}")
        alpha = 1 - confidence
        share = MONTE_CARLO_SHARE if self.answers else 0.0
        margin = image_margin(self.images, (1 - share) * alpha)
        if self.answers:
            margin += draw_margin(self.answers, self.variance, share * alpha)
        return min(100.0, self.percent + margin)


@dataclass(frozen=True)
class LeastError:
    """What no rebuilt picture undercuts on these images: squared error in (0..255)², mean over pixels and channels.

    Attributes:
        mse: of the posterior mean, the best possible.
        mean_image: of the mean image, the best picture without an answer.
    """

    mse: float
    mean_image: float


@dataclass(frozen=True)
class BayesBounds:
    """Bounds on one set of images, by noise level (number of answers averaged, or σ).

    Attributes:
        labels: by label's name and level.
        identification: by level and gallery size: which of so many images it was, all of them known to the attacker,
            who reaches this by naming the likeliest. Sizes above N are left out.
        reconstruction: by level; empty if no images were given.
    """

    labels: dict[str, dict[float, Bound]]
    identification: dict[float, dict[int, Bound]]
    reconstruction: dict[float, LeastError]


@dataclass(frozen=True)
class BayesReading:
    """What the Bayes attacker reads of one label at one noise level.

    Attributes:
        scores: on the reported images; `hits` are shares of drawn answers.
        widening: τ >= 1, how much wider than the noise its densities are, chosen on validation images; of noise that
            hides nothing their width, in root mean square distances of the known images from their mean.
        validation: percent of the validation answers read right, by which `widening` was chosen.
        chosen_on: number of validation images that these answers are about.
    """

    scores: Scores
    widening: float
    validation: float
    chosen_on: int
