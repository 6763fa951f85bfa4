"""M1(x) of a whole split, once a version of the images: M1 is frozen while attackers train, so only noise is ever new.

Attackers may change images as training did (crops, flips): `training_views` is what they train on.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from narl.config.pipeline import Augment
from narl.core.cache import cache_root
from narl.core.errors import UnusableFeatures
from narl.data.dataset import Dataset
from narl.data.loaders import Batch, BatchLoader
from narl.data.share import share_of
from narl.models.split import Obfuscator
from narl.training.classification import to_unit_range
from narl.training.gpu_memory import is_out_of_memory, release
from narl.training.halving import Halving
from narl.training.team import ALONE, Team

# Features up to this many bytes a split are kept in memory; larger ones in a file.
CACHE_LIMIT_BYTES = 1 << 30

# Of float32: what numbers of size 1 are apart, and the smallest that has all its digits.
_EPSILON, _SMALLEST = float(np.finfo(np.float32).eps), float(np.finfo(np.float32).tiny)

Label = Literal["utility", "private"]
FeatureBatch = tuple[Tensor, Tensor]  # M1(x) [B, C, H, W], int64 positions in the split [B]


class Features(Protocol):
    """Noise-free features of one split, on the attack's device."""

    num_samples: int

    def batches(self, batch_size: int, *, shuffle: Generator | None = None, epoch: int = 0) -> Iterator[FeatureBatch]:
        """Yield every sample once; in an order drawn from `shuffle` if given."""


class CachedFeatures:
    """Features held in memory or in a mapped file.

    Args:
        clean: [N, C, H, W], copied unless it is channels last in memory.
        device: where batches go.
    """

    def __init__(self, clean: Tensor, device: torch.device | None = None):
        self.clean = clean.contiguous(memory_format=torch.channels_last)
        self.num_samples = len(clean)
        self._device = device or clean.device

    def batches(self, batch_size: int, *, shuffle: Generator | None = None, epoch: int = 0) -> Iterator[FeatureBatch]:
        if shuffle is None:
            order = torch.arange(self.num_samples, device=self._device)
            batches: Iterator[FeatureBatch] = zip(self.clean.split(batch_size), order.split(batch_size), strict=True)
        else:
            order = torch.randperm(self.num_samples, generator=shuffle, device=shuffle.device)
            batches = ((self._rows(rows), rows) for rows in order.to(self.clean.device).split(batch_size))
        for clean, rows in batches:
            yield clean.to(self._device), rows.to(self._device)

    def _rows(self, rows: Tensor) -> Tensor:
        channels, height, width = self.clean.shape[1:]
        # Image after image: indexing four dimensions copies element by element.
        images = self.clean.permute(0, 2, 3, 1).reshape(self.num_samples, -1).index_select(0, rows)
        return images.view(-1, height, width, channels).permute(0, 3, 1, 2)


class StreamedFeatures:
    """Features computed from the images at each pass, where neither memory nor disk has room for them.

    Args:
        augment: change the images at each pass as in training.
    """

    def __init__(
        self, obfuscator: Obfuscator, dataset: Dataset, split: str, device: torch.device, seed: int, augment: bool
    ):
        self._obfuscator, self._dataset, self._split, self._device = obfuscator, dataset, split, device
        self._seed, self._augment = seed, augment
        self.num_samples = len(dataset.labels(split)[0])

    def batches(self, batch_size: int, *, shuffle: Generator | None = None, epoch: int = 0) -> Iterator[FeatureBatch]:
        loader = self._dataset.loader(
            self._split, batch_size=batch_size, seed=self._seed, shuffle=shuffle is not None, augment=self._augment
        )
        for features, batch in _compute(self._obfuscator, loader, self._device, epoch):
            yield features, batch.index.to(self._device)


class Views:
    """Several versions of a split's features, one a pass in turn.

    Args:
        versions: at least one, the images as they are first.
    """

    def __init__(self, versions: Sequence[Features]):
        self._versions = versions
        self.num_samples = versions[0].num_samples

    @property
    def versions(self) -> int:
        """How many passes it takes to see all of them."""
        return len(self._versions)

    def batches(self, batch_size: int, *, shuffle: Generator | None = None, epoch: int = 0) -> Iterator[FeatureBatch]:
        return self._versions[epoch % len(self._versions)].batches(batch_size, shuffle=shuffle, epoch=epoch)


def features_of(
    obfuscator: Obfuscator,
    dataset: Dataset,
    split: str,
    *,
    device: torch.device,
    feature_shape: tuple[int, int, int],
    seed: int,
    version: int = 0,
    cache_limit_bytes: int = CACHE_LIMIT_BYTES,
    batch_size: int = 256,
    team: Team = ALONE,
) -> Features:
    """Compute a split's features in float32, as a deployed client does, once if there is room to keep them.

    The workers of a team all call this. Each computes its share, which rank 0 keeps; the others keep none, and get
    features that are computed at each pass.

    Args:
        obfuscator: put in eval mode here; running batch statistics.
        feature_shape: (C, H, W) of M1's output.
        version: of the images: 0 as they are, others each changed at random in a way of its own.
        cache_limit_bytes: larger features, and those that do not fit on a GPU, go to an unnamed file in the cache
            folder, which goes with this process.
    """
    obfuscator.eval()
    count = len(dataset.labels(split)[0])
    channels, height, width = feature_shape
    shape = (count, height, width, channels)
    clean = None
    if team.rank == 0:
        if 4 * count * channels * height * width <= cache_limit_bytes:
            clean = _in_memory(shape, device)
        if clean is None:
            clean = _mapped(shape, cache_root())
    has_room = torch.tensor([clean is not None], dtype=torch.uint8, device=device)
    team.follow_([has_room])
    if has_room:
        loader = dataset.loader(
            split,
            batch_size=batch_size * team.size,
            seed=seed,
            augment=version > 0,
            rank=team.rank,
            workers=team.size,
        )
        _compute_together(clean, obfuscator, loader, device, version, team)
    if clean is None:
        return StreamedFeatures(obfuscator, dataset, split, device, seed, augment=version > 0)
    return CachedFeatures(clean.permute(0, 3, 1, 2), device)


def training_views(
    plain: Features,
    obfuscator: Obfuscator,
    dataset: Dataset,
    *,
    count: int,
    device: torch.device,
    feature_shape: tuple[int, int, int],
    seed: int,
    team: Team = ALONE,
) -> Features:
    """Build what attackers train on: the training images as they are, and `count` - 1 times changed as in training.

    A client without a network costs nothing to run, so each of its changed passes is changed anew.

    Args:
        plain: `features_of` the train split.
        count: at least 1.
        device, feature_shape, seed, team: as for `features_of`.
    """
    if count == 1 or dataset.pipeline.augment == Augment():
        return plain
    if next(obfuscator.parameters(), None) is None:
        changing = StreamedFeatures(obfuscator, dataset, "train", device, seed, augment=True)
        return Views([plain, *(count - 1) * [changing]])
    limit = CACHE_LIMIT_BYTES // count
    changed = (
        features_of(
            obfuscator,
            dataset,
            "train",
            device=device,
            feature_shape=feature_shape,
            seed=seed,
            version=version,
            cache_limit_bytes=limit,
            team=team,
        )
        for version in range(1, count)
    )
    return Views([plain, *changed])


def byte_store(shape: tuple[int, ...]) -> Tensor:
    """Allocate uint8 of `shape`: in memory or, beyond `CACHE_LIMIT_BYTES`, in a file as features are."""
    mapped = _mapped(shape, cache_root(), np.uint8) if np.prod(shape) > CACHE_LIMIT_BYTES else None
    return torch.empty(shape, dtype=torch.uint8) if mapped is None else mapped


def _in_memory(shape: tuple[int, ...], device: torch.device) -> Tensor | None:
    try:
        return torch.empty(shape, device=device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    release()
    return None


def _mapped(shape: tuple[int, ...], folder: Path, dtype: type[np.generic] = np.float32) -> Tensor | None:
    """Map a file in `folder`; None if the disk has no room. The file has no name, and goes with the tensor."""
    size = np.dtype(dtype).itemsize * int(np.prod(shape))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < 2 * size:
            return None  # others need room too
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk shows here, not as a signal at some write
            return torch.from_numpy(np.memmap(file, dtype=dtype, mode="r+", shape=shape))
    except OSError:
        return None


def features_at(features: Features, rows: Tensor) -> Tensor:
    """Pick the features [K, C, H, W] at ascending positions `rows`, int64 [K], in one pass over the split."""
    return torch.cat([clean[torch.isin(positions, rows)] for clean, positions in features.batches(256)])


def scales_of(features: Features, at_once: int = 1024) -> tuple[float, float]:
    """Compute the root mean square of M1(x) over a split, and that about its mean over images: σ is relative to these.

    Args:
        at_once: images; fewer if they do not fit on a GPU.
    """
    try:
        total, squares = _sums(features, at_once)
    except RuntimeError as error:
        if not is_out_of_memory(error) or at_once == 1:
            raise
        total = None
    if total is None:
        release()
        return scales_of(features, at_once // 2)
    mean_square = squares / features.num_samples
    variance = (mean_square - (total / features.num_samples).square()).clamp_min(0)
    return mean_square.mean().sqrt().item(), variance.mean().sqrt().item()


def check_scales(rms: float, deviation: float) -> None:
    """Refuse features that no attacker could read, whatever they hid.

    Args:
        rms, deviation: see `scales_of`.

    Raises:
        UnusableFeatures: they overflow, underflow or are the same for every image.
    """
    if not math.isfinite(rms):
        raise UnusableFeatures("the client's features overflow: not all of them are finite")
    if deviation <= _EPSILON * rms:
        raise UnusableFeatures(
            f"the client's features are constant: over images they differ by {deviation:.3g} at a size of {rms:.3g}"
        )
    if deviation < _SMALLEST:
        raise UnusableFeatures(
            f"the client's features underflow: over images they differ by {deviation:.3g}, and float32 holds no less "
            f"than {_SMALLEST:.3g} whole"
        )


def _sums(features: Features, at_once: int) -> tuple[Tensor, Tensor]:
    """Sum over images and sum of squares, float64 [C, H, W]."""
    total = squares = torch.zeros((), dtype=torch.float64)
    for clean, _ in features.batches(at_once):
        total = total + clean.double().sum(0)
        squares = squares + clean.double().square().sum(0)
    return total, squares


def _compute_together(
    clean: Tensor | None, obfuscator: Obfuscator, loader: BatchLoader, device: torch.device, epoch: int, team: Team
) -> None:
    """Fill `clean` [N, H, W, C] of rank 0 in the loader's order, from the shares of all workers."""
    start = 0
    for features, batch in _compute(obfuscator, loader, device, epoch):
        features, share = features.permute(0, 2, 3, 1), batch.share
        if clean is None:  # of every rank but 0
            team.send(features)
        else:
            clean[start : start + share.stop] = features
            for sender in range(1, team.size if not share.is_whole else 1):
                theirs = share_of(share.total, sender, team.size)
                rows = features.new_empty((theirs.stop - theirs.start, *features.shape[1:]))
                clean[start + theirs.start : start + theirs.stop] = team.receive_(rows, sender)
        start += share.total


def _compute(
    obfuscator: Obfuscator, loader: BatchLoader, device: torch.device, epoch: int
) -> Iterator[tuple[Tensor, Batch]]:
    halving = Halving()
    for batch in loader.epoch(epoch):
        # Not a decorator: grad mode would stay switched off in the caller between two yields.
        with torch.no_grad():
            features = halving(lambda images: obfuscator.features(to_unit_range(images, device)), batch.images)
        yield features, batch
