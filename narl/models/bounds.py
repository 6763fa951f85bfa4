"""Bounds on M1's features, against the scale escape.

Noise of a fixed σ hides less the larger the features are, and nothing in the objective keeps M1 from growing them.
A bound is the last module of M1, in training and in inference; a feature's RMS is then at most:

    none      unbounded
    sigmoid   1; features that a ReLU made, which are never negative, land in [1/2, 1)
    l2-clip   clip_rms; what narl.attacks.gaussian_mechanism is about

Letters: B batch, C, h, w shape of the features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from narl.core.errors import ConfigError, unknown_name


class L2Clip(nn.Module):
    """Scales the features of each image down to an L2 norm of at most clip_rms·√(C·h·w); smaller ones stay.

    Exact up to the rounding of the features' dtype. It has no parameters, and its norm and quotient count as no
    operation (narl/models/cost.py).

    Args:
        clip_rms: the largest root mean square of one image's features, finite and > 0.

    Raises:
        ConfigError: `clip_rms` is not.
    """

    def __init__(self, clip_rms: float) -> None:
        super().__init__()
        if not (math.isfinite(clip_rms) and clip_rms > 0):
            raise ConfigError(f"clip_rms must be a finite number above 0, got {clip_rms}")
        self.clip_rms = float(clip_rms)

    def forward(self, f: Tensor) -> Tensor:
        """[B, C, h, w] -> the same shape and dtype."""
        largest = self.clip_rms * math.sqrt(f.shape[1:].numel())
        # A sum of thousands of squares is too much for bfloat16.
        dtype = torch.promote_types(f.dtype, torch.float32)
        norms = torch.linalg.vector_norm(f, dim=(1, 2, 3), keepdim=True, dtype=dtype)
        # Not min(1, largest / norm), whose gradient is NaN for features that are all 0.
        return (f / (norms / largest).clamp_min(1)).to(f.dtype)

    def extra_repr(self) -> str:
        return f"clip_rms={self.clip_rms:g}"


def bound_stages(bound: str, clip_rms: float | None) -> list[tuple[str, nn.Module]]:
    """Build what M1 ends with: no stage, or one with its name.

    Args:
        bound: `none`, `sigmoid` or `l2-clip`.
        clip_rms: of `l2-clip`.

    Raises:
        ConfigError: no such bound.
    """
    match bound:
        case "none":
            return []
        case "sigmoid":
            return [("bound", nn.Sigmoid())]
        case "l2-clip" if clip_rms is not None:
            return [("bound", L2Clip(clip_rms))]
    raise ConfigError(unknown_name("bound", bound, ("none", "sigmoid", "l2-clip")))
