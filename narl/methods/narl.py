"""Noisy Adversarial Representation Learning: Algorithm 1 of Jeong, Cho, Benz and Kim (§4.1).

    z  = M1(x) + η,  η ~ N(0, σ²) fresh each batch
    M2 minimises L_task(M2(z)),  A minimises L_leak(A(z)),  M1 minimises L_task − λ L_leak

The three gradients are exact from one forward pass and one backward pass through each network. The heads
run on z cut off from M1, so each head's own backward pass fills its parameters with its own gradient and
leaves dL/dz; M1 is then driven by dL_task/dz − λ dL_leak/dz. Nothing is ever divided by λ, so λ = 0 is legal
and then M1 sees the task alone while A goes on learning.

Published: λ 0.01; three Adams at 1e-3; σ 30 (MobileNetV2), 15 (AlexNet), 60 (VGG11) on FairFace; ResNet18's σ is not.
Where we deviate: the three networks step at once, from the same forward pass; while training, noise is drawn in the
number format of M1's features (bfloat16 where the hardware multiplies it); M1 may end in a bound, and noise may be
keyed to the image, neither by default.
"""

from __future__ import annotations

from torch import Tensor, nn

from narl.methods.base import Ingredients, Method, StepLosses
from narl.training.classification import classification_loss


class Narl(Method):
    """The three networks and their Adams; `step` performs one simultaneous update."""

    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task, self.adversary = parts.task, parts.adversary
        self.lambda_ = parts.point.lambda_
        self.noise = parts.noise
        self.train_each(self.client, self.task, self.adversary)

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            z = self.client(images, self.noise)
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
