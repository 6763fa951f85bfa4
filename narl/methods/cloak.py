"""Cloak (Mireshghallah et al. 2021): the parts of an image that the task does not need are drowned in noise, then cut.

    first  the whole network M minimises L_task(M(x))
    then   M frozen, ρ and μ minimise L_task(M(x + μ + σ ⊙ ε)) − α log mean σ,  σ = σ_max (1 + tanh ρ) / 2
    last   the pixels with the largest σ are suppressed: each shows a constant, which μ learns from L_task

The client runs no network, only z = b ⊙ (x + σ ⊙ ε) + μ; utility network and attackers are whole networks on z.

Published: the three steps, an upper bound on σ, a sweep of α and of the share that is suppressed. Where we deviate: the
share is given rather than a threshold on σ; α, σ_max and the share have defaults of ours; ρ and μ have a learning rate
of their own, large enough for σ to cross its range within the epochs there are (Adam moves ρ by about its rate a step);
no pretrained network, so the first step trains one for the configured epochs, and each of the others takes as many.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from narl.methods.base import Ingredients, Method, StepLosses
from narl.methods.halves import on_meta
from narl.methods.image_noise import ImageNoiseHalves
from narl.models.noise.pixel import PixelMask, PixelNoise
from narl.models.split import Obfuscator
from narl.training.classification import classification_loss

NOISE_LEARNING_RATE = 0.05


class CloakHalves(ImageNoiseHalves):
    """Mask, offset and noise on the client, a whole network on the server."""

    def client(self, *, seed: int) -> Obfuscator:
        noise = PixelNoise(self.size, self.settings["max_sigma"])
        return Obfuscator(nn.Sequential(PixelMask(self.size)), noise)

    def client_stages(self) -> list[nn.Module]:
        return [on_meta(lambda: PixelMask(self.size))]

    def extra_memory_bytes(self) -> int:
        return 4 * 3 * self.size**2  # the noise's scales, float32


class Cloak(Method):
    """Three phases, each of the configured epochs."""

    halves = CloakHalves
    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task, self.draws = parts.task, parts.noise
        self.alpha, self.suppressed = parts.settings["alpha"], parts.settings["suppressed"]
        mask, noise = self.client.body[0], self.client.noise
        assert isinstance(mask, PixelMask) and isinstance(noise, PixelNoise)
        self.mask, self.noise = mask, noise
        self.networks = (self.client, self.task)
        self.adam(self.task.parameters())
        self.adam([self.noise.rho, self.mask.offset], lr=NOISE_LEARNING_RATE)
        self._begin_phase(0)

    def num_epochs(self, configured: int) -> int:
        return 3 * configured

    def begin_epoch(self, epoch: int, configured: int) -> None:
        super().begin_epoch(epoch, configured)
        self._begin_phase(epoch // configured)
        if epoch == 2 * configured:
            self._suppress()

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            z = images if self.phase == 0 else self.client(images, self.draws)
            loss = task_loss = classification_loss(self.task(z), utility)
        if self.phase == 1:
            loss = task_loss - self.alpha * self.noise.scales.mean().log()
        loss.backward()
        return StepLosses(task_loss.detach())

    def _begin_phase(self, phase: int) -> None:
        """Let the network learn first, then the noise, with the network in eval mode, and at last the constants."""
        self.phase = phase
        self.task.requires_grad_(phase == 0)
        if phase > 0:
            self.task.eval()
        self.noise.rho.requires_grad_(phase == 1)
        self.mask.offset.requires_grad_(phase > 0)

    def _suppress(self) -> None:
        """Cut the pixels with the largest σ; each of a pixel's three colours is a value of its own."""
        scales = self.noise.scales.detach()
        count = round(self.suppressed * scales.numel())
        cut = torch.zeros(scales.numel(), dtype=torch.bool, device=scales.device)
        cut[scales.flatten().topk(count).indices] = True
        cut = cut.view_as(scales)
        with torch.no_grad():
            self.mask.kept[cut] = 0.0
        self.noise.silence(cut)
