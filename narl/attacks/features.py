"""M1(x) of a whole split, once: M1 is frozen while attackers train, so only the noise is ever new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor, nn

from narl.data.dataset import BatchLoader, Dataset
from narl.training.classification import to_unit_range

# Features up to this many bytes a split are kept in memory; larger ones are computed anew each pass.
CACHE_LIMIT_BYTES = 1 << 30

Label = Literal["utility", "private"]
FeatureBatch = tuple[Tensor, Tensor, Tensor]  # M1(x) [B, C, H, W], utility [B], private [B]


class Features(Protocol):
    """Noise-free features of one split with both labels, on the attack's device."""

    num_samples: int

    def batches(self, batch_size: int, *, shuffle: Generator | None = None, epoch: int = 0) -> Iterator[FeatureBatch]:
        """Every sample once; in an order drawn from `shuffle` if given."""

    def labels(self, label: Label) -> Tensor:
        """int64 [N], in the order of the split, without computing a feature."""


class CachedFeatures:
    """Features held in memory."""

    def __init__(self, clean: Tensor, utility: Tensor, private: Tensor):
        self.clean, self.utility, self.private = clean, utility, private
        self.num_samples = len(utility)

    def batches(self, batch_size: int, *, shuffle: Generator | None = None, epoch: int = 0) -> Iterator[FeatureBatch]:
        if shuffle is None:
            order = torch.arange(self.num_samples, device=self.clean.device)
        else:
            order = torch.randperm(self.num_samples, generator=shuffle, device=self.clean.device)
        for rows in order.split(batch_size):
            yield self.clean[rows], self.utility[rows], self.private[rows]

    def labels(self, label: Label) -> Tensor:
        return self.utility if label == "utility" else self.private


class StreamedFeatures:
    """Features computed from the images at each pass, for those too large to keep."""

    def __init__(self, obfuscator: nn.Module, dataset: Dataset, split: str, device: torch.device, seed: int):
        self._obfuscator, self._dataset, self._split, self._device, self._seed = (
            obfuscator,
            dataset,
            split,
            device,
            seed,
        )
        self.num_samples = len(dataset.labels(split)[0])

    def batches(self, batch_size: int, *, shuffle: Generator | None = None, epoch: int = 0) -> Iterator[FeatureBatch]:
        loader = self._dataset.loader(
            self._split, batch_size=batch_size, seed=self._seed, shuffle=shuffle is not None, augment=False
        )
        yield from _compute(self._obfuscator, loader, self._device, epoch)

    def labels(self, label: Label) -> Tensor:
        utility, private = self._dataset.labels(self._split)
        return (utility if label == "utility" else private).to(self._device)


def features_of(
    obfuscator: nn.Module,
    dataset: Dataset,
    split: str,
    *,
    device: torch.device,
    feature_shape: tuple[int, int, int],
    seed: int,
    cache_limit_bytes: int = CACHE_LIMIT_BYTES,
    batch_size: int = 256,
) -> Features:
    """Features of a split in float32 (what a deployed client computes), cached if they fit the limit.

    Args:
        obfuscator: put in eval mode here; running batch statistics, no augmentation.
        feature_shape: (C, H, W) of M1's output.
    """
    obfuscator.eval()
    count = len(dataset.labels(split)[0])
    channels, height, width = feature_shape
    if count * channels * height * width * 4 > cache_limit_bytes:
        return StreamedFeatures(obfuscator, dataset, split, device, seed)
    clean = torch.empty((count, *feature_shape), device=device).to(memory_format=torch.channels_last)
    utility = torch.empty(count, dtype=torch.int64, device=device)
    private = torch.empty(count, dtype=torch.int64, device=device)
    start = 0
    loader = dataset.loader(split, batch_size=batch_size, shuffle=False, augment=False)
    for features, utility_batch, private_batch in _compute(obfuscator, loader, device, 0):
        stop = start + len(utility_batch)
        clean[start:stop], utility[start:stop], private[start:stop] = features, utility_batch, private_batch
        start = stop
    return CachedFeatures(clean, utility, private)


def root_mean_square(features: Features) -> float:
    """RMS of M1(x) over a split: the scale that σ is to be compared with."""
    total, count = 0.0, 0
    for clean, _, _ in features.batches(1024):
        total += clean.double().square().sum().item()
        count += clean.numel()
    return (total / count) ** 0.5


def _compute(obfuscator: nn.Module, loader: BatchLoader, device: torch.device, epoch: int) -> Iterator[FeatureBatch]:
    for batch in loader.epoch(epoch):
        # Not a decorator: grad mode would stay switched off in the caller between two yields.
        with torch.no_grad():
            features = obfuscator.features(to_unit_range(batch.images, device))
        yield features, batch.utility.to(device), batch.private.to(device)
