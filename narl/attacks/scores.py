"""How often a label was read right, image by image: what accuracies and their intervals are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scores:
    """One network's answers on one split.

    Attributes:
        hits: [N] float32 in 0..1, the share of the noise's draws in which the image's label was read right.
        labels: [N] int64, the labels.
    """

    hits: Tensor
    labels: Tensor

    @property
    def accuracy(self) -> float:
        """Percent of the images read right."""
        return 100.0 * self.hits.double().mean().item()

    @property
    def chance(self) -> float:
        """Percent of the images whose label is the commonest one: what a constant guess scores."""
        return largest_share(self.labels)

    @property
    def percents(self) -> Tensor:
        """[N] float32, `hits` in percent."""
        return 100 * self.hits

    @property
    def by_class(self) -> list[float]:
        """Percent read right of each class that occurs, in the order of the classes."""
        hits = self.hits.double()
        return [100.0 * hits[self.labels == label].mean().item() for label in self.labels.unique()]

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the classes of the percentage read right: a constant guess scores 100 / classes."""
        each = self.by_class
        return sum(each) / len(each)


def count_hits(predicted: list[Tensor], labels: Tensor) -> Scores:
    """Score the predictions of several draws, each [N], against the labels [N]."""
    right = torch.stack([draw == labels for draw in predicted])
    return Scores(right.float().mean(dim=0).cpu(), labels.cpu())


def largest_share(labels: Tensor) -> float:
    """Compute the share in percent of the most frequent label, int64 [N]: what a constant guess scores."""
    return 100.0 * labels.bincount().max().item() / len(labels)
