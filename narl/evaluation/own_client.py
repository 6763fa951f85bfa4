"""A client of one's own, any module that maps images to what is sent, in place of one that narl trained.

A copy is attacked, frozen and in eval mode. Attackers know the module and the noise, and compute the module's features
once, so noise that the module adds itself would be a fixed feature to them: it is refused rather than measured wrongly.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from narl.attacks.adversaries import build_adversary
from narl.core.errors import ConfigError
from narl.core.point import Point
from narl.core.records import ClientCost
from narl.data.dataset import Dataset
from narl.methods.base import precision_of
from narl.methods.trained import Trained
from narl.models.cost import BYTES_PER_ELEMENT, check_dtype, cost_of_module
from narl.models.noise.base import Noise
from narl.models.noise.gaussian import GaussianNoise
from narl.models.split import Obfuscator, seeded
from narl.training.classification import num_outputs
from narl.training.precision import default_device

# Number of outputs -> a fresh network: what the client sends, [B, C, h, w] or [B, D] -> logits [B, outputs].
Server = Callable[[int], nn.Module]

# Share of an answer's root mean square that other images of the batch may change, by rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class OwnClient:
    """A module that answers with features, and what is known of it.

    Args:
        module: images [B, 3, S, S] float32 in [0, 1] -> floating point [B, C, h, w] or [B, D]; in eval mode each
            image's features depend on that image alone, and are the same each time. Whatever normalises images is part
            of it.
        noise: added to its features: a standard deviation in units of theirs (fresh Gaussian noise), or a `Noise`.
        server: makes a fresh network with the given number of outputs, of which two classes share one: the utility
            network and the adversary `rest`. None: `conv` if features are maps, `mlp` if they are vectors.
    """

    module: nn.Module
    noise: Noise | float
    server: Server | None = None

    def trained(self, dataset: Dataset) -> Trained:
        """Place the client on the device, ready to be attacked on these images.

        Raises:
            ConfigError: an illegal sigma; a module or a server that does not do what `OwnClient` says.
        """
        size = dataset.image_size
        body = copy.deepcopy(self.module).cpu().eval().requires_grad_(False)
        shape = _feature_shape(body, size)
        stages = OrderedDict(module=body)
        if len(shape) == 1:
            stages["map"] = nn.Unflatten(1, (*shape, 1, 1))
        noise = copy.deepcopy(self.noise) if isinstance(self.noise, Noise) else GaussianNoise(self.noise)
        client = Obfuscator(nn.Sequential(stages), noise)
        halves = OwnHalves(client.body, shape, size, self.server)
        for classes in (dataset.utility_classes, dataset.private_classes):
            halves.check_server(num_outputs(len(classes)))
        task = halves.rest(num_outputs=num_outputs(len(dataset.utility_classes)), seed=0)
        precision = precision_of(client, task, "auto", default_device())
        return Trained(precision.place(client), halves, precision)


class OwnHalves:
    """Implements `narl.methods.halves.AttackedHalves`; a vector of D features is a map (D, 1, 1).

    Args:
        body: the module and what makes a map of its features.
        shape: of one image's features as the module gives them.
    """

    point: Point | None = None

    def __init__(self, body: nn.Module, shape: tuple[int, ...], size: int, server: Server | None) -> None:
        self.size = size
        self._shape, self._server = shape, server
        self._cost = cost_of_module(body, (3, size, size))

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        channels, height, width = (*self._shape, 1, 1)[:3]
        return channels, height, width

    def rest(self, *, num_outputs: int, seed: int) -> nn.Module:
        if self._server is None:
            kind = "mlp" if len(self._shape) == 1 else "conv"
            return build_adversary(kind, self, num_outputs=num_outputs, seed=seed)
        network = _fresh(self._server, num_outputs, seed)
        return nn.Sequential(nn.Flatten(), network) if len(self._shape) == 1 else network

    def cost(self, uplink_dtype: str = "float32") -> ClientCost:
        """See `narl.models.cost.cost_of_module`."""
        check_dtype(uplink_dtype)
        return ClientCost(
            client_gflops=self._cost.gflops,
            client_memory_mib=self._cost.memory_mib,
            uplink_kib=prod(self.feature_shape) * BYTES_PER_ELEMENT[uplink_dtype] / 2**10,
            peak_activation_mib=self._cost.peak_activation_mib,
        )

    def check_server(self, num_outputs: int) -> None:
        """Raise ConfigError unless the server makes fresh networks that read what the client sends."""
        if self._server is None:
            return
        if _fresh(self._server, num_outputs, 0) is _fresh(self._server, num_outputs, 0):
            raise ConfigError("server gave the same network twice: it must make a new one each time")
        network, features = self.rest(num_outputs=num_outputs, seed=0).eval(), torch.zeros(2, *self.feature_shape)
        logits = _run(network, features, f"server({num_outputs})")
        if logits.shape != (2, num_outputs):
            given = tuple(logits.shape)
            raise ConfigError(f"server({num_outputs}) must give logits [B, {num_outputs}], got {given} for two images")


def _fresh(server: Server, num_outputs: int, seed: int) -> nn.Module:
    with seeded(seed):
        return server(num_outputs)


def _feature_shape(module: nn.Module, size: int) -> tuple[int, ...]:
    """Compute the shape of one image's features, (C, h, w) or (D,), from the module in eval mode on the CPU.

    Raises:
        ConfigError: see `OwnClient`.
    """
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    features = _run(module, images, "the client")
    if features.dim() not in (2, 4) or len(features) != 2 or not features.is_floating_point():
        given = f"{features.dtype} {tuple(features.shape)}".removeprefix("torch.")
        raise ConfigError(
            f"the client must give floating point [B, C, h, w] or [B, D], got {given} for images {tuple(images.shape)}"
        )
    if not features.isfinite().all():
        raise ConfigError("the client gives features that are not finite")
    if not torch.equal(features, _run(module, images, "the client")):
        raise ConfigError(
            "the client gives one image different features each time: leave noise and dropout out of it in eval mode, and "
            "name the noise with noise="
        )
    alone = _run(module, images[:1], "the client")
    if (alone - features[:1]).abs().max() > _ROUNDING * features.square().mean().sqrt():
        raise ConfigError("the client's features of an image depend on the other images of its batch")
    return tuple(features.shape[1:])


def _run(network: nn.Module, inputs: Tensor, what: str) -> Tensor:
    try:
        with torch.no_grad():
            outputs = network(inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ConfigError(f"{what} fails on inputs {tuple(inputs.shape)}: {error}") from error
    if not isinstance(outputs, Tensor):
        raise ConfigError(f"{what} must give a tensor, got {type(outputs).__name__}")
    return outputs
