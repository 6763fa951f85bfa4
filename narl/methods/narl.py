"""Noisy Adversarial Representation Learning: Algorithm 1 of Jeong, Cho, Benz and Kim (§4.1).

    z  = M1(x) + η,  η ~ N(0, σ²) fresh each batch
    M2 minimises L_task(M2(z)),  A minimises L_leak(A(z)),  M1 minimises L_task − λ L_leak

The three gradients are exact from one forward pass and one backward pass through each network. The heads
run on z cut off from M1, so each head's own backward pass fills its parameters with its own gradient and
leaves dL/dz; M1 is then driven by dL_task/dz − λ dL_leak/dz. Nothing is ever divided by λ, so λ = 0 is legal
and then M1 sees the task alone while A goes on learning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from narl.training.classification import classification_loss
from narl.training.precision import Precision


@dataclass(frozen=True)
class StepLosses:
    """Scalars on the device, detached: reading them is left to the caller, once an epoch."""

    task: Tensor
    leak: Tensor


class Narl:
    """The three networks and their Adams; `step` performs one simultaneous update.

    Args:
        obfuscator: M1 with its noise; `obfuscator(x, generator)` gives z.
        task: M2, from z to utility logits.
        adversary: A, from z to private logits.
        lambda_: λ >= 0.
        noise: source of η, on the networks' device.
    """

    def __init__(
        self,
        *,
        obfuscator: nn.Module,
        task: nn.Module,
        adversary: nn.Module,
        lambda_: float,
        learning_rate: float,
        precision: Precision,
        noise: Generator,
    ):
        self.obfuscator, self.task, self.adversary = obfuscator, task, adversary
        self.lambda_ = lambda_
        self.precision = precision
        self.noise = noise
        self.networks = (obfuscator, task, adversary)
        self.optimisers = [torch.optim.Adam(net.parameters(), lr=learning_rate, fused=True) for net in self.networks]

    def step(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        """Update the three networks on one batch.

        Args:
            images: [B, 3, H, W] float32 in [0, 1].
            utility, private: [B] int64.
        """
        losses = self.accumulate_gradients(images, utility, private)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return losses

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        """Add each network's gradient of its own objective to its parameters' `.grad`."""
        with self.precision.autocast():
            z = self.obfuscator(images, self.noise)
            z_task = z.detach().requires_grad_()
            z_leak = z.detach().requires_grad_(self.lambda_ > 0)
            task_loss = classification_loss(self.task(z_task), utility)
            leak_loss = classification_loss(self.adversary(z_leak), private)
        task_loss.backward()
        leak_loss.backward()
        z_gradient = z_task.grad
        if self.lambda_ > 0:
            z_gradient = z_gradient.sub(z_leak.grad, alpha=self.lambda_)
        z.backward(z_gradient)
        return StepLosses(task_loss.detach(), leak_loss.detach())
