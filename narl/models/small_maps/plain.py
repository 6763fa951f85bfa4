"""Networks without the rewrites of this package, for exporters: those look at one batch, and its size would stay."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from narl.models.small_maps.folded_pooling import FoldedLinear, LazyPool2d
from narl.models.small_maps.live_taps import LiveTapConv2d

PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    LiveTapConv2d: nn.Conv2d,
    LazyPool2d: nn.AdaptiveAvgPool2d,
    FoldedLinear: nn.Linear,
}

Network = TypeVar("Network", bound=nn.Module)


def plain(network: Network) -> Network:
    """Copy `network` with torch's own layers: the same parameters, and the same results up to rounding."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if type(module) in PLAIN:
            module.__class__ = PLAIN[type(module)]
    return network
