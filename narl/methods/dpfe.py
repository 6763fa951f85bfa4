"""Deep Private-Feature Extraction (Osia et al. 2018): a narrow code that mixes private classes, noise at test.

    f = BN(E(M1(x))) of d numbers;  M1, E, D and M2 minimise  L_task(M2(D(f))) + 0.01 · mean over pairs of
        ½ ‖f_i − f_j‖²  of two private classes,   ½ max(0, m − ‖f_i − f_j‖)²  of one
    then z = f + η,  η ~ N(0, s · Cov f), when the client is used and attacked

E and D are linear, BN scales every number of the code to variance 1, M2 is the rest of the architecture. Images of
different private classes are drawn together and those of one class driven apart, so that the code does not tell them.

Source: the formula and its numbers are those of the authors' published network (private label: who it is). Published:
weight 0.01, margin m = 10, d = 10, s from 0.01 to 8. Where we deviate: E and D start at random and everything learns at
once, where the authors insert a principal component analysis into a trained network and fine-tune it in two steps (its
covariance has (C·h·w)² entries); a batch's first half is paired with its second, where pairs were chosen beforehand;
Cov f is a running mean over the last batches of training.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from narl.core.seeds import derive_seed
from narl.methods.base import Ingredients, Method, StepLosses
from narl.methods.bottleneck import BottleneckHalves
from narl.models.noise.covariance import CovarianceNoise
from narl.models.split import Obfuscator, seeded
from narl.training.classification import classification_loss

CONTRASTIVE_WEIGHT = 0.01
MARGIN = 10.0


class DpfeHalves(BottleneckHalves):
    """M1, E and BN on the client, D and M2 on the server."""

    stage = "encoder"

    def client(self, *, seed: int) -> Obfuscator:
        client = super().client(seed=seed)
        client.noise = CovarianceNoise(self.feature_shape[0], self.settings["noise_scale"])
        return client

    def rest(self, *, num_outputs: int, seed: int) -> nn.Module:
        with seeded(derive_seed(seed, "decoder")):
            decoder = self._decoder()
        return nn.Sequential(decoder, super().rest(num_outputs=num_outputs, seed=seed))

    def extra_memory_bytes(self) -> int:
        return 4 * self.feature_shape[0] ** 2 + 8  # the noise's covariance, and a count of batches

    def bottleneck(self) -> nn.Sequential:
        """E and BN: [B, C, h, w] -> [B, d, 1, 1]."""
        wide, dimension = prod(self.wide_shape), self.feature_shape[0]
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(wide, dimension),
            nn.BatchNorm1d(dimension, affine=False),
            nn.Unflatten(1, self.feature_shape),
        )

    def _decoder(self) -> nn.Sequential:
        """D: [B, d, 1, 1] -> [B, C, h, w]."""
        wide = nn.Linear(self.feature_shape[0], prod(self.wide_shape))
        return nn.Sequential(nn.Flatten(), wide, nn.Unflatten(1, self.wide_shape))


class Dpfe(Method):
    """One objective for all networks; the noise only watches."""

    halves = DpfeHalves
    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task = parts.task
        self.train_each(self.client, self.task)

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            features = self.client.features(images)
            task_loss = classification_loss(self.task(features), utility)
        team = self.parts.team  # pairs and covariance are of all its images
        codes = team.gathered(features.flatten(1).float())
        loss = task_loss + CONTRASTIVE_WEIGHT * contrastive_loss(codes, team.gathered(private))
        loss.backward()
        noise = self.client.noise
        assert isinstance(noise, CovarianceNoise)
        noise.watch(codes.detach())
        return StepLosses(task_loss.detach())


def contrastive_loss(features: Tensor, labels: Tensor) -> Tensor:
    """Average over B // 2 pairs half the squared distance or, within one class, half its squared gap to `MARGIN`.

    Args:
        features: [B, d]; the first half is paired with the second, an odd image is left out.
        labels: the private ones, [B] int64.
    """
    pairs = len(features) // 2
    # The derivative of a root is infinite at 0, where equal images would be.
    distance = (features[:pairs] - features[pairs : 2 * pairs]).square().sum(1).add(1e-12).sqrt()
    same = labels[:pairs] == labels[pairs : 2 * pairs]
    return torch.where(same, (MARGIN - distance).clamp_min(0), distance).square().mean() / 2
