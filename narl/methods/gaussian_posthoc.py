"""Post-hoc Gaussian noise, the control that NARL must beat: noise on a network that was never trained for privacy.

    M1, M2 minimise L_task(M2(M1(x)));  then z = M1(x) + η,  η ~ N(0, σ²)

Training sees neither noise nor adversary; the noise is on whenever the client is frozen and attacked.
"""

from __future__ import annotations

from torch import Tensor, nn

from narl.methods.base import Ingredients, Method, StepLosses
from narl.training.classification import classification_loss


class GaussianPosthoc(Method):
    """One network trained for utility."""

    task: nn.Module

    def __init__(self, parts: Ingredients) -> None:
        super().__init__(parts)
        self.task = parts.task
        self.train_each(self.client, self.task)

    def accumulate_gradients(self, images: Tensor, utility: Tensor, private: Tensor) -> StepLosses:
        with self.precision.autocast():
            loss = classification_loss(self.task(self.client.features(images)), utility)
        loss.backward()
        return StepLosses(loss.detach())
