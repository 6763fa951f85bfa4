"""Shredder (Mireshghallah et al. 2020): noise learned for a network that was trained for utility alone.

    first  M1, M2 minimise L_task(M2(M1(x)))
    then   both frozen, n_1 … n_K minimise L_task(M2(M1(x) + n_k)) − α · mean_k log Var(n_k),  k drawn for each image

Var is over a member's entries. At inference each image gets a random member of the bank.

Published: noise that starts as Laplace(0.6, 1.2), grown by λ Σ|n|, Adam at 1e-4 (all unverified). Where we deviate: the
start has mean 0, as a mean that all members share hides nothing; the noise grows by its log variance, whose pull fades
as it grows; the K members learn together instead of one after another, at a learning rate of their own that is large
enough for the noise to leave its start within the given epochs (Adam moves an entry by about its rate per step);
there is no pretrained network, so the first phase trains one for the configured epochs and the second takes as many
again. Nothing in the objective keeps the members apart: the spread that hides is reported as the noise's sigma.
"""

from __future__ import annotations

from torch import Tensor, nn

from narl.core.seeds import derive_seed
from narl.methods.base import Ingredients, Method, StepLosses
from narl.methods.halves import Halves
from narl.models.noise.bank import NoiseBank, laplace_bank
from narl.models.split import Obfuscator
from narl.training.classification import classification_loss

INITIAL_SCALE = 1.2
NOISE_LEARNING_RATE = 0.05


class ShredderHalves(Halves):
    """M1 and the bank on the client."""

    def client(self, *, seed: int) -> Obfuscator:
        client = super().client(seed=seed)
        client.noise = laplace_bank(
            self._bank_size, self.feature_shape, scale=INITIAL_SCALE, seed=derive_seed(seed, "noise bank")
        )
        return client

    def extra_memory_bytes(self) -> int:
        channels, height, width = self.feature_shape
        return 4 * self._bank_size * channels * height * width

    @property
    def _bank_size(self) -> int:
        return int(self.settings["bank_size"])


class Shredder(Method):
    """Two phases, each of the configured epochs."""

    halves = ShredderHalves
    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task, self.noise = parts.task, parts.noise
        self.alpha = parts.settings["alpha"]
        self.networks = (self.client, self.task)
        bank = self.client.noise
        assert isinstance(bank, NoiseBank)
        self.members = bank.members
        self.adam(self.client.body.parameters())
        self.adam(self.task.parameters())
        self.adam([self.members], lr=NOISE_LEARNING_RATE)
        self._learn_noise(False)

    def num_epochs(self, configured: int) -> int:
        return 2 * configured

    def begin_epoch(self, epoch: int, configured: int) -> None:
        super().begin_epoch(epoch, configured)
        self._learn_noise(epoch >= configured)

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            z = self.client(images, self.noise) if self.members.requires_grad else self.client.features(images)
            loss = task_loss = classification_loss(self.task(z), utility)
        if self.members.requires_grad:
            loss = task_loss - self.alpha * self.members.flatten(1).var(1).log().mean()
        loss.backward()
        return StepLosses(task_loss.detach())

    def _learn_noise(self, learn: bool) -> None:
        """Let only the bank learn, on networks in eval mode; or only the networks, without it."""
        for network in self.networks:
            network.requires_grad_(not learn)
            if learn:
                network.eval()
        self.members.requires_grad_(learn)
