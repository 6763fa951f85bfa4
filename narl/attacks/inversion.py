"""White-box inversion: an attacker who knows M1 and σ searches for the image that explains the answer.

    min_x̂  −log p(z | M1(x̂)) + tv_weight · TV(x̂ − x̄)

x̂ is a sigmoid of free parameters, starts at the mean training image x̄, and is found by Adam through the frozen M1; z
may be the mean of several answers. It is the most probable image under the noise's likelihood (‖M1(x̂) − z‖² / 2σ² for
plain Gaussian noise, others in `narl/models/noise/`) and a Laplace prior on differences of neighbouring pixels
(Mahendran and Vedaldi 2015; against split networks He, Zhang and Lee 2019). Where we deviate: the prior is centred on
x̄, so that noise which hides everything leaves x̄ rather than a flat image; features without noise are taken as exact
to a twentieth of their root mean square.
"""

from __future__ import annotations

from collections.abc import Generator as Steps
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from narl.attacks.features import features_at
from narl.attacks.finding import Case, Finding, Numbers, Part, Samples, flattened
from narl.attacks.image_metrics import ImageComparison, ImageMetrics, image_intervals, mean_of, psnr
from narl.attacks.pictures import KEPT, RebuildStep, as_bytes, chosen
from narl.attacks.queries import name_of
from narl.attacks.target import Target
from narl.core.seeds import derive_seed

STEPS = 1000
LEARNING_RATE = 0.1
# Of a difference of 1 between neighbours: the inverse of the typical difference in a picture.
TV_WEIGHT = 10.0
EXACT_TO = 0.05
_SHOWN_EVERY = 100


@dataclass(frozen=True)
class Inversion(Finding):
    """What was found for a few images of the reported split.

    Attributes:
        metrics: of the images found.
        mean_image: of the mean training image in place of each: the control, and where the search starts.
        originals, found: the images, and what was found of them, uint8 [K, S, S, 3].
    """

    name = "inversion"

    metrics: ImageMetrics
    mean_image: ImageMetrics
    originals: Tensor
    found: Tensor

    @classmethod
    def find(cls, case: Case) -> Steps[RebuildStep, None, Inversion]:
        return (yield from invert(case.target))

    def numbers(self) -> dict[str, Any]:
        """Metrics of the images found and of mean images, and how many there were."""
        entry = {"rebuilt": self.metrics.to_json(), "mean_image": self.mean_image.to_json(), "images": len(self.found)}
        return {self.name: entry}

    def per_image(self) -> dict[str, Tensor]:
        return {f"inversion/{name}": values for name, values in self.metrics.per_image.items()}

    def pictures(self) -> dict[str, Tensor]:
        return {"original": self.originals, "inversion": self.found}

    @classmethod
    def summarise(cls, each: Sequence[Numbers], samples: Samples) -> Part:
        own = [numbers[cls.name] for numbers in each]
        entry = {name: mean_of([numbers[name] for numbers in own]) for name in ("rebuilt", "mean_image")}
        intervals = image_intervals("inversion/", samples)
        return Part({cls.name: {**entry, "interval95": intervals, "images": own[0]["images"]}})

    @classmethod
    def scalars(cls, entries: Numbers) -> dict[str, float]:
        return flattened(cls.name, entries[cls.name]["rebuilt"])


def invert(
    target: Target,
    *,
    count: int = KEPT,
    queries: float = 1,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    tv_weight: float = TV_WEIGHT,
) -> Steps[RebuildStep, None, Inversion]:
    """Search for `count` images of the reported split, `chosen` by private label, from their answers.

    Args:
        queries: answers to one image that the attacker averages, 1 to infinity.
        learning_rate: of Adam on the sigmoid's argument; falls to 0 along a cosine.
        tv_weight: 0 or more, per unit of difference between neighbouring pixels in [0, 1].

    Raises:
        ConfigError: images too small for MS-SSIM.
    """
    name = "inversion" if queries == 1 else f"{name_of(queries)} queries, inversion"
    device = target.precision.device
    noise = target.client.noise.averaged(queries)
    generator = Generator(device).manual_seed(derive_seed(target.seed, name))
    rows = chosen(target.labels("private")[target.report_on], count).to(device)
    clean = features_at(target.features[target.report_on], rows)
    answers = noise(clean, generator).detach()
    originals = target.images(target.report_on)[rows]
    mean = target.images("train").mean().expand_as(originals)
    exact_to = EXACT_TO * clean.square().mean().sqrt().item()

    argument = mean.clamp(0.02, 0.98).logit().contiguous().requires_grad_()
    optimiser = torch.optim.Adam([argument], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    for step in range(steps):
        found = argument.sigmoid()
        loss = noise.misfit(target.client.features(found), answers, exact_to)
        optimiser.zero_grad(set_to_none=True)
        (loss + tv_weight * total_variation(found - mean)).backward()
        optimiser.step()
        schedule.step()
        if step % _SHOWN_EVERY == 0:
            mse = (255 * (found.detach() - originals)).square().mean().item()
            yield RebuildStep(name, step, psnr(mse), steps)
    found = argument.detach().sigmoid()
    of_found, of_mean = (ImageComparison(target.halves.size, device) for _ in range(2))
    of_found.add(originals, found)
    of_mean.add(originals, mean)
    return Inversion(of_found.result(), of_mean.result(), as_bytes(originals), as_bytes(found))


def total_variation(images: Tensor) -> Tensor:
    """Sum of absolute differences between vertical and horizontal neighbours of [B, 3, S, S]; a scalar."""
    return images.diff(dim=2).abs().sum() + images.diff(dim=3).abs().sum()
