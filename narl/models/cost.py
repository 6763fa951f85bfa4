"""What one image costs the client, from shapes alone: measured on the meta device, so no weight is ever allocated.

The accounting, which reproduces every client cost that the paper prints (Tables 2 and 4):

- operations: multiply-accumulates and bias additions of convolutions and linear layers; 2 x numel(input) of a
  BatchNorm; numel(input) of every call of an activation or a pooling. Additions and products of whole maps
  (residuals, squeeze-and-excitation), means, channel shuffles, dropout, flatten and the noise count 0.
  GFLOPs = 2 x operations / 1e9.
- memory: bytes of all parameters and buffers / 2**20.
- uplink: bytes of z as sent / 2**10.
- peak activation: the most bytes of activations alive at once while PyTorch runs the stages eagerly, one image at a
  time, in float32 without gradients, / 2**20. The image counts, as its caller holds it; a stage's input lives until
  the stage is done, a residual branch until it is added; activations are not in place. Weights and the scratch memory
  inside an operation do not count, nor does the noise, which can be added in place.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from narl.core.errors import ConfigError, unknown_name
from narl.core.records import ClientCost
from narl.models.split import feature_shape
from narl.models.zoo import architecture, check_size, check_split, skeleton

BYTES_PER_ELEMENT = {"float32": 4, "float16": 2, "int8": 1}

_ONE_OPERATION_AN_INPUT = (
    nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.Sigmoid, nn.Hardsigmoid,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip


@dataclass(frozen=True)
class ModuleCost:
    """What modules cost for one image.

    Attributes:
        gflops: operations in 1e9.
        memory_mib: parameters and buffers in 2**20 bytes.
        peak_activation_mib: the most activation bytes alive at once in 2**20 bytes.
    """

    gflops: float
    memory_mib: float
    peak_activation_mib: float


@cache
def client_cost(*, arch: str, split: int, size: int, uplink_dtype: str = "float32") -> ClientCost:
    """Count what the client pays for one RGB image of `size` pixels a side.

    Raises:
        ConfigError: no such architecture, split point or dtype, or images too small for the architecture.
    """
    check_dtype(uplink_dtype)
    check_split(arch, split)
    check_size(arch, size)
    cost = _costs_after_each_stage(arch, size)[split - 1]
    return ClientCost(
        client_gflops=cost.gflops,
        client_memory_mib=cost.memory_mib,
        uplink_kib=prod(feature_shape(arch, split, size)) * BYTES_PER_ELEMENT[uplink_dtype] / 2**10,
        peak_activation_mib=cost.peak_activation_mib,
    )


def check_dtype(uplink_dtype: str) -> None:
    """Raise ConfigError if z cannot be sent as `uplink_dtype`."""
    if uplink_dtype not in BYTES_PER_ELEMENT:
        raise ConfigError(unknown_name("uplink dtype", uplink_dtype, BYTES_PER_ELEMENT))


def whole_cost(*, arch: str, num_outputs: int, size: int) -> ModuleCost:
    """Count the whole network with `num_outputs` outputs, for one RGB image of `size` pixels a side.

    Raises:
        ConfigError: no such architecture, or images too small for it.
    """
    check_size(arch, size)
    with torch.device("meta"):
        stages = [stage.eval() for _, stage in architecture(arch).build(num_outputs)]
    return costs_after_each(stages, (3, size, size))[-1]


def costs_after_each(
    stages: Iterable[nn.Module], input_shape: tuple[int, ...], device: torch.device | str = "meta"
) -> list[ModuleCost]:
    """Run modules one after another; the k-th cost is that of the first k together.

    Args:
        stages: modules in eval mode with their parameters on `device`.
        input_shape: shape of one input, batch left out.
    """
    costs = []
    memory = 0
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        alive = stack.enter_context(_LiveBytes())
        operations = _OperationCounter(stack, _operations)
        # The caller of a module holds its input, so the first one stays until the end.
        image = z = torch.zeros(1, *input_shape, device=device)
        for stage in stages:
            operations.watch(stage)
            z = stage(z)
            memory += sum(t.nbytes for t in [*stage.parameters(), *stage.buffers()])
            costs.append(ModuleCost(2 * operations.total / 1e9, memory / 2**20, alive.peak / 2**20))
        del image
    return costs


def cost_of_module(module: nn.Module, input_shape: tuple[int, ...]) -> ModuleCost:
    """Run any module once where it is: layers are counted as above, products of matrices and convolutions outside of
    them (attention, for one) as 2 operations a multiply-accumulate, all other functions as none.

    Args:
        module: in eval mode.
        input_shape: shape of one input, batch left out.
    """
    device = next((t.device for t in [*module.parameters(), *module.buffers()]), torch.device("cpu"))
    with FlopCounterMode(display=False) as products, ExitStack() as stack:
        in_layers = _OperationCounter(stack, _products)
        in_layers.watch(module)
        (counted,) = costs_after_each([module], input_shape, device)
    elsewhere = products.get_total_flops() - 2 * in_layers.total
    return replace(counted, gflops=counted.gflops + elsewhere / 1e9)


@cache
def _costs_after_each_stage(arch: str, size: int) -> tuple[ModuleCost, ...]:
    return tuple(costs_after_each([stage for _, stage in skeleton(arch)], (3, size, size)))


_CountCall = Callable[[nn.Module, tuple[Tensor, ...], Tensor], int]


class _OperationCounter:
    """Adds up the `operations` of every leaf module that is called, each call counted."""

    def __init__(self, stack: ExitStack, operations: _CountCall) -> None:
        self.total = 0
        self._stack, self._operations = stack, operations

    def watch(self, module: nn.Module) -> None:
        for layer in module.modules():
            self._stack.enter_context(layer.register_forward_hook(self._count))

    def _count(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.total += self._operations(layer, inputs, output)


def _operations(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> int:
    """Operations of one call of one layer; containers and layers that count nothing give 0."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        return _products(layer, inputs, output) + (layer.bias is not None) * output.numel()
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return 2 * inputs[0].numel()
    if isinstance(layer, _ONE_OPERATION_AN_INPUT):
        return inputs[0].numel()
    return 0


def _products(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> int:
    """Multiply-accumulates of one call of one convolution or linear layer; 0 for others."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        return output.numel() * prod(layer.weight.shape[1:])
    return 0


class _LiveBytes(TorchDispatchMode):
    """Bytes of the storages that operations inside it make: counted once each, until the last reference goes."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {storage._cdata for storage in _storages((args, kwargs))}
        # In eval mode the saved statistics are empty on every real device; only the meta device gives them a size.
        made = result[0] if func is torch.ops.aten.native_batch_norm.default else result
        for storage in _storages(made):
            # A view, or the result of an in-place operation, shares its argument's storage.
            if storage._cdata not in known:
                known.add(storage._cdata)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return result

    def _add(self, size: int) -> None:
        self.alive += size
        self.peak = max(self.peak, self.alive)


def _storages(tree: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
