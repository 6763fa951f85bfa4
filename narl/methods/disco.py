"""DISCO (Singh et al., CVPR 2021): the client cuts the channels that give the private label away, image by image.

    f = M1(x),  s = P(f) one score a channel,  z = f ⊙ m
    training:  m = sigmoid((s − s_(k)) / τ),  s_(k) the k-th largest score;  client: m = 1 for the k largest, else 0
    M1, M2 minimise L_task(M2(z)),  A minimises L_leak(A(z)),  the pruner P minimises (1 − ρ) L_task − ρ L_leak

k is the number of channels kept, C − ⌊R C⌋. The four gradients are exact, from one forward pass through each network
and
one backward pass through each but P, which has two: the gradient for M1, which passes through the scores too, weighs
    the
losses differently from P's own.

Published: R = `pruning_ratio` 0.99 (swept to 0.9999), ρ 0.5, τ 1/30, learning rate 3e-4. R 0.99 is meant for hundreds
of channels (6 of 512 are kept); of up to 100 it keeps one, so narrow networks may want less.
Where we deviate: P is a squeeze of our own (1x1 convolution to C / 16 channels, at least 8, mean, linear layer), sized
    for
the client's cost that the NARL paper's Table 2 prints for DISCO; the learning rate is the trial's. The uplink counts
all of z, zeros included.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from narl.core.seeds import derive_seed
from narl.methods.base import Ingredients, Method, StepLosses
from narl.methods.halves import Halves, on_meta, with_stages_after
from narl.models.split import Obfuscator, seeded
from narl.training.classification import classification_loss

SQUEEZE = 16  # channels of M1 for one of the pruner's
MIN_HIDDEN = 8


class ChannelPruner(nn.Module):
    """Scores every channel of every image and cuts the lowest, softly in training mode and to zero in eval mode.

    Args:
        channels: C.
        pruning_ratio: R, the share of channels cut, in [0, 1).
        temperature: τ > 0 of the soft mask, in units of the scores.
    """

    def __init__(self, channels: int, *, pruning_ratio: float, temperature: float) -> None:
        super().__init__()
        # Nine decimals: 0.58 * 100 is a little less than 58.
        self.num_kept = channels - math.floor(round(pruning_ratio * channels, 9))
        self.temperature = temperature
        hidden = max(MIN_HIDDEN, channels // SQUEEZE)
        self.scores = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(hidden, channels),
        )

    def forward(self, f: Tensor) -> Tensor:
        """M1(x) [B, C, h, w] -> z of the same shape."""
        scores = self.scores(f)
        mask = self.soft_mask(scores) if self.training else self.hard_mask(scores)
        return f * mask[:, :, None, None]

    def soft_mask(self, scores: Tensor) -> Tensor:
        """[B, C] -> [B, C] in (0, 1), at least 1/2 for the channels that `hard_mask` keeps."""
        lowest_kept = scores.topk(self.num_kept, dim=1).values[:, -1:]
        return ((scores - lowest_kept) / self.temperature).sigmoid()

    def hard_mask(self, scores: Tensor) -> Tensor:
        """[B, C] -> [B, C], 1 for exactly `num_kept` channels of each image."""
        kept = scores.topk(self.num_kept, dim=1).indices
        return torch.zeros_like(scores).scatter_(1, kept, 1.0)


class DiscoHalves(Halves):
    """M1 and the pruner on the client; the server is M2."""

    def client(self, *, seed: int) -> Obfuscator:
        with seeded(derive_seed(seed, "pruner")):
            pruner = self._pruner()
        return with_stages_after(super().client(seed=seed), ("pruner", pruner))

    def client_stages(self) -> list[nn.Module]:
        return [*super().client_stages(), on_meta(self._pruner)]

    def _pruner(self) -> ChannelPruner:
        return ChannelPruner(
            self.feature_shape[0],
            pruning_ratio=self.settings["pruning_ratio"],
            temperature=self.settings["temperature"],
        )


class Disco(Method):
    """M1, pruner, task head and adversary, updated at once."""

    halves = DiscoHalves
    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task, self.adversary = parts.task, parts.adversary
        self.m1, self.pruner = self.client.body[:-1], self.client.body[-1]
        self.rho = parts.settings["rho"]
        self.networks = (self.client, self.task, self.adversary)
        for network in (self.m1, self.pruner, self.task, self.adversary):
            self.adam(network.parameters())

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            f = self.m1(images)
            f_cut = f.detach().requires_grad_()
            z = self.pruner(f_cut)
            z_task = z.detach().requires_grad_()
            z_leak = z.detach().requires_grad_(self.rho > 0)
            task_loss = classification_loss(self.task(z_task), utility)
            leak_loss = classification_loss(self.adversary(z_leak), private)
        task_loss.backward()
        leak_loss.backward()
        (f_gradient,) = torch.autograd.grad(z, f_cut, z_task.grad, retain_graph=True)
        z_gradient = z_task.grad.mul(1 - self.rho)
        if self.rho > 0:
            z_gradient = z_gradient.sub(z_leak.grad, alpha=self.rho)
        z.backward(z_gradient, inputs=list(self.pruner.parameters()))
        f.backward(f_gradient)
        return StepLosses(task_loss.detach(), leak_loss.detach())
