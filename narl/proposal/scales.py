"""σ to search: how far apart a client's features of two images lie, measured on a sample before any training.

An attacker tells two images apart by the distance D of their features over σ. In noise of σ = D / 1.5 a network still
learns the useful label; in noise of D / 8 little is hidden (docs/decisions.md). Features of an untrained M1, normalised by
the sample's own statistics, have about the distances of a trained one, and the σ of the trained client is chosen a decade
around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from narl.models.split import build_obfuscator

LEAST, MOST = 1 / 8, 1 / 1.5  # σ over D


def distance(images: Tensor, *, arch: str, split: int) -> float:
    """Compute D, the root mean square distance between an untrained M1's features of two images, in units of z.

    Args:
        images: float32 [N, 3, H, W] in [0, 1], N >= 2.
    """
    body = build_obfuscator(arch=arch, split=split, sigma=0.0, seed=0).body.train()
    with torch.no_grad():
        features = body(images).flatten(1)
    return math.sqrt(2 * features.var(dim=0).sum().item())


def sigma_range(images: Tensor, clients: Mapping[str, Sequence[int]]) -> tuple[float, float]:
    """Compute the σ that are worth training with, over all clients, to two digits.

    Args:
        images: see `distance`.
        clients: split points by architecture.
    """
    distances = [distance(images, arch=arch, split=split) for arch, splits in clients.items() for split in splits]
    return float(f"{LEAST * min(distances):.2g}"), float(f"{MOST * max(distances):.2g}")
