"""Labels as logits: one for a binary label, one a class otherwise (the authors' convention)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def num_outputs(num_classes: int) -> int:
    """Count the logits for a label of `num_classes` values: 1 for two classes, else one per class."""
    return 1 if num_classes == 2 else num_classes


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean loss of a batch: BCE with logits for one output, else cross-entropy.

    Args:
        logits: [B, 1] or [B, C].
        labels: [B] int64 in 0..C-1 (0 or 1 for one output).
    """
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))
    return F.cross_entropy(logits, labels)


def predictions(logits: Tensor) -> Tensor:
    """[B, 1] or [B, C] logits -> [B] int64 predicted labels."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).long()
    return logits.argmax(dim=1)


def to_unit_range(images: Tensor, device: torch.device) -> Tensor:
    """[B, 3, H, W] uint8 -> float32 in [0, 1] on `device`, channels last; no mean or variance normalisation."""
    images = images.to(device, non_blocking=True)
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)
