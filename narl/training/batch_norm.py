"""Batch normalisation over the shares of all workers, on any device.

    x̂ = (x − μ) / √(v + ε),  μ and v over the batches of all workers
    dL/dx = γ / √(v + ε) · (dL/dy − mean(dL/dy) − x̂ · mean(dL/dy · x̂)),  means again over all

torch's SyncBatchNorm does so on GPUs alone, and takes every worker's loss to weigh the same. Here a worker's loss is
the mean over its share, and the b images of its share weigh b / B, so that uneven shares are exact too.

Letters: b images of a share, B of the batch, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from narl.training.team import Team


class SynchronisedBatchNorm(_BatchNorm):
    """A `nn.BatchNorm1d` or `nn.BatchNorm2d` whose statistics are the team's; see `synchronised`."""

    team: Team

    def forward(self, x: Tensor) -> Tensor:
        """[b, C] or [b, C, H, W] -> the same shape and dtype."""
        if not self.training or self.team.share.is_whole:
            return super().forward(x)
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps, self.team)
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return y

    def _check_input_dim(self, x: Tensor) -> None:
        pass  # the plain class has checked it


@contextmanager
def synchronised(networks: Sequence[nn.Module], team: Team) -> Iterator[None]:
    """Make every batch normalisation of `networks` the team's while inside; in place, parameters keep their names."""
    layers = {m for network in networks for m in network.modules() if type(m) in (nn.BatchNorm1d, nn.BatchNorm2d)}
    plain = {layer: type(layer) for layer in layers}
    for layer in layers:
        layer.__class__ = SynchronisedBatchNorm
        setattr(layer, "team", team)  # noqa: B010 (mypy knows it as a plain layer)
    try:
        yield
    finally:
        for layer, kind in plain.items():
            layer.__class__ = kind
            del layer.team


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, team: Team):
        own = x.numel() // x.shape[1]
        dtype = torch.promote_types(x.dtype, torch.float32)
        own_variance, own_mean = torch.var_mean(x.to(dtype), _all_but_channels(x), correction=0)
        # In float64 the difference of these sums keeps float32's digits.
        own_mean, own_variance = own_mean.double(), own_variance.double()
        square = own_variance + own_mean.square()
        sums = team.sum_(own * torch.cat([own_mean, square, own_mean.new_ones(1)]))
        mean, square = (sums[:-1] / sums[-1]).chunk(2)
        variance = (square - mean.square()).clamp_min(0).to(dtype)
        mean = mean.to(dtype)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.team, ctx.weight = team, team.share.weight
        y = F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)
        count = sums[-1]
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx, gradient: Tensor, *_: Tensor):
        x, weight, mean, inverse_std = ctx.saved_tensors
        channels = (1, -1, *(1 for _ in x.shape[2:]))
        gradient = gradient.to(mean.dtype)
        normalised = (x.to(mean.dtype) - mean.view(channels)) * inverse_std.view(channels)
        of_bias = gradient.sum(_all_but_channels(x))
        of_weight = (gradient * normalised).sum(_all_but_channels(x))
        # Over all of a batch, a share's gradients weigh share.weight; here they are in units of this share's loss.
        own = x.numel() // x.shape[1]
        sums = ctx.team.sum_(torch.cat([of_bias, of_weight]) * ctx.weight) / own
        mean_gradient, mean_product = (part.view(channels) for part in sums.chunk(2))
        scale = inverse_std if weight is None else inverse_std * weight
        of_x = (gradient - mean_gradient - normalised * mean_product) * scale.view(channels)
        no_affine = weight is None
        return of_x.to(x.dtype), None if no_affine else of_weight, None if no_affine else of_bias, None, None


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]
