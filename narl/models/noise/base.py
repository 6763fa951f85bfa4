"""What every noise must tell: how it is drawn, what averaging leaves of it, and how likely an answer is under it.

Attacks know the noise (Kerckhoffs): the white-box inversion maximises its likelihood, and the exact attackers apply
Bayes' rule to it. A noise with the likelihood of another would look private because the attack is wrong. So a class
that redefines how its noise is drawn must also redefine what a mean leaves and how it is recognised, or Python refuses
it.

Letters: B answers, M images they are compared with, C, h, w shape of the features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from narl.core.errors import ConfigError

Scores = Callable[[Tensor], Tensor]  # answers [B, C, h, w] -> [B, M]


class Noise(nn.Module, ABC):
    """What a client does to its features before they leave; on in training and in eval mode.

    A new noise is one file: a subclass with everything abstract here, and a line in
        `tests/every_noise.py`,
    which runs the contract's tests over it.

    Raises:
        TypeError: when a subclass is defined that redefines `forward` but not `averaged`, or neither `whitened` nor
            both `misfit` and `scores`.
    """

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.keys()
        if "forward" in own:
            recognised = "whitened" in own or {"misfit", "scores"} <= own
            if "averaged" not in own or not recognised:
                raise TypeError(
                    f"{cls.__name__} draws its noise in its own way, so it must define averaged, and whitened or both "
                    "misfit and scores: an inherited likelihood would be that of another noise"
                )

    @property
    @abstractmethod
    def sigma(self) -> float:
        """Root mean square of what is added about its mean, in units of z (of `clipped` noise: before the clip)."""

    @property
    @abstractmethod
    def is_random(self) -> bool:
        """Whether two answers to one image differ."""

    @property
    @abstractmethod
    def hides(self) -> bool:
        """Whether an answer leaves doubt between images with different features, the noise being known."""

    @abstractmethod
    def averaged(self, queries: float) -> Noise:
        """Return the noise of the mean of `queries` answers (>= 1, or infinity) to one image, or of what tells more."""

    @abstractmethod
    def with_sigma(self, sigma: float) -> Noise:
        """Return the same noise at another scale, `sigma` >= 0: what a trained client may use at inference.

        Raises:
            ConfigError: an illegal sigma, or noise that is zero everywhere and so has no shape to scale.
        """

    @abstractmethod
    def forward(self, z: Tensor, generator: Generator | None = None) -> Tensor:
        """Return z [B, C, h, w] as sent, in its dtype; draws from `generator` (on z's device) or torch's global one."""

    @abstractmethod
    def misfit(self, features: Tensor, answers: Tensor, exact_to: float) -> Tensor:
        """Compute −log p(answers | features) up to a constant: a scalar that can be differentiated by `features`.

        Args:
            features: [B, C, h, w], one image's for each answer.
            answers: of the same shape.
            exact_to: the least standard deviation in units of z: features without noise would allow no error at all.
        """

    @abstractmethod
    def scores(self, features: Tensor) -> Scores:
        """Return a function of answers [B, C, h, w] that scores how well each of M images explains them: float [B, M].

        A score is log p(answer | image) up to a constant of the answer's own; for noise that does not hide (`hides`),
        −½ the least squared distance by which the image fails to explain the answer, so 0 for the image it is about.

        Args:
            features: clean, [M, C, h, w].
        """

    def for_images(self, images: Tensor) -> Callable[..., Tensor]:
        """Return the noise of answers about `images` [B, 3, H, W]: by default the same for all images."""
        return self

    def dominating(self) -> Noise:
        """Return a noise whose answers tell at least as much and whose `scores` are exact, for bounds."""
        return self


class WhitenedNoise(Noise):
    """Additive Gaussian noise of any covariance: a linear map makes it white, of standard deviation `spread`.

    Averaging and rescaling change `spread` alone, so one set of inner products serves every number of answers and every
    sigma (see `narl.attacks.exact.geometry`).
    """

    @property
    @abstractmethod
    def spread(self) -> float:
        """Standard deviation of the noise in each direction of `whitened` features; 0 adds nothing."""

    @abstractmethod
    def whitened(self, features: Tensor) -> Tensor:
        """Map [B, C, h, w] linearly to the same shape, in which the noise is N(0, spread²) in every direction."""

    @property
    def hides(self) -> bool:
        return self.spread > 0

    def scores(self, features: Tensor) -> Scores:
        known = self.whitened(features.double()).flatten(1)
        variance = self.spread**2 if self.hides else 1.0

        def of(answers: Tensor) -> Tensor:
            # One by one: the product form would cancel. Slow, but exact attacks do not use it.
            each = self.whitened(answers.double()).flatten(1).split(1)
            return torch.cat([(known - one).square().sum(1)[None] for one in each]).div(-2 * variance)

        return of


def scale_between(noise: Noise, sigma: float) -> float:
    """Compute how much larger `sigma` is than the noise's own.

    Raises:
        ConfigError: `sigma` is negative or not finite, or the noise is zero.
    """
    if not 0 <= sigma < float("inf"):
        raise ConfigError(f"sigma must be a finite number >= 0, got {sigma}")
    if noise.sigma == 0:
        raise ConfigError(f"{type(noise).__name__} adds nothing, so it has no shape to give a sigma of {sigma:g} to")
    return sigma / noise.sigma


def squared_misfit(difference: Tensor, deviation: Tensor | float) -> Tensor:
    """Σ (difference / deviation)² / 2, a scalar."""
    return (difference / deviation).square().sum() / 2
