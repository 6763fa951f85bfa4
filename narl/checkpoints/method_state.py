"""All that changes while a method trains: its networks, its optimisers, and the generators that it draws from.

Phases of training have no state of their own: `begin_epoch` derives them from the epoch's number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from narl.checkpoints.snapshot import below


class Stateful(Protocol):
    """What is kept of a method; each network and optimiser keeps its place."""

    @property
    def networks(self) -> Sequence[nn.Module]: ...

    @property
    def optimisers(self) -> Sequence[torch.optim.Optimizer]: ...

    @property
    def noise_generator(self) -> Generator: ...


def tensors_of(method: Stateful) -> dict[str, Tensor]:
    """Collect the method's own tensors, not copies, by their names in a checkpoint."""
    tensors = {
        f"networks.{i}.{name}": tensor
        for i, network in enumerate(method.networks)
        for name, tensor in network.state_dict().items()
    }
    tensors |= {
        f"optimisers.{i}.{parameter}.{name}": tensor
        for i, optimiser in enumerate(method.optimisers)
        for parameter, state in optimiser.state_dict()["state"].items()
        for name, tensor in state.items()
    }
    noise = method.noise_generator
    generators = {"noise": noise.get_state(), "cpu": torch.get_rng_state()}
    if noise.device.type == "cuda":
        generators["cuda"] = torch.cuda.get_rng_state(noise.device)
    return tensors | {f"generators.{name}": state for name, state in generators.items()}


def settings_of(method: Stateful) -> list[list[dict[str, Any]]]:
    """Collect the settings of each optimiser's groups of parameters: everything that is not a tensor."""
    return [
        [{name: value for name, value in group.items() if name != "params"} for group in optimiser.param_groups]
        for optimiser in method.optimisers
    ]


def restore(method: Stateful, tensors: Mapping[str, Tensor], settings: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """Bring a new method, and torch's global generators, to where `tensors_of` and `settings_of` were taken.

    Raises:
        Exception: they belong to another method; throw this one away.
    """
    for i, network in enumerate(method.networks):
        network.load_state_dict(below(tensors, f"networks.{i}"))
    for i, (optimiser, groups) in enumerate(zip(method.optimisers, settings, strict=True)):
        _restore_optimiser(optimiser, below(tensors, f"optimisers.{i}"), groups)
    states = below(tensors, "generators")
    noise = method.noise_generator
    noise.set_state(states["noise"])
    torch.set_rng_state(states["cpu"])
    if noise.device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], noise.device)


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: Sequence[Mapping[str, Any]]
) -> None:
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, what = name.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:
            # Fused updates read a parameter and its moments in one order: their memory layouts must be the same.
            tensor = torch.empty_like(parameter).copy_(tensor)
        state.setdefault(int(number), {})[what] = tensor
    own = optimiser.state_dict()["param_groups"]
    restored = [
        {**group, **{name: _as_before(value, group[name]) for name, value in saved.items()}}
        for group, saved in zip(own, groups, strict=True)
    ]
    optimiser.load_state_dict({"state": state, "param_groups": restored})


def _as_before(value: Any, own: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(value) if isinstance(own, tuple) else value
