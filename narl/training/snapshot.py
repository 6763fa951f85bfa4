"""A checkpoint's file: all that a trial needs to go on, as one safetensors file without pickle.

Tensors, each contiguous:

    networks.<i>.<name>                          weights and statistics of the method's i-th network
    optimisers.<i>.<parameter>.<name>            step and moments of its i-th optimiser, parameters numbered from 0
    generators.noise, .cpu, .cuda                states: the method's noise, torch's global ones (dropout), uint8
    client.<name>                                once training is over, instead of all these: the frozen client
    readings.<i>.hits, .labels, .network.<name>  what the i-th attacking network that has finished read, and its weights

Loaders are derived from seed and epoch, so they have no state. Metadata, all text:

    format          narl-checkpoint
    format_version  1
    header          a `Header` as JSON
    sha256          of the whole file, with 64 zeros in this place
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from narl.config.base import Strict

FORMAT, FORMAT_VERSION = "narl-checkpoint", "1"
_NO_DIGEST = "0" * 64


class Unusable(Exception):
    """Why a checkpoint cannot be used, in words that go on from "the checkpoint is ignored: "."""


class Identity(Strict):
    """What a trial and its checkpoint must have in common, since all of it decides the numbers.

    Attributes:
        config: hash of the whole configuration.
        reported_on: the split that is reported.
        device: its type.
    """

    narl: str
    torch: str
    config: str
    reported_on: str
    device: str
    precision: str

    def check(self, other: Identity) -> None:
        """
        Raises:
            Unusable: `other` is not the same.
        """
        for name, own in self.model_dump().items():
            if (found := getattr(other, name)) != own:
                raise Unusable(f"it is of another trial ({name} {found}, here {own})")


class KeptReading(Strict):
    """Of a finished attacking network, what is no tensor; see `narl.attacks.target.Reading`."""

    name: str
    curve: list[float]
    converged: bool


class Header(Strict):
    """How far the trial has come.

    Attributes:
        phase: what is to be done next.
        epochs_done: of training.
        train_seconds, attack_seconds: spent on what is kept here.
        resumed: how often the trial has gone on from a checkpoint.
        optimisers: the settings of each one's groups of parameters.
        readings: in the order of their tensors' numbers.
    """

    identity: Identity
    phase: Literal["train", "attack"]
    epochs_done: int = Field(ge=0)
    curves: dict[str, list[float]]
    train_seconds: float = Field(ge=0)
    attack_seconds: float = Field(0.0, ge=0)
    resumed: int = Field(0, ge=0)
    optimisers: list[list[dict[str, Any]]] = []
    readings: list[KeptReading] = []


@dataclass(frozen=True)
class Snapshot:
    """A header and tensors of its own on the CPU, in whatever memory layout."""

    header: Header
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, header: Header, tensors: Mapping[str, Tensor]) -> Snapshot:
        """With copies of tensors that will change."""
        return cls(header, {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()})

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix.`, by what follows."""
        return below(self.tensors, prefix)

    def encode(self) -> bytearray:
        """The file's content."""
        from safetensors.torch import save

        metadata = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "header": self.header.model_dump_json(),
            "sha256": _NO_DIGEST,
        }
        content = bytearray(save({name: tensor.contiguous() for name, tensor in self.tensors.items()}, metadata))
        start = _place_of_digest(content)
        content[start : start + 64] = hashlib.sha256(content).hexdigest().encode()
        return content

    @classmethod
    def decode(cls, content: bytes) -> Snapshot:
        """
        Raises:
            Unusable: damaged, of another version, or no checkpoint at all.
        """
        from safetensors.torch import load

        try:
            metadata = json.loads(content[8 : _end_of_header(content)])["__metadata__"]
            kind = metadata["format"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise Unusable("it is damaged, or no checkpoint of narl") from error
        if kind != FORMAT:
            raise Unusable("it is no checkpoint of narl")
        if (version := metadata.get("format_version")) != FORMAT_VERSION:
            raise Unusable(f"its format has version {version}, and this narl reads {FORMAT_VERSION}")
        if not _is_whole(content):
            raise Unusable("it is damaged: its SHA-256 differs")
        try:
            return cls(Header.model_validate_json(metadata["header"]), load(content))
        except Exception as error:  # whole, and yet not what this narl would have written
            raise Unusable(f"it cannot be read ({type(error).__name__})") from error


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with `prefix.`, by what follows."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _end_of_header(content: bytes | bytearray) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _place_of_digest(content: bytes | bytearray) -> int:
    """Quotes within the other metadata are escaped, so this one is found and no other."""
    found = re.search(rb'"sha256":"[0-9a-f]{64}"', content[: _end_of_header(content)])
    return -1 if found is None else found.end() - 65


def _is_whole(content: bytes) -> bool:
    start = _place_of_digest(content)
    if start < 0:
        return False
    digest = hashlib.sha256(content[:start])
    digest.update(_NO_DIGEST.encode())
    digest.update(memoryview(content)[start + 64 :])
    return digest.hexdigest().encode() == content[start : start + 64]


def this_torch() -> str:
    """PyTorch's version, a part of the identity: another one may add in another order."""
    return str(torch.__version__)
