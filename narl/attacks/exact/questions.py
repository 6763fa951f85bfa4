"""What a posterior over known images answers: which label, which image of a gallery, what picture.

Letters: N known images, B answers of a block about the images `rows`, K classes, G gallery size, P values of a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Generator, Tensor

from narl.attacks.exact.levels import LabelColumns
from narl.attacks.exact.results import Bound, LeastError

# Weights of equal images compared at once: 16 MiB.
_BLOCK_VALUES = 1 << 22


class Question(Protocol):
    """Asked of every block of posteriors."""

    @property
    def names(self) -> Sequence[Hashable]:
        """Of what is asked."""

    def ask(self, rows: Tensor, weights: Tensor) -> Mapping[Hashable, Tensor]:
        """Ask, and give by name, float [B]: how right the best answer is expected to be, or its squared error.

        Args:
            weights: p(i | z), float32 [B, N].
        """

    def result(self, per_image: Tensor, answers: int, variance: float) -> Bound | LeastError:
        """Make the result from the mean over answers by image, float64 [N], and the variance over answers."""


class LabelReading:
    """max_y p(y | z) of each label."""

    def __init__(self, labels: Mapping[str, Tensor], images: int, device: torch.device) -> None:
        self.names = tuple(("label", name) for name in labels)
        self._columns = LabelColumns(labels, images, device)

    def ask(self, rows: Tensor, weights: Tensor) -> Mapping[Hashable, Tensor]:
        return {("label", name): sums.amax(1) for name, sums in self._columns.sums(weights).items()}

    def result(self, per_image: Tensor, answers: int, variance: float) -> Bound:
        return _in_percent(per_image, answers, variance)


class Identification:
    """max_i p(i | z) in a gallery of `size` with the image asked about and others at random."""

    def __init__(self, size: int, generator: Generator) -> None:
        self.names = (("gallery", size),)
        self._size, self._generator = size, generator

    def ask(self, rows: Tensor, weights: Tensor) -> Mapping[Hashable, Tensor]:
        answers, images = weights.shape
        if self._size == images:
            return {self.names[0]: weights.amax(1)}
        chosen = weights.gather(1, self._galleries(rows, answers, images, weights.device))
        total = chosen.sum(1)
        # A gallery so unlikely that float32 has lost it counts as read.
        return {self.names[0]: torch.where(total > 0, chosen.amax(1) / total, 1.0)}

    def result(self, per_image: Tensor, answers: int, variance: float) -> Bound:
        return _in_percent(per_image, answers, variance)

    def _galleries(self, rows: Tensor, answers: int, images: int, device: torch.device) -> Tensor:
        """int64 [B, G], distinct in each row: windows of one random order, the image itself in place of the last."""
        order = torch.randperm(images, generator=self._generator, device=device)
        starts = torch.randint(images, (answers, 1), generator=self._generator, device=device)
        gallery = order[(starts + torch.arange(self._size, device=device)) % images]
        own = rows[:, None]
        absent = ~(gallery == own).any(1)
        gallery[absent, -1] = own[absent, 0]
        return gallery


class Pictures:
    """Var(x | z), which is the squared error of the posterior mean.

    Args:
        images: [N, 3, S, S] in [0, 1].
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.names = (("picture",),)
        pixels = 255 * images.flatten(1).to(device, torch.float32)
        self._pixels = pixels - pixels.mean(0)  # so that less cancels
        self._squares = self._pixels.square().mean(1, keepdim=True)

    def ask(self, rows: Tensor, weights: Tensor) -> Mapping[Hashable, Tensor]:
        mean = weights @ self._pixels
        return {self.names[0]: ((weights @ self._squares)[:, 0] - mean.square().mean(1)).clamp_min(0)}

    def result(self, per_image: Tensor, answers: int, variance: float) -> LeastError:
        return LeastError(per_image.mean().item(), self._squares.double().mean().item())


class Tally:
    """Means and variances over the answers of one noise level."""

    def __init__(self, questions: Sequence[Question], images: int) -> None:
        self._questions, self._images = questions, images
        self._sums: dict[Hashable, Tensor] = {}
        self._squares: dict[Hashable, Tensor] = {}

    def add(self, rows: Tensor, weights: Tensor) -> None:
        """Take in a block of posteriors, float32 [B, N], of answers about `rows`."""
        for question in self._questions:
            for name, values in question.ask(rows, weights).items():
                values = values.double()
                if name not in self._sums:
                    self._sums[name] = torch.zeros(self._images, dtype=torch.float64, device=values.device)
                    self._squares[name] = torch.zeros((), dtype=torch.float64, device=values.device)
                self._sums[name].index_add_(0, rows, values)
                self._squares[name] += values.square().sum()

    def results(self, draws: int) -> dict[Hashable, Bound | LeastError]:
        """Give the results by name; `draws` is the number of answers to each image, 0 if one says everything."""
        found = {}
        for question in self._questions:
            for name in question.names:
                per_image, count = self._sums[name] / max(1, draws), self._images * max(1, draws)
                mean_square = (self._squares[name] / count).item()
                variance = max(0.0, mean_square - per_image.mean().item() ** 2) * count / max(1, count - 1)
                found[name] = question.result(per_image.cpu(), self._images * draws, variance if draws else 0.0)
        return found


def posterior_of_equals(features: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the posterior of answers without noise: equal over all images with the same features, bit by bit.

    Yields:
        rows, int64 [B], and p(i | z), float32 [B, N].
    """
    kinds: dict[bytes, int] = {}
    rows = ((row.flatten() + 0.0).cpu().numpy() for row in features)  # -0.0 is 0.0
    group = torch.tensor([kinds.setdefault(hashlib.sha256(row).digest(), len(kinds)) for row in rows])
    group = group.to(features.device)
    step = max(1, _BLOCK_VALUES // len(features))
    for start in range(0, len(features), step):
        same = (group[start : start + step, None] == group).float()
        yield torch.arange(start, start + len(same), device=same.device), same / same.sum(1, keepdim=True)


def _in_percent(per_image: Tensor, answers: int, variance: float) -> Bound:
    return Bound((100 * per_image).float(), answers, variance)
