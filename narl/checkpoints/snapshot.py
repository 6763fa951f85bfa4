"""A checkpoint's file: all that a trial needs to go on, as one safetensors file without pickle.

Tensors, each contiguous:

    networks.<i>.<name>                          weights and statistics of the method's i-th network
    optimisers.<i>.<parameter>.<name>            step and moments of its i-th optimiser, parameters numbered from 0
    generators.noise, .cpu, .cuda                states: the method's noise, torch's global ones (dropout), uint8
    client.<name>, task.<name>                   once training is over, instead of all these: the frozen client, M2 if
    any readings.<i>.hits, .labels, .network.<name>  what the i-th attacking network that has finished read, and its
    weights

Loaders are derived from seed and epoch, so they have no state. Metadata, all text:

    format          narl-checkpoint
    format_version  2
    header          a `Header` as JSON
    sha256          of header and tensors, see `_digest`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from narl.core.errors import DAMAGED
from narl.core.records import SigmaLevel
from narl.core.strict import Strict

FORMAT, FORMAT_VERSION = "narl-checkpoint", "2"


class Unusable(Exception):
    """Why a checkpoint cannot be used, in words that go on from "the checkpoint is ignored: "."""


class Identity(Strict):
    """What a trial and its checkpoint must have in common, since all of it affects the numbers.

    Attributes:
        config: hash of the whole configuration.
        data: digest of the images and labels, see `narl.data.identity`.
        reported_on: the split that is reported.
        device: its type.
        workers: how many trained together; several add in another order than one, and draw other dropout.
    """

    narl: str
    torch: str
    config: str
    data: str
    reported_on: str
    device: str
    precision: str
    workers: int = 1

    def check(self, other: Identity) -> None:
        """Compare with `other`.

        Raises:
            Unusable: it differs.
        """
        for name, own in self.model_dump().items():
            if (found := getattr(other, name)) != own:
                raise Unusable(f"it is of another trial ({name} {found}, here {own})")


class KeptReading(Strict):
    """What is not a tensor of a finished attacking network; see `narl.attacks.target.Reading`."""

    name: str
    curve: list[float]
    converged: bool
    batch_parts: int = Field(1, ge=1)
    control: float | None = None


class Header(Strict):
    """How far the trial has come.

    Attributes:
        phase: what is to be done next.
        epochs_done: of training.
        batch_parts: in which GPU memory held a batch of training.
        train_seconds, attack_seconds: spent on what is kept here.
        resumed: how often the trial has gone on from a checkpoint.
        optimisers: the settings of each one's groups of parameters.
        readings: in the order of their tensors' numbers.
        sigma_profile: by which their σ was chosen; None if there is none yet.
    """

    identity: Identity
    phase: Literal["train", "attack"]
    epochs_done: int = Field(ge=0)
    batch_parts: int = Field(1, ge=1)
    curves: dict[str, list[float]]
    train_seconds: float = Field(ge=0)
    attack_seconds: float = Field(0.0, ge=0)
    resumed: int = Field(0, ge=0)
    optimisers: list[list[dict[str, Any]]] = []
    readings: list[KeptReading] = []
    sigma_profile: tuple[SigmaLevel, ...] | None = None


@dataclass(frozen=True)
class Snapshot:
    """A header and contiguous tensors of its own on the CPU."""

    header: Header
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, header: Header, tensors: Mapping[str, Tensor]) -> Snapshot:
        """Make a snapshot with copies of tensors that will change."""
        return cls(header, {name: _copy(tensor.detach()) for name, tensor in tensors.items()})

    def below(self, prefix: str) -> dict[str, Tensor]:
        """Select the tensors whose names begin with `prefix.`, by the rest of their names."""
        return below(self.tensors, prefix)

    def encode(self) -> bytes:
        """Return the file's content."""
        from safetensors.torch import save

        header = self.header.model_dump_json()
        metadata = {"format": FORMAT, "format_version": FORMAT_VERSION, "header": header}
        return save(dict(self.tensors), metadata | {"sha256": _digest(header, self.tensors)})

    @classmethod
    def decode(cls, content: bytes) -> Snapshot:
        """Read the file's content.

        Raises:
            Unusable: damaged, of another version, or no checkpoint at all.
        """
        from safetensors.torch import load

        try:
            end = 8 + int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8:end])["__metadata__"]
            kind, version = metadata["format"], metadata.get("format_version")
        except DAMAGED as error:
            raise Unusable("it is damaged, or no checkpoint of narl") from error
        if kind != FORMAT:
            raise Unusable("it is not a checkpoint of narl")
        if version != FORMAT_VERSION:
            raise Unusable(f"its format has version {version}, and this narl reads {FORMAT_VERSION}")
        try:
            tensors = load(content)
            header = metadata["header"]
            if _digest(header, tensors) != metadata["sha256"]:
                raise Unusable("it is damaged: its SHA-256 differs")
            return cls(Header.model_validate_json(header), tensors)
        except Unusable:
            raise
        except Exception as error:  # whatever a file may hold that narl never wrote
            raise Unusable(f"it is damaged ({type(error).__name__})") from error


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors whose names begin with `prefix.`, by the rest of their names."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _copy(tensor: Tensor) -> Tensor:
    """In one pass, whatever its device and layout."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def this_torch() -> str:
    """Return PyTorch's version, a part of the identity: another version may add in another order."""
    return str(torch.__version__)
