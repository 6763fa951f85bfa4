"""Maximum-entropy adversarial representation learning (Roy and Boddeti, CVPR 2019: MaxEnt-ARL).

    z = E(x),  E = M1, global average pooling, a linear layer to `dimension` values; no noise
    E and T minimise (1 − α) L_task(T(z)) − α H(D(z)),  D minimises L_leak(D(z)) on z cut off from E

H is the entropy in nats of the distribution that the adversary D predicts: that of the softmax, or of a Bernoulli
variable for a binary label's single logit. So E pushes D towards knowing nothing instead of towards being wrong. All
gradients are exact from one forward pass through each network; D alone has two backward passes, its own loss to its
parameters and the entropy to z.

Published: M1 a whole ResNet18 (split 4); dimension 128 on CIFAR-10, 256 on faces; α 0.1 to 0.6; heads of 256 and 128
hidden units with BatchNorm and PReLU; Adam, for E at 1e-4 with weight decay 1e-2, for the heads at 1e-2 with 1e-3.
Where we deviate: E's learning rate is the trial's, as for every method (1e-4 there gives the published one), while
    weight
decays and the heads' learning rate are the published ones; all networks step at once instead of in turns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from narl.methods.base import Ingredients, Method, StepLosses
from narl.methods.bottleneck import BottleneckHalves
from narl.models.split import seeded
from narl.training.classification import classification_loss

ENCODER_WEIGHT_DECAY = 1e-2
HEAD_LEARNING_RATE, HEAD_WEIGHT_DECAY = 1e-2, 1e-3


class MaxEntHalves(BottleneckHalves):
    """M1 and a linear bottleneck on the client, a perceptron on the server."""

    def rest(self, *, num_outputs: int, seed: int) -> nn.Module:
        with seeded(seed):
            return _head(self.feature_shape[0], num_outputs)

    def bottleneck(self) -> nn.Sequential:
        """[B, C, h, w] -> [B, d, 1, 1]."""
        return nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(self.wide_shape[0], self.feature_shape[0]),
            nn.Unflatten(1, self.feature_shape),
        )


class MaxEnt(Method):
    """Encoder, task head and adversary, updated at once."""

    halves = MaxEntHalves
    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task, self.adversary = parts.task, parts.adversary
        self.alpha = parts.settings["alpha"]
        self.networks = (self.client, self.task, self.adversary)
        self.adam(self.client.parameters(), weight_decay=ENCODER_WEIGHT_DECAY)
        for head in (self.task, self.adversary):
            self.adam(head.parameters(), lr=HEAD_LEARNING_RATE, weight_decay=HEAD_WEIGHT_DECAY)

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            z = self.client(images)
            z_task = z.detach().requires_grad_()
            z_leak = z.detach().requires_grad_(self.alpha > 0)
            task_loss = classification_loss(self.task(z_task), utility)
            private_logits = self.adversary(z_leak)
            leak_loss = classification_loss(private_logits, private)
        ((1 - self.alpha) * task_loss).backward()
        z_gradient = z_task.grad
        if self.alpha > 0:
            entropy = prediction_entropy(private_logits)
            (entropy_gradient,) = torch.autograd.grad(entropy, z_leak, retain_graph=True)
            z_gradient = z_gradient.sub(entropy_gradient, alpha=self.alpha)
        leak_loss.backward(inputs=list(self.adversary.parameters()))
        z.backward(z_gradient)
        return StepLosses(task_loss.detach(), leak_loss.detach())


def prediction_entropy(logits: Tensor) -> Tensor:
    """Compute the mean entropy in nats of the predicted distributions, from 0 to log K (one logit: to log 2).

    Args:
        logits: [B, K], or [B, 1] for a binary label.
    """
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    if logits.shape[1] == 1:
        # log(1 + e^s) − s p, p = sigmoid(s): the Bernoulli entropy without logarithms of small numbers.
        return (F.softplus(logits) - logits * logits.sigmoid()).mean()
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1).mean()


def _head(dimension: int, num_outputs: int) -> nn.Sequential:
    """[B, d, 1, 1] -> [B, K]."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(dimension, 256),
        nn.BatchNorm1d(256),
        nn.PReLU(),
        nn.Linear(256, 128),
        nn.BatchNorm1d(128),
        nn.PReLU(),
        nn.Linear(128, num_outputs),
    )
