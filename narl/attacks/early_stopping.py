"""When a network under training has stopped improving on validation data, and the weights of its best epoch."""

from __future__ import annotations

import math

from torch import Tensor, nn

from narl.config.trial import Attack


class EarlyStopping:
    """Watches `network`, epoch after epoch.

    A network has converged after `settings.patience` epochs without a better score, at `settings.min_epochs` or later,
    once its best score is above `beyond`: a network that has never got there may only be slow to start.

    Attributes:
        scores: one an epoch; more is better.
        converged: stopped by patience rather than by `settings.max_epochs`.
    """

    def __init__(self, network: nn.Module, settings: Attack, *, beyond: float = -math.inf) -> None:
        self._network, self._settings, self._beyond = network, settings, beyond
        self.scores: list[float] = []
        self._best, self._since = -math.inf, 0
        self._state: dict[str, Tensor] = {}

    @property
    def converged(self) -> bool:
        enough = len(self.scores) >= self._settings.min_epochs and self._since >= self._settings.patience
        return enough and self._best > self._beyond

    @property
    def over(self) -> bool:
        """Whether no further epoch is due."""
        return self.converged or len(self.scores) >= self._settings.max_epochs

    def saw(self, score: float) -> None:
        """Take an epoch's score into account, and keep the weights and statistics of the best epoch."""
        self.scores.append(score)
        self._since += 1
        if score > self._best or not self._state:
            self._best, self._since = score, 0
            self._keep()

    def restore_best(self) -> None:
        """Give the network the weights of its best epoch."""
        self._network.load_state_dict(self._state)

    def _keep(self) -> None:
        for name, tensor in self._network.state_dict().items():
            if name in self._state:
                self._state[name].copy_(tensor)  # into the tensors of the epoch before
            else:
                self._state[name] = tensor.clone()
